"""The Hub, measured: pushes and pulls against `cp` + `sha256sum` and against nginx. `run.py` begins."""
