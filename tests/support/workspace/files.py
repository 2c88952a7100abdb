"""Volumes of the test workspace: a folder of this machine behind every ``/Volumes/…`` and ``/Workspace/…`` path."""

from __future__ import annotations

import posixpath
from pathlib import Path


class Tree:
    """The paths of a workspace, mapped into one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, of: str) -> Path:
        """Where on this machine a workspace path is kept; nothing leads out of the root."""
        absolute = posixpath.normpath("/" + of.removeprefix("dbfs:").lstrip("/"))
        if not absolute.startswith(("/Volumes/", "/Workspace/")):
            absolute = f"/Workspace{absolute}"
        return self.root / absolute.lstrip("/")

    def make_volume(self, catalog: str, schema: str, volume: str) -> str:
        """Make a volume; returns its path."""
        path = f"/Volumes/{catalog}/{schema}/{volume}"
        self.path(path).mkdir(parents=True, exist_ok=True)
        return path

    def has_volume_of(self, path: str) -> bool:
        """Whether the volume that a path names was made."""
        parts = path.strip("/").split("/")
        return len(parts) >= 4 and (self.root / "/".join(parts[:4])).is_dir()
