"""What people do with jobs. Every call says on whose behalf, and is authorised here whatever a page showed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from services.domain.access import User
from services.domain.compute import ComputeOffer, Size
from services.domain.dataset import Dataset, DatasetStatus
from services.domain.errors import (
    IllegalTransition,
    InvalidInput,
    LimitReached,
    NotFound,
    StaleJob,
    TableRefused,
    Unavailable,
)
from services.domain.job import ACTIVE, DatasetId, EventKind, Job, JobEvent, JobId, JobStatus
from services.domain.login import Login
from services.left_overs import LeftOvers
from services.ports import Clock, DatasetStore, Executor, JobFilter, JobPage, JobStore, Plan, Usage
from services.shared_reads import Answers
from training.spec import ColumnRoles, ForecastSpec

logger = logging.getLogger(__name__)

MAX_NAME: Final = 200
_RACES: Final = 10  # lost races in a row before the user is told; the app itself writes a job every few seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many jobs may be active at once.

    Starts of one app process are counted one after the other. Two processes, as there are for a moment when a new
    version is deployed, can each let one through in the same instant; from then on the count is right again.
    """

    per_user: int
    overall: int


RequireReadable = Callable[[User, Dataset, Login | None], None]
"""Raises ``TableRefused`` where a run would read a table that the user may not read."""


def refuse_tables(user: User, dataset: Dataset, login: Login | None) -> None:
    """Where nothing can tell whether a user may read a table, nobody may."""
    del user, login
    if dataset.is_in_place:
        raise TableRefused(
            f"The run would read {dataset.name} on a cluster, which this app can't do as it is set up now.",
            remedy="Ask whoever runs it for DATABRICKS_WAREHOUSE_ID and ENABLE_CLUSTER_DELEGATION.",
        )


class JobService:
    """Creating, starting, stopping and reading jobs. Another user's job reads as one that is not there.

    Args:
        wake: tells the reconciler that there is something to do.
        notice: tells it whether somebody sees an active job, which another process may have left.
        new_id: makes the id of a new job.
        plan: the machines for a job; none where training runs on this machine.
        logs: kept for all who look, where reading a log costs calls; none where it is a file.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        datasets: DatasetStore,
        executor: Executor,
        left_overs: LeftOvers,
        clock: Clock,
        limits: Limits,
        wake: Callable[[], None],
        notice: Callable[[bool], None],
        new_id: Callable[[], str],
        plan: Plan | None = None,
        require_readable: RequireReadable = refuse_tables,
        logs: Answers | None = None,
    ) -> None:
        self._require_readable = require_readable
        self._jobs = jobs
        self._datasets = datasets
        self._executor = executor
        self._left_overs = left_overs
        self._clock = clock
        self._limits = limits
        self._wake = wake
        self._notice = notice
        self._new_id = new_id
        self._plan = plan
        self._logs = logs
        self._starting = threading.Lock()  # held from counting what is active to saving one more

    def create(
        self,
        user: User,
        *,
        dataset_id: DatasetId,
        spec: ForecastSpec,
        name: str = "",
        request_id: str = "",
        size: Size | None = None,
    ) -> Job:
        """A PENDING job; the same one again for the same non-empty ``request_id``.

        Args:
            user: who will own it.
            dataset_id: what it forecasts.
            spec: how.
            name: made of the dataset's where empty.
            request_id: of the form it is made by.
            size: of its machines; ``None`` leaves it to the app. Without effect where there is nothing to choose.

        Raises:
            NotFound: no such dataset, or not the user's.
            InvalidInput: the dataset is still a draft, or the spec is for other columns.
            TableRefused: the run would read a table by the right of somebody else, for the user to see.
        """
        dataset = self._datasets.get(dataset_id)
        if dataset is None or not user.may_touch(dataset.owner):
            raise NotFound("dataset", dataset_id)
        if dataset.is_in_place and user.name != dataset.owner:
            raise TableRefused(
                f"A run reads {dataset.name} by the right of {dataset.owner}, so only {dataset.owner} can make a job of"
                " it.",
                remedy="Use the table yourself, and make a job of your own.",
            )
        _require_fit(dataset, spec)
        title = " ".join(name.split()) or f"{dataset.name}, next {spec.frequency.plural(spec.horizon)}"
        if len(title) > MAX_NAME:
            raise InvalidInput(
                f"The name of the job has {len(title)} characters.",
                remedy=f"Use at most {MAX_NAME}.",
                field="name",
            )
        return self._add(user, dataset=dataset, spec=spec, name=title, request_id=request_id, size=size)

    def compute_offer(self, user: User, dataset: Dataset, spec: ForecastSpec) -> ComputeOffer | None:
        """What a spec over a dataset can run on; ``None`` where that is this machine. Asks nothing of any store.

        Raises:
            NotFound: the dataset is not the user's.
        """
        if not user.may_touch(dataset.owner):
            raise NotFound("dataset", dataset.dataset_id)
        if self._plan is None:
            return None
        usual = self._plan(spec, dataset, None, ())
        sizes = () if usual.size is None else tuple(Size)
        return ComputeOffer(usual=usual, by_size={size: self._plan(spec, dataset, size, ()) for size in sizes})

    def choose_size(self, user: User, job_id: JobId, size: Size | None) -> Job:
        """Give a PENDING job machines of another size; ``None`` leaves it to the app.

        The size it has changes nothing, whatever its status: a browser sends that again with the first click after
        the start.

        Raises:
            IllegalTransition: the job was started or cancelled.
        """

        def change(job: Job) -> tuple[Job, JobEvent] | None:
            if job.size is size:
                return None
            resized = job.resized(size, self._clock.now())
            return resized, self._event(resized, EventKind.SIZE_CHOSEN, user, f"Size {size}" if size else "By the app")

        return self._change(user, job_id, change)

    def clone(self, user: User, job_id: JobId) -> Job:
        """A new PENDING job of the user's with the configuration of another.

        Raises:
            NotFound: the job or its dataset is gone, or not the user's.
            TableRefused: as for ``create``.
        """
        job = self._authorised(user, job_id)
        return self.create(
            user,
            dataset_id=job.dataset_id,
            spec=ForecastSpec.from_json(job.spec_json),
            name=f"{job.name[: MAX_NAME - 7]} (copy)",
            size=job.size,
        )

    def start(self, user: User, job_id: JobId, *, login: Login | None = None) -> Job:
        """Send a PENDING job off. Pressed again it changes nothing and returns the job.

        ``login`` is needed where the run reads a table by the user's right.

        Raises:
            LimitReached: too many jobs are active.
            TableRefused: the run would read a table that the user may not read.
            IllegalTransition: the job ended badly or is being cancelled.
        """

        def change(job: Job) -> tuple[Job, JobEvent] | None:
            if job.status in {JobStatus.SUBMITTING, JobStatus.RUNNING, JobStatus.COMPLETED}:
                return None
            started = job.start(self._clock.now())
            self._require_room(job.owner)
            return started, self._event(started, EventKind.START_REQUESTED, user)

        job = self._authorised(user, job_id)
        if job.can_start:  # once it can't it never can again, so an answer that is kept hides nothing
            self._require_data(user, job, login)
        with self._starting:
            return self._change(user, job_id, change)

    def retry(self, user: User, job_id: JobId, *, login: Login | None = None) -> Job:
        """Send a FAILED or CANCELLED job off again; it goes on from its finished work units.

        Pressed twice it makes one new attempt. ``login`` as for ``start``.

        Raises:
            LimitReached: too many jobs are active.
            TableRefused: the run would read a table that the user may not read.
            IllegalTransition: the job never ran, completed, or is being cancelled.
        """

        def change(job: Job) -> tuple[Job, JobEvent] | None:
            if job.status in {JobStatus.SUBMITTING, JobStatus.RUNNING} and len(job.attempts) > 1:
                return None
            retried = job.retry(self._clock.now())
            self._require_room(job.owner)
            return retried, self._event(retried, EventKind.RETRIED, user)

        self._require_data(user, self._authorised(user, job_id), login)
        with self._starting:
            return self._change(user, job_id, change)

    def cancel(self, user: User, job_id: JobId, reason: str = "") -> Job:
        """Ask a job to end: a PENDING one is CANCELLED at once, the others once their run is gone.

        Raises:
            InvalidInput: it is somebody else's, and there is no reason.
            IllegalTransition: the job has already ended.
        """

        def change(job: Job) -> tuple[Job, JobEvent] | None:
            _require_reason(user, job, reason)
            if job.status is JobStatus.CANCELLING:
                return None
            asked = job.request_cancel(self._clock.now())
            kind = EventKind.CANCELLED if asked.status is JobStatus.CANCELLED else EventKind.CANCEL_REQUESTED
            return asked, self._event(asked, kind, user, reason)

        return self._change(user, job_id, change)

    def delete(self, user: User, job_id: JobId, reason: str = "") -> None:
        """Remove a job that is not active, then what its runs left behind; its audit trail stays.

        Left-overs that can't be removed now are logged, not reported: the job is gone all the same.

        Raises:
            InvalidInput: it is somebody else's, and there is no reason.
            IllegalTransition: the job is active.
        """
        for _ in range(_RACES):
            job = self._authorised(user, job_id)
            _require_reason(user, job, reason)
            if not job.can_delete:
                raise IllegalTransition(job_id=job_id, status=job.status, action="be deleted")
            try:
                self._jobs.delete(job, self._event(job, EventKind.DELETED, user, reason))
            except StaleJob:
                continue
            logger.info("Job %s deleted by %s", job_id, user.name)
            self._left_overs.remove(job)
            return
        raise StaleJob(job_id=job_id, version=job.version)

    def get(self, user: User, job_id: JobId) -> Job:
        """The job.

        Raises:
            NotFound: there is none, or it is not the user's.
        """
        return self._authorised(user, job_id)

    def find(self, user: User, where: JobFilter | None = None, *, limit: int = 50, offset: int = 0) -> JobPage:
        """Jobs by filter, newest first; of people who are no admins only their own."""
        where = where or JobFilter()
        if not user.is_admin:
            where = replace(where, owner=user.name)
        page = self._jobs.find(where, limit=limit, offset=offset)
        self._notice(any(job.is_active for job in page.jobs))
        return page

    def usage(self, user: User, where: JobFilter | None = None) -> tuple[Usage, ...]:
        """What the jobs that a filter matches come to, by owner; for admins.

        Raises:
            NotAllowed: the user is none.
        """
        user.require_admin("see what everybody uses")
        usage = self._jobs.usage(where or JobFilter(), self._clock.now())
        self._notice(any(of_one.n_active for of_one in usage))
        return usage

    def counts(self, user: User) -> Mapping[JobStatus, int]:
        """How many of the user's own jobs have each status."""
        counts = self._jobs.counts(user.name)
        self._notice(any(counts[status] for status in ACTIVE))
        return counts

    def events(self, user: User, job_id: JobId) -> tuple[JobEvent, ...]:
        """The job's timeline, oldest first."""
        self._authorised(user, job_id)
        return self._jobs.events(job_id)

    def deletion(self, user: User, job_id: JobId) -> JobEvent | None:
        """Who deleted a job of the user's, when and why; ``None`` for one that is there or was not the user's."""
        events = self._jobs.events(job_id)
        if not events or events[-1].kind is not EventKind.DELETED or not user.may_touch(events[0].actor):
            return None  # who created a job is its owner
        return events[-1]

    def log_tail(self, user: User, job_id: JobId, n_lines: int = 200) -> str:
        """The newest lines printed by the latest attempt that ran; empty before any did."""
        job = self._authorised(user, job_id)
        run_id = next((attempt.run_id for attempt in reversed(job.attempts) if attempt.run_id is not None), None)
        if run_id is None:
            return ""
        ask = partial(self._executor.log_tail, run_id, n_lines=n_lines)
        if self._logs is None:
            return ask()
        return self._logs.shared((run_id, n_lines, job.is_active), ask)  # asked anew once it has ended

    def _authorised(self, user: User, job_id: JobId) -> Job:
        job = self._jobs.get(job_id)
        if job is None or not user.may_touch(job.owner):
            raise NotFound("job", job_id)
        self._notice(job.is_active)
        return job

    def _add(
        self, user: User, *, dataset: Dataset, spec: ForecastSpec, name: str, request_id: str, size: Size | None
    ) -> Job:
        now = self._clock.now()
        job = Job(
            job_id=JobId(self._new_id()),
            owner=user.name,
            name=name,
            dataset_id=dataset.dataset_id,
            dataset_name=dataset.name,
            spec_json=spec.model_copy(update={"dataset_id": dataset.dataset_id}).to_json(),
            status=JobStatus.PENDING,
            version=0,
            created_at=now,
            updated_at=now,
            request_id=request_id,
            size=size,
        )
        added = self._jobs.add(job, self._event(job, EventKind.CREATED, user))
        if added.job_id == job.job_id:
            logger.info("Job %s created by %s", job.job_id, user.name)
        return added

    def _change(self, user: User, job_id: JobId, change: Callable[[Job], tuple[Job, JobEvent] | None]) -> Job:
        """Apply a change over the newest version; a lost race is run again while the change stays legal.

        ``change`` gives ``None`` where the job already is as asked for.
        """
        for _ in range(_RACES):
            job = self._authorised(user, job_id)
            changed = change(job)
            if changed is None:
                return job
            try:
                saved = self._jobs.save(changed[0], (changed[1],))
            except StaleJob:
                continue
            except Unavailable:
                self._wake()  # an answer may have been lost, not the write
                raise
            logger.info("Job %s: %s by %s", job_id, changed[1].kind, user.name)
            self._wake()
            return saved
        raise StaleJob(job_id=job_id, version=job.version)

    def _require_data(self, user: User, job: Job, login: Login | None) -> None:
        """Refuse a run of data that the user may not read any more; data that is gone is the run's own failure."""
        dataset = self._datasets.get(job.dataset_id)
        if dataset is not None:
            self._require_readable(user, dataset, login)

    def _require_room(self, owner: str) -> None:
        active = self._jobs.active()  # never a kept answer, as counts may be
        for scope, n_active, limit in (
            (owner, sum(job.owner == owner for job in active), self._limits.per_user),
            ("This installation", len(active), self._limits.overall),
        ):
            if n_active >= limit:
                raise LimitReached(scope=scope, limit=limit)

    def _event(self, job: Job, kind: EventKind, user: User, detail: str = "") -> JobEvent:
        return JobEvent(
            job_id=job.job_id,
            at=self._clock.now(),
            kind=kind,
            actor=user.name,
            attempt=len(job.attempts),
            detail=" ".join(detail.split()),
        )


def _require_reason(user: User, job: Job, reason: str) -> None:
    """Whoever ends or removes what is somebody else's says why, and the owner reads it in the timeline."""
    if job.owner != user.name and not reason.strip():
        raise InvalidInput(
            f"This job is {job.owner}'s.", remedy="Say why you do this; they will read it.", field="reason"
        )


def _require_fit(dataset: Dataset, spec: ForecastSpec) -> None:
    """Refuse a spec that can't run on the dataset, as far as that can be told without reading it."""
    if dataset.status is not DatasetStatus.READY:
        raise InvalidInput(
            f"The dataset {dataset.name!r} is still a draft.", remedy="Finish it on the Upload screen first."
        )
    if not dataset.roles_json:
        return
    kept = ColumnRoles.model_validate_json(dataset.roles_json)
    asked = spec.roles
    for noun, has, wants in (
        ("time column", (kept.time,), (asked.time,)),
        ("target", (kept.target,), (asked.target,)),
        ("series columns", kept.series, asked.series),
    ):
        if has != wants:
            raise InvalidInput(
                f"The configuration is for the {noun} {_listed(wants)}, but the dataset has {_listed(has)}.",
                remedy="Choose the dataset it was made for, or configure anew.",
                field="roles",
            )
    unknown = {c.name for c in asked.covariates} - {c.name for c in kept.covariates}
    if unknown:
        raise InvalidInput(
            f"The dataset was kept without the covariates {_listed(tuple(sorted(unknown)))}.",
            remedy="Keep it again with them on the Upload screen, or leave them out.",
            field="roles",
        )


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
