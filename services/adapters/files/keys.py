"""Keys of stored files: ours, never a user's words, and checked all the same."""

from __future__ import annotations

import re
from typing import Final

_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_MAX_PARTS: Final = 16


def checked_key(key: str) -> str:
    """The key, when it is one: parts of letters, digits and ``._-`` joined by ``/``, none starting with a dot.

    Raises:
        ValueError: it is not; a defect of the caller, for keys are never typed by a user.
    """
    parts = key.split("/")
    if len(parts) > _MAX_PARTS or not all(_PART.fullmatch(part) for part in parts):
        raise ValueError(f"{key!r} is not a key of the file store")
    return key
