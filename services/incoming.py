"""A file on its way in: how much of it is taken, and what it is called."""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO, Final

from services.domain.errors import InvalidInput

MB: Final = 1_000_000
_MAX_NAME: Final = 120


class Limited:
    """A stream that refuses to give more than a limit."""

    def __init__(self, stream: BinaryIO, limit_bytes: int, name: str) -> None:
        self._stream = stream
        self._left = limit_bytes
        self._limit = limit_bytes
        self._name = name

    def read(self, size: int = -1) -> bytes:
        chunk = self._stream.read(size)
        self._left -= len(chunk)
        if self._left < 0:
            raise InvalidInput(
                f"The file {self._name!r} is larger than {self._limit // MB:,} MB, which is the limit.",
                remedy="Save it as Parquet, keep only the columns and series you need, or split it.",
            )
        return chunk


def label(filename: str) -> str:
    """A file's name for people: its last part, without control characters, of bearable length."""
    name = re.sub(r"[\x00-\x1f\x7f]", "", filename.replace("\\", "/").rpartition("/")[2]).strip()
    if len(name) > _MAX_NAME:
        stem, suffix = Path(name).stem, Path(name).suffix[:10]
        name = f"{stem[: _MAX_NAME - len(suffix) - 1]}…{suffix}"
    return name or "unnamed file"
