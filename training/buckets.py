"""Buckets: the ranges of series that a worker takes at a time, and the files in which it finds them.

How a panel is cut depends on the panel and the spec alone, never on the machine: another attempt on a
larger cluster finds the finished units of a smaller one. The driver writes each bucket's frames once; no
frame travels between processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from training.errors import TrainingError
from training.files import write_parquet
from training.models import scope_of
from training.models.base import Scope
from training.spec import ForecastSpec
from training.workload import COSTS

MAX_SERIES: Final = 500
MAX_ROWS: Final = 250_000  # of history: some 50 MB with features, in each worker
_LEAST_S: Final = 1.0  # estimated, all models and windows together: less, and files and messages are felt
_MOST_S: Final = 30.0  # more, and cores end apart and a lost process costs too much
_SPREAD: Final = 64  # buckets that keep 16 cores busy to the end
_HANDLING_S: Final = 1e-6  # reading and cutting one row for one fit

_HISTORY: Final = "history"
_FUTURE: Final = "future"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Series ``first`` to ``last - 1`` of a panel sorted by series."""

    number: int
    first: int
    last: int


def cut_buckets(sizes: pd.Series, spec: ForecastSpec) -> tuple[Bucket, ...]:
    """Cut a panel into ranges of series of about equal estimated cost.

    Args:
        sizes: rows of history by ``unique_id``, sorted.
        spec: says which models will run how often.
    """
    rows = sizes.to_numpy()
    costs = _costs(rows, spec)
    total = float(costs.sum())
    wanted = max(min(_SPREAD, total / _LEAST_S), total / _MOST_S, len(rows) / MAX_SERIES, rows.sum() / MAX_ROWS)
    n = min(max(1, int(np.ceil(wanted))), len(rows))
    middle = np.cumsum(costs) - costs / 2
    place = np.minimum((middle / total * n).astype(int), n - 1)
    starts = [0, *(np.flatnonzero(np.diff(place)) + 1).tolist(), len(rows)]
    ranges = [part for first, last in pairwise(starts) for part in _within(first, last, rows)]
    return tuple(Bucket(number=i, first=first, last=last) for i, (first, last) in enumerate(ranges))


def _costs(rows: NDArray[np.int64], spec: ForecastSpec) -> NDArray[np.float64]:
    """Estimated seconds of each series, all its fits together."""
    models = [COSTS[model] for model in spec.fitted if scope_of(model) is Scope.SERIES]
    per_series = sum(cost.per_series_s for cost in models)
    per_row = sum(cost.per_row_s + _HANDLING_S for cost in models)
    return np.asarray((spec.n_windows + 1) * (per_series + per_row * rows), dtype=float)


def _within(first: int, last: int, rows: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """A range as it is, or halved until it is within the limits."""
    n = last - first
    if n > 1 and (n > MAX_SERIES or rows[first:last].sum() > 2 * MAX_ROWS):
        half = first + n // 2
        yield from _within(first, half, rows)
        yield from _within(half, last, rows)
    elif n:
        yield first, last


def write_bucket(folder: Path, bucket: Bucket, history: pd.DataFrame, future: pd.DataFrame) -> None:
    """Keep the frames of a bucket, as models take them."""
    write_parquet(_path(folder, bucket.number, _FUTURE), pa.Table.from_pandas(future, preserve_index=False))
    write_parquet(_path(folder, bucket.number, _HISTORY), pa.Table.from_pandas(history, preserve_index=False))


def is_written(folder: Path, bucket: Bucket) -> bool:
    """Whether both files are there; the history is written last."""
    return _path(folder, bucket.number, _HISTORY).exists()


@lru_cache(maxsize=1)
def read_bucket(folder: Path, number: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """History and future of a bucket. The last one read stays in memory: don't change it."""
    return read_buckets(folder, (number,))


def read_buckets(
    folder: Path, numbers: Sequence[int], without: Sequence[str] = ()
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """History and future of several buckets as one, leaving out some columns.

    Raises:
        TrainingError: a file is damaged; its bucket is written anew by another attempt.
    """
    return _read(folder, numbers, _HISTORY, without), _read(folder, numbers, _FUTURE, without)


def _read(folder: Path, numbers: Sequence[int], what: str, without: Sequence[str]) -> pd.DataFrame:
    tables = [_table(folder, number, what, without) for number in numbers]
    table = pa.concat_tables(tables)
    del tables  # so that columns are given up as they are converted: a panel is large
    frame: pd.DataFrame = table.to_pandas(use_threads=False, self_destruct=True)
    return frame


def _table(folder: Path, number: int, what: str, without: Sequence[str]) -> pa.Table:
    try:
        with pq.ParquetFile(_path(folder, number, what)) as file:
            columns = [name for name in file.schema_arrow.names if name not in without]
            return file.read(columns=columns, use_threads=False)
    except pa.ArrowInvalid as exc:
        _path(folder, number, _HISTORY).unlink(missing_ok=True)
        raise TrainingError(
            f"The prepared part {_path(folder, number, what).name} can't be read ({exc}).",
            remedy="Retry: it is prepared again, finished parts are kept.",
        ) from exc


def _path(folder: Path, number: int, what: str) -> Path:
    return folder / f"{number:05d}.{what}.parquet"
