"""The wire formats that clients speak: pure decoding and encoding, one module a protocol."""
