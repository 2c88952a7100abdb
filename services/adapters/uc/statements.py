"""Every statement that reads a person's table. Names are quoted; there are no values but numbers of ours."""

from __future__ import annotations

from collections.abc import Sequence

from services.adapters.sql.identifiers import quoted
from services.adapters.sql.statements import Statement, columns
from services.domain.table import SeriesColumns, TableName, TableVersion


class TableStatements:
    """The statements about one table."""

    def __init__(self, name: TableName) -> None:
        self._table = quoted(*name.parts)

    def rows(self, names: Sequence[str], *, version: TableVersion | None, limit: int) -> Statement:
        """Rows in no order, at a version or now."""
        listed = columns(map(quoted, names))
        return Statement(name="read a table", text=f"SELECT {listed} FROM {self._at(version)} LIMIT {limit:d}")

    def count(self) -> Statement:
        """All rows; of a Delta table its log knows them."""
        return Statement(name="count a table's rows", text=f"SELECT count(*) AS n FROM {self._table}")

    def totals(self, series: SeriesColumns, *, version: TableVersion | None, is_temporal: bool) -> Statement:
        """One row about all series, in one pass."""
        time, target = quoted(series.time), quoted(series.target)
        groups = f" GROUP BY {columns(map(quoted, series.series))}" if series.series else ""
        observed = f"CASE WHEN {target} IS NOT NULL THEN {time} END"
        span = f", min({observed}) AS first_time, max({observed}) AS last_time" if is_temporal else ""
        return Statement(
            name="count a table's series",
            text="SELECT count(*) AS n_series, sum(n_rows) AS n_rows, sum(n_observations) AS n_observations,"
            " sum(n_repeated) AS n_repeated, max(n_rows) AS longest, min(n_observations) AS length_min,"
            " median(n_observations) AS length_median, max(n_observations) AS length_max"
            + (", min(first_time) AS first_time, max(last_time) AS last_time" if is_temporal else "")
            + f" FROM (SELECT count(*) AS n_rows, count({target}) AS n_observations,"
            f" count(*) - count(DISTINCT {time}) AS n_repeated{span} FROM {self._at(version)}{groups}) AS each_series",
        )

    def whole_series(
        self, names: Sequence[str], keys: Sequence[str], *, version: TableVersion | None, n_series: int
    ) -> Statement:
        """All rows of some series, which a hash of their names chooses; without keys there is one, and all is its."""
        if not keys:
            text = f"SELECT {columns(map(quoted, names))} FROM {self._at(version)}"
            return Statement(name="read a table's only series", text=text)
        listed = columns(map(quoted, keys))
        texts = columns(f"CAST({quoted(key)} AS STRING)" for key in keys)
        same = " AND ".join(f"one.{quoted(key)} <=> chosen.{quoted(key)}" for key in keys)
        return Statement(
            name="read some of a table's series",
            text=f"WITH chosen AS (SELECT {listed} FROM {self._at(version)} GROUP BY {listed}"
            f" ORDER BY md5(concat_ws('/', {texts})), {listed} LIMIT {n_series:d})"
            f" SELECT {columns(f'one.{quoted(name)}' for name in names)} FROM {self._at(version)} AS one"
            f" JOIN chosen ON {same}",
        )

    def _at(self, version: TableVersion | None) -> str:
        return self._table if version is None else f"{self._table} VERSION AS OF {version.number:d}"

    def latest_version(self) -> Statement:
        """Delta's own statement: Spark without Delta does not know it."""
        return Statement(name="ask for a table's version", text=f"DESCRIBE HISTORY {self._table} LIMIT 1")
