"""The Hub over HTTP: one router for each group of routes, in the form that Hugging Face's clients speak.

Each module here exposes `router`; the server includes them all. What they decide and do lives in the packages
above (`commits`, `git`, `blobs`, ...): here bytes become values, and values bytes.
"""
