"""The pages over working services in memory, driven through the shell as a browser would."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
from streamlit.testing.v1 import AppTest

from services import bootstrap
from services.adapters.files.local import LocalFileStore
from services.adapters.memory.stores import MemoryDatasetStore, MemoryJobStore
from services.bootstrap import Runtime
from services.datasets import DatasetService
from services.domain.access import LOCAL_USER
from services.domain.dataset import Dataset, DatasetStatus
from services.domain.failure import Cause
from services.domain.job import (
    DatasetId,
    EventKind,
    Job,
    JobEvent,
    JobId,
    JobStatus,
    MlflowRunId,
    Outcome,
    Progress,
    RunId,
)
from services.identity import Identity
from services.jobs import JobService, Limits
from services.left_overs import LeftOvers
from services.ports import Plan, Probe, RunState
from services.reconciler import Health
from services.results import ResultService
from services.self_check import SelfCheck
from services.settings import Settings
from services.tables import TableService
from tests.support.fakes import START, FakeClock, FakeTracker, ScriptedExecutor
from tests.support.results import ROLES, SERIES, FolderResults, spec, write_run
from tests.support.tables import MemoryTables
from training.panel import build_panel
from training.quality import profile_panel
from training.spec import ColumnRoles, ForecastSpec

PAGES = Path(__file__).resolve().parents[2] / "pages"


@dataclass
class StandingReconciler:
    """A reconciler that moves nothing and only says how it fares."""

    health: Health = field(default_factory=lambda: Health(last_success_at=START))

    def fails(self, error: str) -> None:
        """As after a tick that failed."""
        self.health = Health(last_success_at=START, failing_since=START, last_error=error)


@dataclass
class Stage:
    """Services in memory, with ways to bring jobs and datasets onto the screens."""

    folder: Path
    clock: FakeClock = field(default_factory=FakeClock)
    executor: ScriptedExecutor = field(default_factory=ScriptedExecutor)
    tracker: FakeTracker = field(default_factory=FakeTracker)
    reconciler: StandingReconciler = field(default_factory=StandingReconciler)
    jobs: MemoryJobStore = field(default_factory=MemoryJobStore)
    datasets: MemoryDatasetStore = field(default_factory=MemoryDatasetStore)
    probes: dict[str, Probe] = field(default_factory=dict)
    tables: MemoryTables = field(default_factory=MemoryTables)
    plan: Plan | None = None

    def __post_init__(self) -> None:
        self.files = LocalFileStore(self.folder / "files")
        self.results = FolderResults(self.folder / "artifacts")
        self.self_check = SelfCheck(self.probes, self.clock)
        ids = count(1)

        def new_id() -> str:
            return f"id{next(ids)}"

        left_overs = LeftOvers(jobs=self.jobs, files=self.files, executor=self.executor, tracker=self.tracker)
        service = JobService(
            jobs=self.jobs, datasets=self.datasets, executor=self.executor, left_overs=left_overs, clock=self.clock,
            limits=Limits(per_user=5, overall=10), wake=lambda: None, notice=lambda _: None, new_id=new_id,
            plan=self.plan,
        )  # fmt: skip
        self.runtime = bootstrap.install(
            Runtime(
                settings=Settings(),
                clock=self.clock,
                jobs=service,
                datasets=DatasetService(
                    files=self.files, records=self.datasets, clock=self.clock, max_upload_mb=10, new_id=new_id
                ),
                results=ResultService(jobs=service, results=self.results),
                reconciler=self.reconciler,
                self_check=self.self_check,
                is_store_well=lambda: True,
            )
        )

    def with_tables(
        self, *, max_rows: int = 1_000, reads_in_place: bool = False, is_behind_proxy: bool = False
    ) -> None:
        """Put the tables on the Upload screen."""
        tables = TableService(
            source=self.tables, datasets=self.runtime.datasets, clock=self.clock, max_rows=max_rows, max_mb=10,
            reads_in_place=reads_in_place,
        )  # fmt: skip
        identity = Identity(is_behind_proxy=is_behind_proxy)
        self.runtime = bootstrap.install(replace(self.runtime, tables=tables, identity=identity))

    def open(self, page: str = "", **query: str) -> AppTest:
        """A page as a new browser sees it, by its file's stem; Home without one."""
        app = AppTest.from_file(PAGES / "ui" / "shell.py", default_timeout=30)
        if page:
            app.run()
            app.switch_page(f"../{page}.py")
        for name, value in query.items():
            app.query_params[name] = value
        return app.run()

    def dataset(
        self, dataset_id: str = "d1", *, roles: ColumnRoles = ROLES, months: int = 60, name: str = "sales.csv"
    ) -> Dataset:
        """A kept dataset of three monthly series; numeric covariates are filled for six months ahead."""
        ds = pd.date_range("2019-01-01", periods=months + 6, freq="MS")
        table = pd.concat(
            pd.DataFrame(dict(zip(roles.series, series.split(" / "), strict=True)) | {
                roles.time: ds,
                roles.target: np.where(np.arange(months + 6) < months, 100.0 + np.arange(months + 6), np.nan),
                **{covariate.name: np.arange(months + 6, dtype=float) for covariate in roles.covariates},
            })
            for series in SERIES
        )  # fmt: skip
        panel = build_panel(table, roles)
        profile = profile_panel(panel, roles, as_of=self.clock.now().date())
        record = Dataset(
            dataset_id=DatasetId(dataset_id), owner=LOCAL_USER.name, name=name, source="file", suffix=".csv",
            size_bytes=1000, status=DatasetStatus.READY, created_at=self.clock.now(), updated_at=self.clock.now(),
            roles_json=roles.model_dump_json(), profile_json=profile.model_dump_json(), row_count=len(panel),
            series_count=len(SERIES),
        )  # fmt: skip
        path = self.folder / f"{dataset_id}.parquet"
        panel.to_parquet(path)
        with path.open("rb") as stream:
            self.files.write(record.panel_key, stream)
        self.datasets.put(record)
        return record

    def pending(
        self, job_id: str = "j1", *, name: str = "Revenue", owner: str = LOCAL_USER.name, of: ForecastSpec | None = None
    ) -> Job:
        """A job that was created and not started."""
        job = Job(
            job_id=JobId(job_id), owner=owner, name=name, dataset_id=DatasetId("d1"), dataset_name="sales.csv",
            spec_json=(of or spec()).to_json(), status=JobStatus.PENDING, version=0, created_at=self.clock.now(),
            updated_at=self.clock.now(),
        )  # fmt: skip
        return self.jobs.add(job, self._event(job, EventKind.CREATED, actor=owner))

    def running(self, job_id: str = "j1", *, percent: float = 40, **new: object) -> Job:
        """A job that computes."""
        step = "XGBoost: backtest 2 of 3"
        now, run_id = self.clock.now(), RunId(f"r-{job_id}")
        self.executor.set(run_id, RunState.RUNNING)
        job = self.pending(job_id, **new).start(now - timedelta(seconds=95))
        job = job.with_mlflow_run(MlflowRunId(f"run-{job_id}"), now).accepted(run_id, "Starting", now)
        job = job.observed(progress=Progress(percent=percent, step=step), step=step, started_at=now, now=now)
        return self.jobs.save(job, (self._event(job, EventKind.STARTED),))

    def failed(self, job_id: str = "j1", message: str = "Series 'a' has 2 rows.", **new: object) -> Job:
        """A job whose data was at fault."""
        job = self.running(job_id, **new).failed(Cause.DATA, message, self.clock.now())
        return self.jobs.save(job, (self._event(job, EventKind.FAILED, detail=message),))

    def completed(
        self, job_id: str = "j1", *, of: ForecastSpec | None = None, no_forecast: tuple[str, ...] = (), **new: object
    ) -> Job:
        """A job with results."""
        of = of or spec()
        job = self.running(job_id, of=of, **new)
        job = job.completed(Outcome(best_model="XGBoost", metric="wape", score=0.05), self.clock.now())
        write_run(self.results.root / f"run-{job_id}", of, failed=no_forecast)
        return self.jobs.save(job, (self._event(job, EventKind.COMPLETED),))

    def _event(self, job: Job, kind: EventKind, *, actor: str = "system", detail: str = "") -> JobEvent:
        return JobEvent(job_id=job.job_id, at=self.clock.now(), kind=kind, actor=actor, detail=detail)


def texts(app: AppTest) -> str:
    """Everything written on the page, as one text."""
    kinds = (app.title, app.subheader, app.markdown, app.caption, app.info, app.warning, app.error, app.success)
    return "\n".join(str(element.value) for kind in kinds for element in kind)
