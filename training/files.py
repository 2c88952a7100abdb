"""Files that are whole whenever they exist."""

from __future__ import annotations

import contextlib
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write under another name, then rename.

    The bytes are made in memory and written in one go, as the file systems of object stores want it.
    """
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    part = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        part.write_bytes(buffer.getvalue())
        part.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
