"""Passwords: what may be one, and the argon2id hash that is kept of it.

The cost is what OWASP recommends for argon2id with little memory: 19 MiB and two passes, some tens of
milliseconds. With more memory, many logins at once would be a way to exhaust the server's.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from lanza.errors import BadRequest

SHORTEST: Final = 8
LONGEST: Final = 1024

_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

# The hash of a random text that nobody has kept, with the parameters above.
_NOBODY: Final = (
    "$argon2id$v=19$m=19456,t=2,p=1$B7hO0oxQbMofTSwd01LP6w$2RFWNPbUlEEd70LBGvy4A4HOVxUzXUq5kL7hDeTHq30"
)


def hash_password(password: str) -> str:
    """What is kept of a new password. BadRequest when it is too short or too long."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise BadRequest(
            f"a password has {SHORTEST} to {LONGEST} characters, and this one has {len(password)}."
        )
    return _HASHER.hash(_bytes(password))


def is_password(password: str, kept: str | None) -> bool:
    """Whether `kept` is the hash of `password`. Takes as long when there is none, and the answer is no."""
    if len(password) > LONGEST:
        return False
    try:
        _HASHER.verify(kept or _NOBODY, _bytes(password))
    except (VerificationError, InvalidHashError):
        return False
    return kept is not None


def _bytes(password: str) -> bytes:
    """The same for all ways in which keyboards write the same letters."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
