"""Tables of Unity Catalog as a person may choose them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from pydantic import TypeAdapter

from services.domain.errors import InvalidInput

_PART: Final = r"`(?:[^`]|``)+`|[^.`\s/]+"  # https://docs.databricks.com/aws/en/sql/language-manual/sql-ref-names
_BARE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # SQL takes anything else in backticks only
_FULL_NAME: Final = re.compile(rf"\s*({_PART})\.({_PART})\.({_PART})\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableName:
    """A table's full name; the parts are as they are, without backticks."""

    catalog: str
    schema: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The name that a person wrote or pasted, with or without backticks.

        Raises:
            InvalidInput: it has not three parts.
        """
        match = _FULL_NAME.fullmatch(text)
        if match is None:
            raise InvalidInput(
                f"{text.strip()!r} is not the full name of a table.",
                remedy="Write catalog.schema.table, with backticks around a part that holds a dot or a space.",
                field="table",
            )
        catalog, schema, name = (
            part[1:-1].replace("``", "`") if part.startswith("`") else part for part in match.groups()
        )
        return cls(catalog=catalog, schema=schema, name=name)

    @property
    def parts(self) -> tuple[str, str, str]:
        """Catalog, schema, table."""
        return self.catalog, self.schema, self.name

    def __str__(self) -> str:
        """As SQL reads it, and ``parse``."""
        return ".".join(part if _BARE.fullmatch(part) else _quoted(part) for part in self.parts)


def _quoted(part: str) -> str:
    return f"`{part.replace('`', '``')}`"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumn:
    """A column of a table.

    Attributes:
        type_text: as SQL writes it, ``decimal(10,2)``.
        is_temporal: a date or a moment.
        is_plain: holds numbers, text, dates, times or truth values; anything else can't be used.
        is_masked: people see other values than are stored.
    """

    name: str
    type_text: str
    comment: str = ""
    is_temporal: bool = False
    is_plain: bool = True
    is_masked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFacts:
    """A table as the catalog describes it.

    Attributes:
        kind: for a person, such as ``table``, ``view``, ``materialized view``.
        is_delta: it is stored as a Delta table.
        is_filtered: people see different rows.
    """

    name: TableName
    kind: str
    columns: tuple[TableColumn, ...]
    comment: str = ""
    is_delta: bool = False
    is_filtered: bool = False

    @property
    def plain(self) -> tuple[str, ...]:
        """Names of the columns that can be used."""
        return tuple(column.name for column in self.columns if column.is_plain)

    @property
    def left_out(self) -> tuple[TableColumn, ...]:
        """The columns that can't be used."""
        return tuple(column for column in self.columns if not column.is_plain)

    @property
    def has_versions(self) -> bool:
        """Whether an earlier state can be read, and its rows are counted without reading them.

        Delta tables with filters or masks allow neither.
        """
        return self.is_delta and self.is_same_for_all

    @property
    def is_same_for_all(self) -> bool:
        """Whether everybody who may read it sees the same."""
        return not self.is_filtered and not any(column.is_masked for column in self.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableVersion:
    """A state of a Delta table that can be read again later."""

    number: int
    made_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesColumns:
    """The columns that make series of a table's rows."""

    time: str
    target: str
    series: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableTotals:
    """All of a table's series in numbers.

    Attributes:
        n_observations: rows with a target.
        n_repeated: rows beyond the first of a series and a time.
        longest: rows of the series that has most.
        length_min, length_median, length_max: observations in a series.
        first, last: of the observations; ``None`` where the time column is text or a number.
    """

    n_rows: int
    n_series: int
    n_observations: int
    n_repeated: int
    longest: int
    length_min: int
    length_median: int
    length_max: int
    first: datetime | None
    last: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the rows of a dataset were read.

    Attributes:
        table: full name as ``TableName`` writes it.
        columns: that were read.
        read_at: when, aware UTC.
        version: of the table; ``None`` where it has none, or it could not be told.
        is_in_place: the dataset holds some of the rows; a run reads all of them from the table itself.
    """

    table: str
    columns: tuple[str, ...]
    read_at: datetime
    version: TableVersion | None = None
    is_in_place: bool = False

    def to_json(self) -> str:
        """For a dataset's record."""
        return _ORIGIN.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str) -> Origin:
        """What ``to_json`` wrote."""
        return _ORIGIN.validate_json(text)


_ORIGIN: Final = TypeAdapter(Origin)
