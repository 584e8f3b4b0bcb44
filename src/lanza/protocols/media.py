"""What kind of file some bytes are, by how they begin: clients send files without a Content-Type."""

from __future__ import annotations

from typing import Final

_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
)
_RIFF: Final = {b"WAVE": "audio/wav", b"WEBP": "image/webp", b"AVI ": "video/avi"}


def sniff(body: bytes) -> str | None:
    """The media type of an image or audio file, None for anything else."""
    if body[:4] == b"RIFF":
        return _RIFF.get(body[8:12])
    return next((kind for signature, kind in _SIGNATURES if body.startswith(signature)), None)
