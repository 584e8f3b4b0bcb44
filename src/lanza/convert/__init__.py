"""From a model folder to one that the fastest engine can serve, checked against the original.

The export runs in a process of its own (`python -m lanza.convert`), for it needs torch and much memory, and
what serves needs neither. Results are kept by the hash of what they were made from (`store`). Replicas never
convert.
"""
