"""Writes the artifacts of a run into a folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from training import artifacts
from training.prepare import Prepared
from training.quality import Profile
from training.results import Results
from training.spec import ForecastSpec

OPTIONAL: Final = (
    artifacts.IMPORTANCE, artifacts.COMPONENTS, artifacts.DECOMPOSITION, artifacts.WEIGHTS, artifacts.ERROR,
)  # fmt: skip


def write_artifacts(
    folder: Path,
    *,
    spec: ForecastSpec,
    profile: Profile,
    prepared: Prepared,
    results: Results,
    environment: dict[str, object],
) -> None:
    """Write everything into ``folder``; what an earlier run left there and this one does not have is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in OPTIONAL:
        (folder / name).unlink(missing_ok=True)
    (folder / artifacts.SPEC).write_text(spec.to_json(), encoding="utf-8")
    found = {
        "profile": profile.model_dump(mode="json"),
        "changes": [change.model_dump(mode="json") for change in prepared.changes],
    }
    write_json(folder / artifacts.PROFILE, found)
    write_json(folder / artifacts.LEADERBOARD, results.leaderboard)
    write_json(folder / artifacts.ENVIRONMENT, environment)
    _write_parquet(folder / artifacts.HISTORY, [prepared.history])
    _write_parquet(folder / artifacts.FORECAST, results.forecast_rows())
    _write_parquet(folder / artifacts.BACKTEST, results.backtest_rows())
    _write_parquet(folder / artifacts.SCORES, [results.scores])
    optional = {
        artifacts.IMPORTANCE: results.importance,
        artifacts.COMPONENTS: results.components,
        artifacts.DECOMPOSITION: results.decomposition,
        artifacts.WEIGHTS: results.weight_rows(),
    }
    for name, rows in optional.items():
        if rows is not None:
            _write_parquet(folder / name, [rows])


def write_json(path: Path, content: object) -> None:
    """Write readable JSON; a number that is not finite is an error, JSON has none."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False), encoding="utf-8")


def _write_parquet(path: Path, parts: Iterable[pd.DataFrame]) -> None:
    """One file of all parts, the first of which says its schema, even where it has no rows."""
    parts = iter(parts)
    first = pa.Table.from_pandas(next(parts), preserve_index=False)
    schema = _with_text(first.schema)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        writer.write_table(first.cast(schema), row_group_size=artifacts.ROWS_PER_GROUP)
        for part in parts:
            table = pa.Table.from_pandas(part, schema=schema, preserve_index=False)
            writer.write_table(table, row_group_size=artifacts.ROWS_PER_GROUP)


def _with_text(schema: pa.Schema) -> pa.Schema:
    """A column of objects without any value has no type of its own; all of ours are text."""
    fields = [field.with_type(pa.string()) if pa.types.is_null(field.type) else field for field in schema]
    return pa.schema(fields, metadata=schema.metadata)
