"""What the services need from the outside, as protocols whose docstrings are contracts.

One contract suite per port (``tests/contract``) holds every adapter to them. Adapters translate their
technology's errors into ``Unavailable`` ones with ``raise … from``; nothing else escapes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Protocol

import pandas as pd
import pyarrow as pa

from services.domain.compute import ComputePlan, Size
from services.domain.dataset import Dataset
from services.domain.failure import Cause
from services.domain.job import (
    ACTIVE,
    DatasetId,
    Job,
    JobEvent,
    JobId,
    JobStatus,
    MlflowRunId,
    Outcome,
    Progress,
    RunId,
)
from services.domain.login import Login
from services.domain.stage import StageStart
from services.domain.table import SeriesColumns, TableFacts, TableName, TableTotals, TableVersion
from training.spec import ForecastSpec

Plan = Callable[[ForecastSpec, Dataset, Size | None, Sequence[Cause]], ComputePlan]
"""The machines for an attempt: of the size a user chose or of the app's choice, after earlier ones ended so. Pure."""


class Clock(Protocol):
    """The time of day, so that tests can set it."""

    def now(self) -> datetime:
        """The current time, aware UTC."""
        ...


class Groups(Protocol):
    """Who belongs to which group of the workspace."""

    def is_member(self, user: str, group: str, *, token: str | None) -> bool:
        """Whether a person belongs to a group, directly or through groups inside it.

        Args:
            user: in the form of ``user_name``.
            group: by its exact name.
            token: the person's own, to ask in their name; without it the app asks in its own.

        Raises:
            DirectoryUnavailable: it can't be told now, or the token is somebody else's.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs a list holds; empty collections mean no restriction.

    Attributes:
        owner: only this user's; ``None`` for everybody's.
        text: part of the job's or the dataset's name, any case.
    """

    owner: str | None = None
    statuses: frozenset[JobStatus] = frozenset()
    dataset_id: DatasetId | None = None
    text: str = ""
    created_from: datetime | None = None
    created_to: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """One page of a list, newest first.

    Attributes:
        total: jobs that the filter matches, on all pages.
    """

    jobs: tuple[Job, ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one person's jobs come to.

    Attributes:
        counts: how many have each status; every status is a key.
        run_time: of all their attempts (``Attempt.run_time``).
    """

    owner: str
    counts: Mapping[JobStatus, int]
    run_time: timedelta

    @property
    def n_jobs(self) -> int:
        return sum(self.counts.values())

    @property
    def n_active(self) -> int:
        return sum(self.counts[status] for status in ACTIVE)


class JobStore(Protocol):
    """Jobs and their events, durable. Safe under threads and several processes."""

    def add(self, job: Job, event: JobEvent) -> Job:
        """Keep a new job (version 0) and its first event, both or neither.

        Where the owner already has a job with the same non-empty ``request_id``, nothing is written and that
        job is returned.
        """
        ...

    def save(self, job: Job, events: Sequence[JobEvent] = ()) -> Job:
        """Write a changed job over the version it was read at, and append events, all or nothing.

        Returns the job with its new version.

        Raises:
            StaleJob: the row has another version, or is gone; nothing was written.
        """
        ...

    def save_seen(self, jobs: Sequence[Job]) -> tuple[Job, ...]:
        """Write what was seen of active jobs, each over the version it was read at, without events.

        In one statement, or as few as take hundreds of jobs. Each is there once and differs from what was read in
        nothing but its step, its progress, its attempts and its times. One whose row has another version, or is gone,
        is not written and hides no other.

        Returns those that were written, with their new versions, in the order given.
        """
        ...

    def get(self, job_id: JobId) -> Job | None:
        """The job, or ``None``."""
        ...

    def find(self, where: JobFilter, *, limit: int = 50, offset: int = 0) -> JobPage:
        """Jobs by filter, newest first, ties broken by id."""
        ...

    def counts(self, owner: str | None = None) -> Mapping[JobStatus, int]:
        """How many jobs have each status; every status is a key."""
        ...

    def usage(self, where: JobFilter, now: datetime) -> tuple[Usage, ...]:
        """What the jobs that the filter matches come to, by owner and in the order of their names, in one statement.

        Args:
            where: owners without such a job are left out.
            now: until when attempts that go on are counted.
        """
        ...

    def active(self) -> tuple[Job, ...]:
        """Every job that is SUBMITTING, RUNNING or CANCELLING, oldest first, in one statement."""
        ...

    def events(self, job_id: JobId) -> tuple[JobEvent, ...]:
        """A job's events in the order they were written; also of a deleted job."""
        ...

    def delete(self, job: Job, event: JobEvent) -> None:
        """Remove the job at the version it was read; its events stay, with this one appended.

        Raises:
            StaleJob: the row has another version, or is gone.
        """
        ...

    def known(self, job_ids: Collection[JobId]) -> frozenset[JobId]:
        """Those of the ids that are a job's, in one statement."""
        ...

    def tidy(self, before: datetime) -> None:
        """Remove what deletions that were cut short before a moment have left; nobody sees it, no event is lost."""
        ...


class DatasetStore(Protocol):
    """Records of uploaded datasets, drafts included. Safe under threads and several processes."""

    def put(self, dataset: Dataset) -> None:
        """Insert a new record. One with the same id is replaced unasked: changes go through ``save``."""
        ...

    def save(self, dataset: Dataset) -> Dataset:
        """Write a changed record over the version it was read at; returns it with its new version.

        Raises:
            StaleDataset: the record has another version, or is gone; nothing was written.
        """
        ...

    def get(self, dataset_id: DatasetId) -> Dataset | None:
        """The record, or ``None``."""
        ...

    def list(self, owner: str, *, limit: int = 50) -> tuple[Dataset, ...]:
        """The owner's newest records, newest first, ties broken by id."""
        ...

    def drafts_before(self, moment: datetime) -> tuple[Dataset, ...]:
        """Everybody's drafts that were last changed before a moment, oldest first."""
        ...

    def delete(self, dataset: Dataset) -> None:
        """Remove the record at the version it was read.

        Raises:
            StaleDataset: the record has another version, or is gone.
        """
        ...

    def tidy(self, before: datetime) -> None:
        """Remove what deletions that were cut short before a moment have left; nobody sees it."""
        ...


class TableSource(Protocol):
    """Tables of Unity Catalog, read with the rights of the person whose login comes with each call.

    Nothing is shared between two logins and nothing of one is kept. Every method raises:

    - ``LoginRefused``: the login has run out, or lacks a scope;
    - ``TableRefused``: the person may not, or there is no such thing; the message names the missing grant;
    - ``TablesUnavailable``: no answer in time, as from a warehouse that is starting.
    """

    def catalogs(self, login: Login) -> tuple[str, ...]:
        """Names of the catalogs the person may use, sorted."""
        ...

    def schemas(self, login: Login, catalog: str) -> tuple[str, ...]:
        """Names of a catalog's schemas that the person may use, sorted."""
        ...

    def tables(self, login: Login, catalog: str, schema: str) -> tuple[str, ...]:
        """Names of a schema's tables and views that the person may read, sorted."""
        ...

    def describe(self, login: Login, name: TableName) -> TableFacts:
        """What the catalog knows of a table, its columns in their order."""
        ...

    def count(self, login: Login, table: TableFacts) -> int | None:
        """How many rows it has; ``None`` where only reading all of them would tell."""
        ...

    def version(self, login: Login, table: TableFacts) -> TableVersion | None:
        """Its latest version; ``None`` where it has none, or the person may read it but not ask for it."""
        ...

    def rows(
        self,
        login: Login,
        table: TableFacts,
        columns: Sequence[str],
        *,
        version: TableVersion | None = None,
        limit: int,
    ) -> Generator[pa.Table, None, None]:
        """The first ``limit`` rows in no order, in parts of bearable size; at least one part, which may be empty.

        Moments (TIMESTAMP) are given in UTC, without a zone. A connection is held until the generator is closed.
        """
        ...

    def totals(
        self, login: Login, table: TableFacts, series: SeriesColumns, *, version: TableVersion | None
    ) -> TableTotals:
        """All of its series in numbers, counted where it is."""
        ...

    def whole_series(
        self,
        login: Login,
        table: TableFacts,
        columns: Sequence[str],
        series: SeriesColumns,
        *,
        version: TableVersion | None,
        n_series: int,
    ) -> pa.Table:
        """All rows of some series: the same ones each time, and not the first by name."""
        ...


class FileStore(Protocol):
    """Files by key; keys are ours (ids and fixed names), never a user's words."""

    def write(self, key: str, source: BinaryIO) -> int:
        """Store a stream whole or not at all, replacing what was there; returns its size in bytes."""
        ...

    def local_path(self, key: str) -> Path:
        """A path on this machine where the file can be read; remote stores download and cache it.

        Raises:
            FileNotFoundError: there is none.
        """
        ...

    def uri(self, key: str) -> str:
        """How a training run reaches the file: a path on its machine."""
        ...

    def exists(self, key: str) -> bool:
        """Whether the file is there."""
        ...

    def delete_all(self, prefix: str) -> None:
        """Remove every file whose key starts with ``prefix/``; nothing happens when there are none."""
        ...

    def folders(self, prefix: str) -> tuple[str, ...]:
        """The names of the folders directly below ``prefix/``, in order; an empty one may be among them."""
        ...

    def written_at(self, key: str) -> datetime | None:
        """When the file was last written, aware UTC; ``None`` when there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TableInput:
    """A table that a run reads by itself.

    Attributes:
        name: full name, with backticks where SQL wants them.
        version: that is read, whatever was written since.
        date_format: of its time column, where that is text.
        day_first: how 01/02/2024 is read there where no format is given and the values leave it open.
    """

    name: str
    version: int
    date_format: str | None = None
    day_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What an executor needs to run a job once.

    Attributes:
        token: one token, one run, however often it is submitted (at most 64 characters).
        panel_uri, spec_uri, checkpoint_uri: where the run reads and keeps its files.
        timeout_s: the run is ended after this long.
        as_of: day the data was taken, for every attempt the same; a period that holds it is not over.
        compute: the machines planned for it; ``None`` where there is nothing to choose.
        table: read in place of the panel; ``None`` where the panel holds everything.
    """

    token: str
    job_id: JobId
    owner: str
    job_name: str
    panel_uri: str
    spec_uri: str
    checkpoint_uri: str
    mlflow_run_id: MlflowRunId
    timeout_s: int
    as_of: date
    compute: ComputePlan | None = None
    table: TableInput | None = None

    @property
    def data_arguments(self) -> tuple[str, ...]:
        """What tells ``training/main.py`` where the data is."""
        if self.table is None:
            return "--panel", self.panel_uri
        table = self.table
        date_format = () if table.date_format is None else ("--date-format", table.date_format)
        day_first = ("--day-first",) if table.day_first else ()
        return "--table", table.name, "--table-version", str(table.version), *date_format, *day_first


class RunState(StrEnum):
    """What an executor can say of a run."""

    QUEUED = "queued"  # accepted, waiting for a place
    STARTING = "starting"  # a machine or process is being made ready
    RUNNING = "running"  # our code computes
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"  # the executor has never heard of it, or has forgotten it

    @property
    def is_over(self) -> bool:
        """Whether nothing of the run is alive any more."""
        return self in {RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED, RunState.UNKNOWN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A run as an executor sees it.

    Attributes:
        detail: for a person: "waiting for 2 runs before it", "process ended with signal 9".
        cause: for FAILED, what the executor knows; the run's own typed error says more.
        started_at: when computing began, aware UTC.
        ended_at: when it ended, aware UTC.
        page_url: the run's page elsewhere, if it has one.
        stages: what it has gone through, as far as the executor can tell.
    """

    run_id: RunId
    state: RunState
    detail: str = ""
    cause: Cause | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    page_url: str = ""
    stages: tuple[StageStart, ...] = ()


class Executor(Protocol):
    """A place where training runs. Runs go on without us and are found again by their token."""

    def submit(self, submission: Submission) -> RunId:
        """Start a run, or return the one that this token already made, even from a crashed app.

        Raises:
            ExecutorUnavailable: it is unknown whether a run exists; ask again with the same token.
            SubmissionRefused: none exists, and asking again is in vain until somebody changes something.
        """
        ...

    def find(self, token: str, *, since: datetime | None = None) -> RunId | None:
        """The run that this token made, ended or not; ``None`` when it made none.

        Args:
            token: of the attempt.
            since: when the attempt began; spares an executor that has to search the look at older runs.

        Raises:
            ExecutorUnavailable: it can't be told now.
        """
        ...

    def observe(self, run_ids: Collection[RunId]) -> Mapping[RunId, Observation]:
        """What is true of each run now. A run that can't be looked at now is left out, and hides no other.

        Raises:
            ExecutorUnavailable: none of them can be looked at.
        """
        ...

    def cancel(self, run_id: RunId) -> None:
        """Ask the run and everything it started to end; returns at once. Idempotent, harmless after the end."""
        ...

    def log_tail(self, run_id: RunId, *, n_lines: int = 200) -> str:
        """The newest lines the run printed; empty before it printed any."""
        ...

    def forget(self, run_id: RunId) -> None:
        """Remove what is kept of an ended run; harmless when there is nothing.

        Raises:
            ExecutorUnavailable: it has not ended, or can't be removed now; nothing is removed.
        """
        ...

    def alive(self) -> Mapping[str, RunId]:
        """Every run that has not ended, by its token, whoever submitted it here.

        Raises:
            ExecutorUnavailable: they can't be listed now.
        """
        ...

    def tokens(self) -> tuple[str, ...]:
        """The tokens of all runs of which something is kept, but for older ones that are forgotten without us.

        Raises:
            ExecutorUnavailable: they can't be listed now.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What a training run wrote about itself in MLflow.

    Attributes:
        failure_json: a ``TrainingFailure`` as JSON; empty when it wrote none.
        outcome: once it is known.
    """

    progress: Progress
    failure_json: str = ""
    outcome: Outcome | None = None


class RunTracker(Protocol):
    """The MLflow runs behind attempts: made by the app, written by training, read in bulk."""

    def open_run(self, *, job_id: JobId, attempt: int, owner: str, name: str) -> MlflowRunId:
        """Make the run of an attempt, or return the one already made for it.

        Raises:
            TrackingUnavailable: MLflow does not answer.
        """
        ...

    def report(self, runs: Collection[MlflowRunId]) -> Mapping[MlflowRunId, RunReport]:
        """What each run wrote so far, in one request; runs MLflow does not know are left out.

        Raises:
            TrackingUnavailable: MLflow does not answer.
        """
        ...

    def close_run(self, run_id: MlflowRunId, *, status: str) -> None:
        """Mark a run that could not do so itself as FAILED, KILLED or FINISHED; harmless when it already ended."""
        ...

    def open_runs(self) -> Mapping[MlflowRunId, tuple[JobId, int]]:
        """Every run that nobody has ended yet, with its job and the number of the attempt.

        Raises:
            TrackingUnavailable: MLflow does not answer.
        """
        ...

    def delete_run(self, run_id: MlflowRunId) -> None:
        """Remove a run and hide its artifacts; harmless when there is none."""
        ...

    def delete_runs(self, job_id: JobId) -> None:
        """The same for every run of a job, also one that the job never got to know."""
        ...


class ResultStore(Protocol):
    """Artifacts of finished runs. Finished runs do not change, so adapters may cache them."""

    def frame(
        self,
        run_id: MlflowRunId,
        artifact: str,
        *,
        unique_ids: Iterable[str] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pd.DataFrame | None:
        """A parquet artifact, or only the rows of some series; ``None`` when the run has no such artifact.

        Raises:
            TrackingUnavailable: MLflow does not answer.
        """
        ...

    def document(self, run_id: MlflowRunId, artifact: str) -> object | None:
        """A JSON artifact, parsed; ``None`` when the run has no such artifact."""
        ...

    def file(self, run_id: MlflowRunId, artifact: str) -> Path | None:
        """An artifact as a file on this machine; ``None`` when the run has no such artifact."""
        ...


Probe = Callable[[], str]
"""Tries one thing that the installation depends on, the way the app uses it, and says in a sentence what it found.

Raises ``ForecastAppError`` where it fails: ``SetupProblem`` with what mends it, or ``Unavailable``.
"""
