"""DatasetService: an upload from the first byte to a kept panel.

A file is streamed to storage at once and becomes a draft, which survives refreshes, restarts and other
tabs. Reading options and roles are kept with it at every change. Keeping a draft writes its panel and makes
it READY; from then on it does not change any more, because jobs refer to it: changing columns makes a new
draft of the same file.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, Final, cast

import pandas as pd
import pyarrow.parquet as pq

from services.dataset_check import Checked, TablePreview, few_series
from services.domain.access import User
from services.domain.dataset import Dataset, DatasetStatus
from services.domain.errors import InvalidInput, NotFound, StaleDataset
from services.domain.job import DatasetId
from services.domain.table import Origin
from services.incoming import MB, Limited, label
from services.ports import Clock, DatasetStore, FileStore
from services.raw_file import RawFile, refusal
from services.role_guess import RoleGuess
from services.samples import SAMPLES, Sample
from training.artifacts import ID, ROWS_PER_GROUP
from training.errors import DataError
from training.quality import Profile, Severity, profile_panel
from training.spec import ColumnRoles
from training.tables import ReadOptions, sniff

logger = logging.getLogger(__name__)

_SUFFIXES: Final = frozenset({".csv", ".tsv", ".txt", ".parquet", ".xlsx", ".xlsm"})
DRAFT_LIFETIME: Final = timedelta(days=30)
_RACES: Final = 10  # lost races in a row before the user is told


class DatasetService:
    """Everything that can be done with datasets; every call checks that the user may.

    Args:
        new_id: makes ids; letters and digits.
        is_in_use: whether an active job reads a dataset.
    """

    def __init__(
        self,
        *,
        files: FileStore,
        records: DatasetStore,
        clock: Clock,
        max_upload_mb: int,
        new_id: Callable[[], str],
        is_in_use: Callable[[DatasetId], bool] = lambda _: False,
    ) -> None:
        self._is_in_use = is_in_use
        self._files = files
        self._records = records
        self._clock = clock
        self._max_bytes = max_upload_mb * MB
        self._new_id = new_id

    def receive(self, user: User, *, filename: str, stream: BinaryIO) -> Dataset:
        """Store a file and make a draft of it, with guessed reading options and roles.

        Raises:
            InvalidInput: the file is too large, empty, or no table; nothing is kept of it.
        """
        return self._receive(user, name=label(filename), source="file", stream=stream, roles=None)

    def samples(self) -> tuple[Sample, ...]:
        """The samples that ship with the app."""
        return SAMPLES

    def receive_sample(self, user: User, key: str) -> Dataset:
        """Make a draft of a shipped sample.

        Raises:
            NotFound: there is no such sample.
        """
        sample = next((sample for sample in SAMPLES if sample.key == key), None)
        if sample is None:
            raise NotFound("sample", key)
        with sample.path.open("rb") as stream:
            return self._receive(
                user, name=sample.title, source="sample", stream=stream, roles=sample.roles, file=sample.filename
            )

    def receive_table(self, user: User, *, name: str, stream: BinaryIO, origin: Origin) -> Dataset:
        """Make a draft of a table's rows.

        Args:
            user: who has read it with their own rights.
            name: the table's full name.
            stream: the rows as a Parquet file.
            origin: what was read, and when.
        """
        return self._receive(
            user, name=name, source="table", stream=stream, roles=None, file="table.parquet", origin=origin
        )

    def _receive(
        self,
        user: User,
        *,
        name: str,
        source: str,
        stream: BinaryIO,
        roles: ColumnRoles | None,
        file: str = "",
        origin: Origin | None = None,
    ) -> Dataset:
        now = self._clock.now()
        suffix = Path(file or name).suffix.lower()
        draft = Dataset(
            dataset_id=DatasetId(self._new_id()),
            owner=user.name,
            name=name,
            source=source,
            suffix=suffix if suffix in _SUFFIXES else ".csv",
            size_bytes=0,
            status=DatasetStatus.DRAFT,
            created_at=now,
            updated_at=now,
            origin_json=origin.to_json() if origin else "",
        )
        size = self._files.write(draft.raw_key, cast(BinaryIO, Limited(stream, self._max_bytes, name)))
        try:
            options = sniff(self._files.local_path(draft.raw_key), file or name)
        except DataError as exc:
            self._files.delete_all(_folder(draft))
            raise refusal(exc) from exc
        draft = replace(draft, size_bytes=size, options_json=options.model_dump_json())
        roles = roles or self._raw(draft).guess(options).roles()
        draft = replace(draft, roles_json=roles.model_dump_json() if roles else "")
        self._records.put(draft)
        logger.info("Dataset %s received: %s, %d bytes", draft.dataset_id, options.format, size)
        return draft

    def get(self, user: User, dataset_id: DatasetId) -> Dataset:
        """The record.

        Raises:
            NotFound: there is none, or it is someone else's.
        """
        dataset = self._records.get(dataset_id)
        if dataset is None or not user.may_touch(dataset.owner):
            raise NotFound("dataset", dataset_id)
        return dataset

    def list(self, user: User, *, limit: int = 50) -> tuple[Dataset, ...]:
        """The user's own newest datasets, newest first."""
        return self._records.list(user.name, limit=limit)

    def delete(self, user: User, dataset_id: DatasetId) -> None:
        """Remove a dataset with its files. Results of its jobs stay.

        Raises:
            InvalidInput: an active job reads it.
        """
        for _ in range(_RACES):
            dataset = self.get(user, dataset_id)
            if self._is_in_use(dataset_id):
                raise InvalidInput(
                    f"A job is being trained on {dataset.name!r}.",
                    remedy="Wait until it has ended, or cancel it; then delete the dataset.",
                )
            try:
                self._remove(dataset)
            except StaleDataset:
                continue
            return
        raise StaleDataset(dataset_id=dataset_id, version=dataset.version)

    def remove_old_drafts(self) -> None:
        """Remove everybody's drafts, with their files, that nobody has touched for ``DRAFT_LIFETIME``."""
        for draft in self._records.drafts_before(self._clock.now() - DRAFT_LIFETIME):
            try:
                self._remove(draft)
            except StaleDataset:
                continue  # somebody goes on with it in this very moment

    def _remove(self, dataset: Dataset) -> None:
        self._records.delete(dataset)
        self._files.delete_all(_folder(dataset))
        logger.info("Dataset %s deleted", dataset.dataset_id)

    def options(self, dataset: Dataset) -> ReadOptions:
        """How the file is read, as last confirmed."""
        return ReadOptions.model_validate_json(dataset.options_json)

    def roles(self, dataset: Dataset) -> ColumnRoles | None:
        """The columns' roles, as last confirmed or guessed; ``None`` while there are none."""
        return ColumnRoles.model_validate_json(dataset.roles_json) if dataset.roles_json else None

    def preview(self, user: User, dataset_id: DatasetId, options: ReadOptions) -> TablePreview:
        """The head of the file, read with these options; keys of the draft's series are shown as they are kept.

        Raises:
            InvalidInput: it can't be read so; the message says what to change.
        """
        dataset = self.get(user, dataset_id)
        return self._raw(dataset).preview(options, self.roles(dataset))

    def sheets(self, user: User, dataset_id: DatasetId) -> tuple[str, ...]:
        """Names of an Excel file's worksheets; empty for other files, and for one that can't be opened."""
        dataset = self.get(user, dataset_id)
        return self._raw(dataset).sheets(self.options(dataset))

    def suggest_roles(self, user: User, dataset_id: DatasetId, options: ReadOptions) -> RoleGuess:
        """Guess the columns' roles from the file's first rows; empty when it can't be read so."""
        return self._raw(self.get(user, dataset_id)).guess(options)

    def check(self, user: User, dataset_id: DatasetId, options: ReadOptions, roles: ColumnRoles) -> Checked:
        """Everything that speaks for and against keeping the dataset so. Reads the whole file."""
        dataset = self.get(user, dataset_id)
        return self._raw(dataset).check(options, roles, as_of=dataset.taken_on)

    def dated(self, user: User, dataset_id: DatasetId, options: ReadOptions, time: str) -> ReadOptions:
        """The options with the date format that suits a time column; unchanged where none does."""
        return self._raw(self.get(user, dataset_id)).dated(options, time)

    def reread(self, user: User, dataset_id: DatasetId, options: ReadOptions) -> Dataset:
        """Save other reading options, and what follows from them, as ``RawFile.settle`` says."""
        dataset = self.get(user, dataset_id)
        options, roles = self._raw(dataset).settle(options, self.roles(dataset), before=self.options(dataset))
        return self.save_draft(user, dataset_id, options=options, roles=roles)

    def sample(self, user: User, dataset_id: DatasetId) -> pd.DataFrame:
        """A few series of the kept panel, for a chart.

        Raises:
            NotFound: the dataset is not kept yet, not there, or someone else's.
        """
        with pq.ParquetFile(self._panel_path(self.get(user, dataset_id))) as file:
            head = file.read_row_group(0).to_pandas()
            is_cut = file.num_row_groups > 1 and head[ID].nunique() > 1
        return few_series(head[head[ID] != head[ID].iloc[-1]] if is_cut else head)

    def save_draft(
        self,
        user: User,
        dataset_id: DatasetId,
        *,
        options: ReadOptions | None = None,
        roles: ColumnRoles | None = None,
        spec_json: str | None = None,
    ) -> Dataset:
        """Remember what the user chose so far; what is not given stays.

        Raises:
            InvalidInput: options or roles of a kept dataset, which do not change any more.
        """

        def change(dataset: Dataset) -> Dataset:
            if dataset.status is DatasetStatus.READY and (options or roles):
                raise _confirmed(dataset)
            return replace(
                dataset,
                options_json=options.model_dump_json() if options else dataset.options_json,
                roles_json=roles.model_dump_json() if roles else dataset.roles_json,
                draft_spec_json=dataset.draft_spec_json if spec_json is None else spec_json,
            )

        return self._change(user, dataset_id, change)

    def keep(self, user: User, dataset_id: DatasetId, options: ReadOptions, roles: ColumnRoles) -> Dataset:
        """Write the panel and make the draft READY; keeping it again the same way changes nothing.

        Raises:
            InvalidInput: it can't be read so, a finding blocks it, or it is already kept otherwise; nothing changes.
            NotFound: it is not there, not the user's, or has been deleted meanwhile.
        """
        dataset = self.get(user, dataset_id)
        if dataset.status is DatasetStatus.READY:
            return self._as_kept(dataset, options, roles)
        if dataset.is_in_place:
            raise InvalidInput(f"{dataset.name!r} is only referred to.", remedy="Keep it with some of its series.")
        panel = self._raw(dataset).panel(options, roles)
        profile = profile_panel(panel, roles, as_of=dataset.taken_on)
        if blocking := profile.of(Severity.BLOCKING):
            raise InvalidInput(blocking[0].message, remedy=blocking[0].remedy, field=blocking[0].column)
        return self._finish(user, dataset, options, roles, panel, profile)

    def keep_sample(
        self,
        user: User,
        dataset_id: DatasetId,
        options: ReadOptions,
        roles: ColumnRoles,
        *,
        panel: pd.DataFrame,
        profile: Profile,
    ) -> Dataset:
        """Make the draft of a table that stays where it is READY.

        Args:
            user: its owner.
            dataset_id: of the draft.
            options: for the time column's format.
            roles: of the table's columns.
            panel: some of its series, for charts.
            profile: of all of it, without a finding that blocks.

        Raises:
            InvalidInput: it holds all of its rows, or is already kept otherwise.
            NotFound: it is not there, not the user's, or has been deleted meanwhile.
        """
        dataset = self.get(user, dataset_id)
        if not dataset.is_in_place:
            raise InvalidInput(f"{dataset.name!r} holds all of its rows.", remedy="Keep it as it is.")
        if dataset.status is DatasetStatus.READY:
            return self._as_kept(dataset, options, roles)
        return self._finish(user, dataset, options, roles, panel, profile)

    def _finish(
        self,
        user: User,
        dataset: Dataset,
        options: ReadOptions,
        roles: ColumnRoles,
        panel: pd.DataFrame,
        profile: Profile,
    ) -> Dataset:
        dataset_id = dataset.dataset_id

        def finish(draft: Dataset) -> Dataset:
            if draft.status is DatasetStatus.READY:  # another tab was quicker
                return self._as_kept(draft, options, roles)
            return replace(
                draft,
                status=DatasetStatus.READY,
                options_json=options.model_dump_json(),
                roles_json=roles.model_dump_json(),
                profile_json=profile.model_dump_json(),
                row_count=profile.n_rows,
                series_count=profile.n_series,
                panel_folder=mine.panel_folder,
            )

        mine = replace(dataset, panel_folder=self._new_id())
        kept = None
        try:
            self._write_panel(mine, panel)
            kept = self._change(user, dataset_id, finish)
        except NotFound:
            self._files.delete_all(_folder(mine))
            raise
        finally:
            if kept is None or kept.panel_folder != mine.panel_folder:
                self._files.delete_all(_parent(mine.panel_key))
        logger.info("Dataset %s kept: %d rows, %d series", dataset_id, profile.n_rows, profile.n_series)
        return kept

    def _as_kept(self, dataset: Dataset, options: ReadOptions, roles: ColumnRoles) -> Dataset:
        """A READY dataset, when it is kept just so."""
        if (self.options(dataset), self.roles(dataset)) != (options, roles):
            raise _confirmed(dataset)
        return dataset

    def _write_panel(self, dataset: Dataset, panel: pd.DataFrame) -> None:
        with tempfile.TemporaryFile() as file:
            panel.to_parquet(file, index=False, row_group_size=ROWS_PER_GROUP, compression="zstd")
            file.seek(0)
            self._files.write(dataset.panel_key, cast(BinaryIO, file))

    def _change(self, user: User, dataset_id: DatasetId, change: Callable[[Dataset], Dataset]) -> Dataset:
        """Apply a change over the newest version; a lost race is run again while the change stays legal."""
        for _ in range(_RACES):
            dataset = self.get(user, dataset_id)
            changed = change(dataset)
            if changed == dataset:
                return dataset
            try:
                return self._records.save(replace(changed, updated_at=self._clock.now()))
            except StaleDataset:
                continue
        raise StaleDataset(dataset_id=dataset_id, version=dataset.version)

    def revise(self, user: User, dataset_id: DatasetId) -> Dataset:
        """A new draft of the same file, with the same options and roles, to be changed and kept for itself."""
        dataset = self.get(user, dataset_id)
        now = self._clock.now()
        draft = replace(
            dataset,
            dataset_id=DatasetId(self._new_id()),
            owner=user.name,
            status=DatasetStatus.DRAFT,
            created_at=now,
            updated_at=now,
            uploaded_at=dataset.uploaded_at or dataset.created_at,
            profile_json="",
            draft_spec_json="",
            row_count=0,
            series_count=0,
            panel_folder="",
            version=0,
        )
        with self._raw(dataset).path.open("rb") as stream:
            self._files.write(draft.raw_key, stream)
        self._records.put(draft)
        return draft

    def panel(self, user: User, dataset_id: DatasetId, *, unique_ids: Iterable[str] | None = None) -> pd.DataFrame:
        """The kept panel, or only some of its series, read without the others.

        Raises:
            NotFound: the dataset is not kept yet, not there, or someone else's.
        """
        path = self._panel_path(self.get(user, dataset_id))
        filters = None if unique_ids is None else [(ID, "in", list(unique_ids))]
        return cast(pd.DataFrame, pq.read_table(path, filters=filters).to_pandas())

    def _panel_path(self, dataset: Dataset) -> Path:
        try:
            if dataset.status is DatasetStatus.READY:
                return self._files.local_path(dataset.panel_key)
        except FileNotFoundError as exc:
            raise NotFound("panel of dataset", dataset.dataset_id) from exc
        raise NotFound("panel of dataset", dataset.dataset_id)

    def _raw(self, dataset: Dataset) -> RawFile:
        try:
            return RawFile(self._files.local_path(dataset.raw_key))
        except FileNotFoundError as exc:
            raise NotFound("file of dataset", dataset.dataset_id) from exc


def _confirmed(dataset: Dataset) -> InvalidInput:
    return InvalidInput(
        f"The columns of {dataset.name!r} are confirmed, and jobs may rely on them.",
        remedy="Choose “Change columns” to work on a copy.",
    )


def _folder(dataset: Dataset) -> str:
    return _parent(dataset.raw_key)


def _parent(key: str) -> str:
    return key.rpartition("/")[0]
