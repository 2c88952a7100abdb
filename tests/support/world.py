"""The job machinery put together over stores and fakes, as bootstrap does over the real things."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count

from services.adapters.files.memory import MemoryFileStore
from services.adapters.memory.stores import MemoryDatasetStore, MemoryJobStore
from services.domain.access import User
from services.domain.dataset import Dataset, DatasetStatus
from services.domain.failure import RetryPolicy
from services.domain.job import DatasetId, Job, JobId
from services.jobs import JobService, Limits
from services.left_overs import LeftOvers
from services.lifecycle import Lifecycle
from services.ports import DatasetStore, Executor, JobStore, Plan
from services.reconciler import Reconciler
from services.shared_reads import Answers
from tests.support.fakes import START, FakeClock, FakeTracker, ScriptedExecutor
from training.spec import ColumnRoles, ForecastSpec

ANN = User(name="ann@example.com")
BOB = User(name="bob@example.com")
ADMIN = User(name="admin@example.com", is_admin=True)


def make_spec(**changes: object) -> ForecastSpec:
    """A spec that fits ``make_dataset``."""
    given = {"roles": ColumnRoles(time="month", target="sales", series=("shop",)), "freq": "MS", "horizon": 12}
    return ForecastSpec.model_validate(given | changes)


def make_dataset(owner: User = ANN, **changes: object) -> Dataset:
    """A kept dataset."""
    dataset = Dataset(
        dataset_id=DatasetId("d1"),
        owner=owner.name,
        name="sales.csv",
        source="file",
        suffix=".csv",
        size_bytes=1234,
        status=DatasetStatus.READY,
        created_at=START,
        updated_at=START,
        roles_json=make_spec().roles.model_dump_json(),
        row_count=100,
        series_count=2,
    )
    return replace(dataset, **changes)  # type: ignore[arg-type]


@dataclass
class World:
    """One app process. Give two of them the same stores to have two processes."""

    jobs: JobStore = field(default_factory=MemoryJobStore)
    datasets: DatasetStore = field(default_factory=MemoryDatasetStore)
    files: MemoryFileStore = field(default_factory=MemoryFileStore)
    executor: ScriptedExecutor = field(default_factory=ScriptedExecutor)
    tracker: FakeTracker = field(default_factory=FakeTracker)
    clock: FakeClock = field(default_factory=FakeClock)
    limits: Limits = field(default_factory=lambda: Limits(per_user=5, overall=20))
    policy: RetryPolicy = field(default_factory=lambda: RetryPolicy(max_retries=2, delay=timedelta(seconds=30)))
    other_executor: Executor | None = None
    plan: Plan | None = None
    logs: Answers | None = None
    wakes: int = 0

    def __post_init__(self) -> None:
        ids = count(1)
        dataset = make_dataset()
        if self.datasets.get(dataset.dataset_id) is None:
            self.datasets.put(dataset)
        self.files.write(dataset.panel_key, io.BytesIO(b"panel"))
        self.left_overs = LeftOvers(
            jobs=self.jobs,
            files=self.files,
            executor=self.other_executor or self.executor,
            tracker=self.tracker,
        )
        self.service = JobService(
            jobs=self.jobs,
            datasets=self.datasets,
            executor=self.other_executor or self.executor,
            left_overs=self.left_overs,
            clock=self.clock,
            limits=self.limits,
            wake=self._wake,
            notice=lambda is_active: self.reconciler.notice(is_active),
            new_id=lambda: f"job{next(ids)}",
            plan=self.plan,
            logs=self.logs,
        )
        self.lifecycle = Lifecycle(
            jobs=self.jobs,
            datasets=self.datasets,
            files=self.files,
            executor=self.other_executor or self.executor,
            tracker=self.tracker,
            clock=self.clock,
            policy=self.policy,
            execution_timeout=timedelta(hours=1),
            random_share=lambda: 0.0,
            plan=self.plan,
        )
        self.reconciler = Reconciler(
            jobs=self.jobs,
            executor=self.other_executor or self.executor,
            tracker=self.tracker,
            lifecycle=self.lifecycle,
            clock=self.clock,
            poll_s=5,
            before_sleep=self.left_overs.end_unwanted,
        )

    def _wake(self) -> None:
        self.wakes += 1

    def another_process(self) -> World:
        """A second app over the same stores, executor and MLflow."""
        return replace(self)

    def created(self, user: User = ANN, **spec: object) -> Job:
        """A PENDING job."""
        return self.service.create(user, dataset_id=DatasetId("d1"), spec=make_spec(**spec))

    def started(self, user: User = ANN) -> Job:
        """A job that waits to be sent."""
        return self.service.start(user, self.created(user).job_id)

    def running(self, user: User = ANN) -> Job:
        """A job with a run."""
        job = self.started(user)
        self.reconciler.tick()
        return self.now(job)

    def now(self, job: Job | JobId) -> Job:
        """The job as it is stored."""
        found = self.jobs.get(job.job_id if isinstance(job, Job) else job)
        assert found is not None
        return found
