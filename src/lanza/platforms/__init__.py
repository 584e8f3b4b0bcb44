"""Where endpoints run. Each module here is one place, behind `lanza.endpoints.platform`."""
