"""Results of finished units: one file each, whole whenever it exists."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from training.artifacts import FALLBACK, ID, REASON
from training.errors import TrainingError
from training.files import write_parquet
from training.models.base import Forecast
from training.units import Done, Unit

_META: Final = b"forecast.unit"
_ENDING: Final = ".parquet"
_COMPONENTS: Final = "components"
_DECOMPOSITION: Final = "decomposition"


class Checkpoints:
    """The results in a folder that belongs to one spec, one data and one set of library versions."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def finished(self) -> set[str]:
        """Keys of all units that have a result, from one listing of the folder."""
        with os.scandir(self._folder) as entries:
            names = [entry.name for entry in entries if entry.name.endswith(_ENDING)]
        return {key for key in (name.removesuffix(_ENDING) for name in names) if "." not in key}

    def has(self, unit: Unit) -> bool:
        """Whether a unit has a result."""
        return self._path(unit).exists()

    def write(self, unit: Unit, forecast: Forecast, seconds: float) -> None:
        """Keep a unit's result; what goes beside it is written first, so the unit counts when all is there."""
        for name, rows in ((_COMPONENTS, forecast.components), (_DECOMPOSITION, forecast.decomposition)):
            if rows is not None:
                write_parquet(self._beside(unit, name), pa.Table.from_pandas(rows, preserve_index=False))
        meta = {
            "seconds": seconds,
            "notes": forecast.notes[[ID, REASON, FALLBACK]].to_numpy().tolist(),
            "importance": None if forecast.importance is None else list(forecast.importance.items()),
            "beside": [
                name
                for name, rows in ((_COMPONENTS, forecast.components), (_DECOMPOSITION, forecast.decomposition))
                if rows is not None
            ],
        }
        table = pa.Table.from_pandas(forecast.rows, preserve_index=False)
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), _META: json.dumps(meta)})
        write_parquet(self._path(unit), table)

    def read(self, unit: Unit) -> Done:
        """The result of a finished unit.

        Raises:
            TrainingError: the file is damaged; it is removed, so that another attempt computes it again.
        """
        path = self._path(unit)
        try:
            table = pq.read_table(path)
            meta: dict[str, Any] = json.loads(table.schema.metadata[_META])
            beside = {name: pq.read_table(self._beside(unit, name)).to_pandas() for name in meta["beside"]}
        except pa.ArrowInvalid as exc:
            path.unlink()
            raise TrainingError(
                f"The finished part {path.name} can't be read ({exc}).",
                remedy="Retry: it is computed again, all other parts are kept.",
            ) from exc
        return Done(unit=unit, seconds=meta["seconds"], forecast=_forecast(table, meta, beside))

    def _path(self, unit: Unit) -> Path:
        return self._folder / f"{unit.key}{_ENDING}"

    def _beside(self, unit: Unit, what: str) -> Path:
        return self._folder / f"{unit.key}.{what}{_ENDING}"


def _forecast(table: pa.Table, meta: Mapping[str, Any], beside: Mapping[str, pd.DataFrame]) -> Forecast:
    importance = meta["importance"]
    return Forecast(
        rows=table.to_pandas(),
        notes=pd.DataFrame(meta["notes"], columns=[ID, REASON, FALLBACK], dtype=object),
        components=beside.get(_COMPONENTS),
        decomposition=beside.get(_DECOMPOSITION),
        importance=None if importance is None else pd.Series(dict(importance), dtype=float),
    )
