"""A panel in the arrays that its quality checks share, each computed once and for all series together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Final

import numpy as np
import pandas as pd

from training.artifacts import ID, TARGET, TIME
from training.frequency import FrequencyGuess, guess_frequency
from training.periods import label
from training.spec import ColumnRoles

_EXAMPLES: Final = 5


@dataclass(frozen=True)
class Facts:
    """A panel and what several checks need of it, computed once. Arrays by series follow ``names``."""

    panel: pd.DataFrame
    roles: ColumnRoles
    as_of: date

    @cached_property
    def _factorized(self) -> tuple[np.ndarray, pd.Index]:
        codes, names = pd.factorize(self.panel[ID])
        return codes, pd.Index(names)

    @property
    def codes(self) -> np.ndarray:
        """For each row the position of its series in ``names``."""
        return self._factorized[0]

    @property
    def names(self) -> pd.Index:
        """The ``unique_id`` of each series."""
        return self._factorized[1]

    @cached_property
    def observed(self) -> np.ndarray:
        """By row: whether it has a finite target."""
        return np.asarray(np.isfinite(self.panel[TARGET].to_numpy()))

    @cached_property
    def values(self) -> np.ndarray:
        """The finite targets."""
        targets: np.ndarray = self.panel[TARGET].to_numpy(dtype=np.float64)
        return np.compress(self.observed, targets)

    @cached_property
    def zero_share(self) -> float:
        """Share of the finite targets that are zero, 0-1."""
        return float((self.values == 0).mean()) if len(self.values) else 0.0

    @cached_property
    def per_series(self) -> pd.DataFrame:
        """Observations of each series: ``n first last low high``."""
        rows = pd.DataFrame({TIME: self.panel[TIME].to_numpy()[self.observed], TARGET: self.values})
        groups = rows.groupby(self.codes[self.observed])
        table = pd.DataFrame(
            {
                "n": groups.size(),
                "first": groups[TIME].min(),
                "last": groups[TIME].max(),
                "low": groups[TARGET].min(),
                "high": groups[TARGET].max(),
            }
        ).reindex(range(len(self.names)))
        return table.assign(n=table["n"].fillna(0).astype(int))

    @cached_property
    def usual_size(self) -> np.ndarray:
        """By series: the absolute value that nine tenths of those that are not zero stay below; NaN without any."""
        sizes = np.abs(self.values)
        counted = sizes > 0
        groups = pd.Series(sizes[counted]).groupby(self.codes[self.observed][counted])
        usual = groups.quantile(0.9, interpolation="lower")  # of ten values with one outlier, none of the outlier
        return np.asarray(usual.reindex(range(len(self.names))), dtype=np.float64)

    @cached_property
    def guess(self) -> FrequencyGuess:
        """What the observed timestamps say about their frequency."""
        return guess_frequency(self.panel.loc[self.observed, [ID, TIME]])

    @cached_property
    def duplicates(self) -> pd.DataFrame:
        """One row for each series and timestamp with several rows: ``code, ds, same`` (whether they agree)."""
        rows = pd.DataFrame({"code": self.codes, TIME: self.panel[TIME].to_numpy(), TARGET: self.panel[TARGET]})
        twice = rows[rows.duplicated(["code", TIME], keep=False)]
        low = twice.groupby(["code", TIME])[TARGET].nunique(dropna=False)
        return low.le(1).rename("same").reset_index()

    @cached_property
    def _inside(self) -> np.ndarray:
        """Which rows lie between the first and the last observation of their series."""
        ds = self.panel[TIME].to_numpy()
        first = self.per_series["first"].to_numpy()[self.codes]
        last = self.per_series["last"].to_numpy()[self.codes]
        return np.asarray((ds >= first) & (ds <= last))

    @cached_property
    def empty(self) -> np.ndarray:
        """By series: rows without a target between its first and last observation."""
        hollow = self._inside & ~self.observed
        return np.bincount(self.codes[hollow], minlength=len(self.names))

    @cached_property
    def missing(self) -> np.ndarray:
        """By series: periods without a row between its first and last observation."""
        frequency = self.guess.frequency
        if frequency is None:
            return np.zeros(len(self.names), dtype=int)
        stamp_codes, stamps = pd.factorize(self.panel[TIME].to_numpy()[self._inside])
        labels = label(pd.DatetimeIndex(stamps), frequency)
        calendar = frequency.between(labels.min(), labels.max())
        position = calendar.get_indexer(labels)[stamp_codes]
        present = pd.DataFrame({"code": self.codes[self._inside], "position": position}).drop_duplicates()
        spread = present.groupby("code")["position"].agg(["min", "max", "size"]).reindex(range(len(self.names)))
        return np.asarray((spread["max"] - spread["min"] + 1 - spread["size"]).fillna(0).clip(lower=0), dtype=int)

    @cached_property
    def future_rows(self) -> dict[str, int]:
        """For each covariate, rows after the last observation for which every series has its value."""
        ds = self.panel[TIME].to_numpy()
        after = ds > self.per_series["last"].to_numpy()[self.codes]
        ahead = self.panel[after]
        codes = self.codes[after]
        counts = {}
        for covariate in self.roles.covariates:
            given = ahead[covariate.name].notna().groupby(codes).cummin()  # up to the first absent value
            by_series = given.groupby(codes).sum().reindex(range(len(self.names)), fill_value=0)
            counts[covariate.name] = int(by_series[self.per_series["n"] > 0].min()) if self.observed.any() else 0
        return counts

    def share(self, n: int) -> str:
        """So many of all series, in words."""
        total = len(self.names)
        if n == total:
            return "the series" if total == 1 else f"all {total:,} series"
        return f"{int(n):,} of {total:,} series"

    def examples(self, chosen: np.ndarray) -> tuple[str, ...]:
        """Names of the first few series of a mask."""
        return tuple(str(name) for name in self.names[chosen][:_EXAMPLES])
