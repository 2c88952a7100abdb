"""ReadOptions: how a file is read, as values that a person can see and change."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from training.values import NumberStyle

MAX_COLUMNS: Final = 5_000
MAX_ROWS: Final = 20_000_000
SAMPLE_ROWS: Final = 1_000  # looked at to guess the options


class TableFormat(StrEnum):
    """What a file is, whatever its name says."""

    CSV = "csv"
    PARQUET = "parquet"
    EXCEL = "excel"


class ReadOptions(BaseModel):
    """How a file is read.

    Attributes:
        encoding: a Python codec name; of CSV.
        separator: the sign between two cells; of CSV.
        decimal, thousands: how numbers in text are written; an empty ``thousands`` is none.
        header_row: one-based record that names the columns, 0 when none does; not of Parquet.
        sheet: of Excel; the first one when not given.
        date_format: one of ``training.values.DATE_FORMATS`` or any ``strptime`` pattern; worked out from
            the time column when not given.
        day_first: how 01/02/2024 is read where no format is given and the values leave it open.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: TableFormat = TableFormat.CSV
    encoding: str = "utf-8"
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ",", ".", " ", "'"] = ""
    header_row: int = Field(default=1, ge=0, le=1_000)
    sheet: str | None = None
    date_format: str | None = None
    day_first: bool = False

    @property
    def style(self) -> NumberStyle:
        """How numbers are written."""
        return NumberStyle(self.decimal, self.thousands)
