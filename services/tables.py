"""TableService: a person's own tables in Unity Catalog, looked at and taken as the data of a forecast.

Every call carries the person's login, and Databricks decides what it opens: the app adds no right of its own.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO, Final, cast

import pandas as pd
import pyarrow.parquet as pq

from services.datasets import DatasetService
from services.domain.access import User
from services.domain.dataset import Dataset
from services.domain.errors import InvalidInput
from services.domain.login import Login
from services.domain.table import Origin, TableFacts, TableName, TableVersion
from services.incoming import MB
from services.large_tables import LargeTables, not_in_place
from services.ports import Clock, TableSource

logger = logging.getLogger(__name__)

MANY_COLUMNS: Final = 50
"""Of a table with more, nobody wants to forecast with all."""
_HEAD_ROWS: Final = 20
_GUESS_ROWS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TableLook:
    """A table before it is used.

    Attributes:
        n_rows: ``None`` where only reading all of them would tell.
        head: some rows of its plain columns.
    """

    facts: TableFacts
    n_rows: int | None
    head: pd.DataFrame


class TableService:
    """Browse, look, use. Errors are those of ``TableSource``.

    Args:
        max_rows: a larger table is not copied.
        max_mb: nor is one that takes more room as a Parquet file.
        reads_in_place: whether runs compute where they can read a larger table by themselves.

    Attributes:
        large: for tables that stay where they are; ``None`` where runs can't read them.
    """

    def __init__(
        self,
        *,
        source: TableSource,
        datasets: DatasetService,
        clock: Clock,
        max_rows: int,
        max_mb: int,
        reads_in_place: bool = False,
    ) -> None:
        self.large = LargeTables(source=source, datasets=datasets) if reads_in_place else None
        self._source = source
        self._datasets = datasets
        self._clock = clock
        self.max_rows = max_rows
        self._max_mb = max_mb

    def catalogs(self, login: Login) -> tuple[str, ...]:
        """Names of the catalogs the person may use."""
        return self._source.catalogs(login)

    def schemas(self, login: Login, catalog: str) -> tuple[str, ...]:
        """Names of a catalog's schemas that the person may use."""
        return self._source.schemas(login, catalog)

    def tables(self, login: Login, catalog: str, schema: str) -> tuple[str, ...]:
        """Names of a schema's tables and views that the person may read."""
        return self._source.tables(login, catalog, schema)

    def look(self, login: Login, name: TableName) -> TableLook:
        """Columns, size and some rows of a table.

        Raises:
            InvalidInput: none of its columns can be used.
        """
        facts = self._described(login, name)
        with closing(self._source.rows(login, facts, facts.plain[:MANY_COLUMNS], limit=_HEAD_ROWS)) as parts:
            head = next(parts).to_pandas(date_as_object=False)
        return TableLook(facts=facts, n_rows=self._source.count(login, facts), head=head)

    def use(self, user: User, login: Login, name: TableName, columns: Sequence[str]) -> Dataset:
        """Copy the chosen columns with the person's rights, and make a draft of them as of an uploaded file.

        A Delta table is read at its latest version, which the draft remembers. Of one with too many rows to copy the
        draft holds a few to choose roles by, and a run reads the table itself.

        Raises:
            InvalidInput: too few columns, one that can't be used, no rows, or too many.
            TableRefused: also where a run would read it and the app's service principal may not.
        """
        facts = self._described(login, name)
        chosen = _chosen(facts, columns)
        n_rows = self._source.count(login, facts)
        version = self._source.version(login, facts)
        is_large = n_rows is not None and n_rows > self.max_rows
        if is_large and self.large is None:
            raise self._too_long(name, f"{n_rows:,}")
        if is_large and version is None:
            raise not_in_place(facts)
        origin = Origin(
            table=str(name), columns=chosen, read_at=self._clock.now(), version=version, is_in_place=is_large
        )
        if is_large and self.large is not None:
            self.large.require_app(origin)  # now, and not only after somebody has chosen roles and read a report
        with tempfile.TemporaryFile() as copy:
            limit = min(_GUESS_ROWS, self.max_rows) if is_large else self.max_rows + 1
            n_read = self._copy(login, facts, chosen, version, cast(BinaryIO, copy), limit=limit)
            copy.seek(0)
            draft = self._datasets.receive_table(user, name=str(name), stream=cast(BinaryIO, copy), origin=origin)
        logger.info("Dataset %s: %d rows of a table", draft.dataset_id, n_read)
        return draft

    def _described(self, login: Login, name: TableName) -> TableFacts:
        facts = self._source.describe(login, name)
        if not facts.plain:
            raise InvalidInput(
                f"None of the columns of {name} holds plain values.",
                remedy="Make a view that takes numbers, dates and text out of the nested ones.",
                field="table",
            )
        return facts

    def _copy(
        self,
        login: Login,
        facts: TableFacts,
        columns: Sequence[str],
        version: TableVersion | None,
        file: BinaryIO,
        *,
        limit: int,
    ) -> int:
        """Write the rows as Parquet, part by part; returns how many there are."""
        n_rows = 0
        rows = self._source.rows(login, facts, columns, version=version, limit=limit)
        with closing(rows) as parts:
            first = next(parts)
            with pq.ParquetWriter(file, first.schema, compression="zstd") as writer:
                for part in chain((first,), parts):
                    n_rows += part.num_rows
                    if n_rows > self.max_rows:
                        raise self._too_long(facts.name, f"more than {self.max_rows:,}")
                    writer.write_table(part)
                    if file.tell() > self._max_mb * MB:
                        raise InvalidInput(
                            f"The chosen columns of {facts.name} take more than {self._max_mb:,} MB, the limit.",
                            remedy="Choose fewer columns, or make a view of the rows you need.",
                            field="table",
                        )
        if n_rows == 0:
            raise InvalidInput(
                f"The table {facts.name} has no rows that you may see.",
                remedy="Choose another one, or ask its owner.",
                field="table",
            )
        return n_rows

    def _too_long(self, name: TableName, rows: str) -> InvalidInput:
        return InvalidInput(
            f"The table {name} has {rows} rows; up to {self.max_rows:,} can be used.",
            remedy="Make a view that sums it up to the frequency you forecast, or keeps fewer series, and use that.",
            field="table",
        )


def _chosen(facts: TableFacts, columns: Sequence[str]) -> tuple[str, ...]:
    """The columns in the table's order."""
    unknown = [name for name in columns if name not in facts.plain]
    if unknown:
        raise InvalidInput(
            f"The table {facts.name} has no column {unknown[0]!r} that can be used.",
            remedy="Look at the table again; it may have changed.",
            field="columns",
        )
    chosen = tuple(name for name in facts.plain if name in set(columns))
    if len(chosen) < 2:
        raise InvalidInput(
            f"A forecast needs a time and a number; {len(chosen)} column of {facts.name} is chosen.",
            remedy="Choose at least two columns.",
            field="columns",
        )
    return chosen
