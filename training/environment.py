"""What a run was computed with, so that the same numbers can be had again."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from training.spec import ForecastSpec

_PACKAGES: Final = (
    "coreforecast", "cmdstanpy", "holidays", "mlforecast", "numpy", "pandas", "prophet", "prophet-batch", "pyarrow",
    "scikit-learn", "scipy", "statsforecast", "utilsforecast", "xgboost", "xgboost-cpu",
)  # fmt: skip
_NUMBERS: Final = 1  # raised when our own code gives other numbers, so that old checkpoints are not taken up


def versions() -> dict[str, str]:
    """Installed versions of what the numbers depend on."""
    return {"python": platform.python_version()} | installed(_PACKAGES)


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Versions of those of some packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def versions_digest() -> str:
    """A short hash that changes when numbers may change although spec and data did not."""
    text = repr((_NUMBERS, sorted(versions().items())))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def environment(spec: ForecastSpec, *, data_hash: str, as_of: date, cores: int) -> dict[str, object]:
    """The content of ``environment.json``."""
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "input_hash": data_hash,
        "spec_digest": spec.digest,
        "seed": spec.seed,
        "as_of": as_of.isoformat(),
        "cores": cores,
    }
