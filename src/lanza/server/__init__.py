"""The server: the Hub as one ASGI application, and the process that `lanza up` starts around it."""
