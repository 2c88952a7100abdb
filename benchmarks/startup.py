"""How long it takes from starting a process to the first finished fit."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from benchmarks import ours, store, subsets
from benchmarks.measure import CommandFailed
from training.spec import ModelName, Preset

_N_SERIES: Final = 10
_REPEATS: Final = 3
_POLL_S: Final = 0.01
_IMPORTS: Final = ("training.main", "training.pipeline", "statsforecast.models", "mlforecast", "xgboost", "prophet")


def run(models: tuple[ModelName, ...] | None = None) -> dict[str, Any]:
    """Measure and keep it: the median over a few starts, and what each library takes to import.

    A model's first fit counts as finished when its first part is stored. Each is started beside nothing but the
    yardstick, which may run before it.

    Args:
        models: the global model and one of each library if not given.
    """
    models = models or (ModelName.SEASONAL_NAIVE, ModelName.THETA, ModelName.XGBOOST)
    content = {
        "first_fit_s": {str(model): _median([_first_fit(model) for _ in range(_REPEATS)]) for model in models},
        "import_s": {module: _median([_import(module) for _ in range(_REPEATS)]) for module in _IMPORTS},
    }
    store.save("startup", "all", content)
    return content


def _first_fit(model: ModelName) -> float:
    """Seconds to the first stored part of a model on a tiny panel."""
    benchmark = subsets.load("M3-monthly", _N_SERIES)
    spec = ours.spec_for(benchmark, Preset.FAST, (model,))
    folder = store.scratch("startup")
    command = ours.prepare(benchmark.history, spec, folder, cores=store.cores())
    checkpoints = folder / "checkpoints"
    log = folder / "run.log"
    with log.open("wb") as out:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            while not (found := _has_part(checkpoints, model)) and process.poll() is None:
                time.sleep(_POLL_S)
            took = time.perf_counter() - began
        finally:
            process.terminate()
            process.wait()
    if not found:
        raise CommandFailed(command, process.returncode, log)
    return took


def _has_part(folder: Path, model: ModelName) -> bool:
    """Whether a part of the model, or one of no single model, is stored."""
    others = [str(other) for other in ModelName if other is not model]
    return any(not any(other in path.name for other in others) for path in folder.rglob("*.parquet"))


def _import(module: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    return time.perf_counter() - began


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
