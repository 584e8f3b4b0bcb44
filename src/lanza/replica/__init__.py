"""One running model: a queue, a batcher, an engine and the routes that lead to them.

A replica serves one model from a folder that is ready to be served; it imports no database and converts
nothing. `lanza serve` is a replica with a TCP port.
"""
