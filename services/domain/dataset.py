"""A dataset: an uploaded file on its way to a panel, and the panel once it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from services.domain.job import DatasetId
from services.domain.table import Origin


class DatasetStatus(StrEnum):
    """How far an upload has come."""

    DRAFT = "DRAFT"  # the raw file is stored; its columns have no confirmed roles yet
    READY = "READY"  # the cleaned panel and its profile are stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """The record of one upload. The user's words are only in here, never in a path.

    Attributes:
        name: the file's name, the sample's title or the table's full name.
        source: ``file``, ``sample`` or ``table``.
        origin_json: of a table, where and when its rows were read (``services.domain.table.Origin``); empty otherwise.
        suffix: of the raw file, lower case with its dot.
        size_bytes: of the raw file.
        uploaded_at: of the raw file where that is older than the record, as in a copy made to change columns.
        options_json: how the raw file is read (``training.tables.ReadOptions``), as last confirmed.
        roles_json: the columns' roles (``ColumnRoles``), as last confirmed; empty before.
        profile_json: of the kept panel (``training.quality.Profile``); empty while a draft.
        draft_spec_json: the configuration being worked on; empty before.
        row_count, series_count: of the kept panel.
        panel_folder: of the kept panel within the dataset's folder; a fresh one for each try to keep it, so that who
            loses a race has not touched the winner's.
        version: counts the writes; the store changes a record only at the version that was read.
    """

    dataset_id: DatasetId
    owner: str
    name: str
    source: str
    suffix: str
    size_bytes: int
    status: DatasetStatus
    created_at: datetime
    updated_at: datetime
    options_json: str = ""
    roles_json: str = ""
    profile_json: str = ""
    draft_spec_json: str = ""
    row_count: int = 0
    series_count: int = 0
    uploaded_at: datetime | None = None
    panel_folder: str = ""
    origin_json: str = ""
    version: int = 0

    @property
    def taken_on(self) -> date:
        """The day of the upload, in UTC: a period that holds it is taken for one that is not over.

        The quality report and every run go by it, however much later they look at the data.
        """
        return (self.uploaded_at or self.created_at).date()

    @property
    def origin(self) -> Origin | None:
        """Where the rows of a table were read; ``None`` for anything else."""
        return Origin.from_json(self.origin_json) if self.origin_json else None

    @property
    def is_in_place(self) -> bool:
        """Whether the dataset holds only some rows of a table, which a run reads by itself."""
        return self.origin is not None and self.origin.is_in_place

    @property
    def raw_key(self) -> str:
        """File-store key of the raw file."""
        return f"datasets/{self.dataset_id}/raw{self.suffix}"

    @property
    def panel_key(self) -> str:
        """File-store key of the cleaned panel."""
        return "/".join(filter(None, ("datasets", self.dataset_id, self.panel_folder, "panel.parquet")))
