"""Migrations of both stores: each number once, none left out, so that no step is skipped for another."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.adapters.delta.database import MIGRATIONS as DELTA
from services.adapters.sqlite.database import MIGRATIONS as SQLITE


@pytest.mark.parametrize("folder", [SQLITE, DELTA], ids=["sqlite", "delta"])
def test_migrations_are_numbered_without_gap_or_double(folder: Path) -> None:
    numbers = [int(path.name[:4]) for path in sorted(folder.glob("*.sql"))]
    assert numbers == list(range(1, len(numbers) + 1))
