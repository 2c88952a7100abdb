"""Lives of jobs over the test workspace, to be disturbed at each of their side effects."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from services.adapters.databricks.cluster import ClusterSettings
from services.adapters.databricks.executor import DatabricksExecutor, RunSettings
from services.adapters.databricks.package import Published
from services.adapters.databricks.workspace import Workspace
from services.adapters.delta.database import DeltaDatabase
from services.adapters.delta.datasets import DeltaDatasetStore
from services.adapters.delta.jobs import DeltaJobStore
from services.adapters.delta.tables import Tables
from services.adapters.delta.warehouse import Patience, Warehouse, connector
from services.adapters.files.volume import VolumeFileStore
from services.adapters.mlflow.connection import Connection
from services.adapters.mlflow.databricks import VolumeArtifacts
from services.adapters.mlflow.tracker import MlflowTracker
from services.adapters.system import SystemClock
from services.domain.errors import ForecastAppError
from services.domain.failure import RetryPolicy
from services.domain.job import EventKind, Job, JobEvent, JobId, JobStatus
from services.jobs import JobService, Limits
from services.left_overs import LeftOvers
from services.lifecycle import Lifecycle
from services.reconciler import Reconciler
from tests.support.workspace.delta import fresh_schema
from tests.support.workspace.doors import Doors, Fault, Gate
from tests.support.workspace.fixtures import PLAN
from tests.support.workspace.rest_workspace import RestWorkspace
from tests.support.workspace.runs import Run, Stage
from tests.support.workspace.sql_server import SqlWarehouse
from tests.support.world import ANN, make_dataset, make_spec

WAIT_S = 60.0
PATIENCE = Patience(request_s=10.0, statement_s=15.0, total_s=0.5, pause_s=0.0)  # a busy machine, a broken line
_TRAINING = """
import json, os, pathlib, signal, sys, time, urllib.request

def given(name):
    return sys.argv[sys.argv.index(name) + 1]

def tell(path, **body):
    url = os.environ["DATABRICKS_HOST"] + "/api/2.0/mlflow/runs/" + path
    head = {"Authorization": "Bearer " + os.environ["DATABRICKS_TOKEN"], "Content-Type": "application/json"}
    body["run_id"] = given("--mlflow-run-id")
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), head)).read()

what, folder = pathlib.Path(given("--panel")).read_text(errors="replace"), pathlib.Path(given("--checkpoints"))
is_first = not folder.exists()
folder.mkdir(parents=True, exist_ok=True)
if what == "goes on":
    time.sleep(600)
if what == "dies once" and is_first:
    os.kill(os.getpid(), signal.SIGKILL)
if what == "fails once" and is_first:
    sys.exit(1)
tell("set-tag", key="forecast.best_model", value="quick")
tell("set-tag", key="forecast.metric", value="wape")
tell("update", status="FINISHED")
"""


class _Mlflow(Connection):
    """MLflow through an app's door."""

    def __init__(self, url: str, experiment_name: str, artifacts: str) -> None:
        super().__init__(experiment_name=experiment_name)
        self._url = url
        self._artifacts = artifacts

    @property
    def tracking_uri(self) -> str:
        return self._url

    def _connect(self) -> tuple[object, str]:  # type: ignore[override]
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=self._url)
        return client, self._experiment(client, self._artifacts)


@dataclass
class Place:
    """What survives an app: the workspace, a schema, a folder and an experiment of one test's own."""

    rest: RestWorkspace
    warehouse: SqlWarehouse
    name: str
    cache: Path
    tables: Tables = field(init=False)

    @property
    def job_id(self) -> JobId:
        """Of the one job here; a workspace knows a token once."""
        return JobId(self.name)

    def __post_init__(self) -> None:
        self.tables = fresh_schema(self.warehouse)
        self.root = f"{self.rest.volume}/{self.name}"
        self.entry_point = f"{self.root}/code/main.py"
        main = self.rest.tree.path(self.entry_point)
        main.parent.mkdir(parents=True)
        main.write_text(_TRAINING)

    def runs(self) -> dict[str, list[Run]]:
        """The runs of this place by token."""
        found: dict[str, list[Run]] = {}
        for run in self.rest.runs.all():
            if f"[{self.name} " in run.request["run_name"]:
                found.setdefault(run.request["idempotency_token"], []).append(run)
        return found

    @contextmanager
    def app(self) -> Iterator[App]:
        """A new app process."""
        gate = Gate()
        with Doors(self.rest, self.warehouse, gate).open() as doors:
            app = App(self, doors, gate)
            yield app
            gate.shut()
            app.database.close()


class App:
    """One app process, its loop ticked by hand."""

    def __init__(self, place: Place, doors: Doors, gate: Gate) -> None:
        self.gate = gate
        self.database = DeltaDatabase(
            Warehouse(connector(doors.sql_arguments, PATIENCE), place=place.tables.place, patience=PATIENCE),
            place.tables,
        )
        self.jobs = DeltaJobStore(self.database)
        self.datasets = DeltaDatasetStore(self.database)
        workspace = Workspace(doors.config)
        self.files = VolumeFileStore(workspace, place.root, place.cache / "files")
        self.mlflow = _Mlflow(doors.url, f"/Shared/{place.name}", f"dbfs:{place.root}/mlflow")
        self.tracker = MlflowTracker(self.mlflow, VolumeArtifacts(workspace, self.mlflow, place.cache / "results"))
        self.executor = DatabricksExecutor(
            workspace,
            package=lambda: Published(entry_point=place.entry_point, requirements=""),
            settings=RunSettings(app=place.name, cluster=ClusterSettings(), start_allowance=timedelta(0)),
        )
        clock = SystemClock()
        self.left_overs = LeftOvers(jobs=self.jobs, files=self.files, executor=self.executor, tracker=self.tracker)
        self.reconciler = Reconciler(
            jobs=self.jobs, executor=self.executor, tracker=self.tracker, clock=clock, poll_s=0.05,
            before_sleep=self.left_overs.end_unwanted,
            lifecycle=Lifecycle(
                jobs=self.jobs, datasets=self.datasets, files=self.files, executor=self.executor, tracker=self.tracker,
                clock=clock, policy=RetryPolicy(max_retries=3, delay=timedelta(0)),
                execution_timeout=timedelta(hours=1), random_share=lambda: 0.0,
                plan=lambda spec, dataset, size, causes: replace(PLAN),
            ),
        )  # fmt: skip
        self.service = JobService(
            jobs=self.jobs, datasets=self.datasets, executor=self.executor, left_overs=self.left_overs, clock=clock,
            limits=Limits(per_user=50, overall=50), wake=self.reconciler.wake, notice=self.reconciler.notice,
            new_id=lambda: place.job_id,
        )  # fmt: skip

    def open(self) -> None:
        """Open what takes side effects of its own: tables and experiment."""
        self.database.open()
        self.mlflow.open()

    def tidy(self) -> None:
        """What an app does when it starts."""
        self.left_overs.end_unwanted()
        self.left_overs.tidy()


Step = Callable[[App, Place], None]


def create(app: App, place: Place) -> None:
    app.service.create(ANN, dataset_id=make_dataset().dataset_id, spec=make_spec(), request_id="form")


def start(app: App, place: Place) -> None:
    app.service.start(ANN, place.job_id)


def cancel(app: App, place: Place) -> None:
    app.service.cancel(ANN, place.job_id)


def retry(app: App, place: Place) -> None:
    app.service.retry(ANN, place.job_id)


def delete(app: App, place: Place) -> None:
    app.service.delete(ANN, place.job_id)


def tick(app: App, place: Place) -> None:
    app.reconciler.tick()


def run_begins(app: App, place: Place) -> None:
    """The world goes on until the newest run computes."""
    _newest(place, lambda run: run.stage in {Stage.RUNNING, Stage.TERMINATED})


def run_ends(app: App, place: Place) -> None:
    """The world goes on until every run has ended."""
    for runs in place.runs().values():
        for run in runs:
            assert run.over.wait(WAIT_S)


def _newest(place: Place, is_so: Callable[[Run], bool]) -> None:
    waited = threading.Event()
    for runs in place.runs().values():
        for _ in range(int(WAIT_S / 0.02)):
            if all(is_so(run) for run in runs):
                break
            waited.wait(0.02)


@dataclass(frozen=True, kw_only=True)
class Life:
    """What is done with one job, and what must become of it.

    Attributes:
        run: what its training does, see ``_TRAINING``.
        steps: in order; those before ``from_step`` are not disturbed, because another life has them.
        mlflow: how MLflow calls the end of each attempt.
    """

    name: str
    run: str
    steps: Sequence[Step]
    from_step: int = 0
    status: JobStatus | None
    mlflow: tuple[str, ...]

    def __str__(self) -> str:
        return self.name


LIVES = (
    Life(
        name="completes", run="goes well", steps=(create, start, tick, run_begins, run_ends, tick),
        status=JobStatus.COMPLETED, mlflow=("FINISHED",),
    ),
    Life(
        name="cancelled", run="goes on", steps=(create, start, tick, run_begins, tick, cancel, tick, run_ends, tick),
        from_step=4, status=JobStatus.CANCELLED, mlflow=("KILLED",),
    ),
    Life(
        name="cancelled-early", run="goes on", steps=(create, start, cancel, tick),
        from_step=2, status=JobStatus.CANCELLED, mlflow=(),
    ),
    Life(
        name="dies-once", run="dies once", steps=(create, start, tick, run_ends, tick, tick, run_ends, tick),
        from_step=4, status=JobStatus.COMPLETED, mlflow=("FAILED", "FINISHED"),
    ),
    Life(
        name="retried", run="fails once", steps=(create, start, tick, run_ends, tick, retry, tick, run_ends, tick),
        from_step=4, status=JobStatus.COMPLETED, mlflow=("FAILED", "FINISHED"),
    ),
    Life(
        name="deleted", run="goes well", steps=(create, start, tick, run_ends, tick, delete), from_step=5,
        status=None, mlflow=(),
    ),
)  # fmt: skip


def effects_of(life: Life, place: Place) -> list[str]:
    """The side effects of an undisturbed life, from the step on from which it may be disturbed; checked as others."""
    with place.app() as app:
        prepare(app, life.run)
        before = 0
        for number, step in enumerate(life.steps):
            if number == life.from_step:
                before = len(app.gate.effects)
            step(app, place)
        effects = app.gate.effects[before:]
        _settle(app, place)
        check(app, place, life)
        return effects


def disturb(life: Life, place: Place, at: int, fault: Fault) -> bool:
    """Live it with a fault at one side effect, recover, and check; whether the fault was met."""
    with ExitStack() as processes:
        app = processes.enter_context(place.app())
        prepare(app, life.run)
        was_met = False
        for number, step in enumerate(life.steps):
            if number == life.from_step:
                app.gate.arm(at, fault)
            error = _attempt(app, place, step)
            if not was_met and app.gate.struck.is_set():
                was_met = True
                app.gate.heal()
                if fault is Fault.DIE:
                    app = processes.enter_context(place.app())
                    app.open()
                    app.tidy()
                with suppress(ForecastAppError):  # whoever did it does it again; it may have happened already
                    step(app, place)
            elif error is not None:
                raise error
        app.gate.heal()
        _settle(app, place)
        assert not alive(place)
        if was_met:
            app.tidy()  # of what did not answer, MLflow and files are asked again at the next start
        check(app, place, life)
        return was_met


def prepare(app: App, run: str) -> None:
    """What must be there before a job: tables, experiment and data, which says what a run does."""
    app.open()
    dataset = make_dataset()
    app.datasets.put(dataset)
    app.files.write(dataset.panel_key, io.BytesIO(run.encode()))


def _attempt(app: App, place: Place, step: Step) -> Exception | None:
    """Do a step as an app would that may die in it: whoever waits for it stops waiting then."""
    errors: list[Exception] = []
    is_over = threading.Event()

    def run() -> None:
        try:
            step(app, place)
        except Exception as exc:  # noqa: BLE001  handed to the test below
            errors.append(exc)
        finally:
            is_over.set()

    threading.Thread(target=run, daemon=True).start()
    while not is_over.wait(0.01):
        if app.gate.is_shut:
            return None
    return errors[0] if errors else None


def _settle(app: App, place: Place) -> None:
    """Tick until nothing is active, as the loop would; outages are over."""
    waited = threading.Event()
    for _ in range(int(WAIT_S / 0.05)):
        if app.reconciler.tick() is None:
            return
        waited.wait(0.05)
    raise AssertionError(f"not settled: {app.jobs.active()}")


def alive(place: Place) -> list[Run]:
    """Runs that have not ended."""
    return [run for runs in place.runs().values() for run in runs if run.stage is not Stage.TERMINATED]


def check(app: App, place: Place, life: Life) -> None:
    """One run for each attempt and none alive, the right end, nothing lost, nothing twice, MLflow in step."""
    job = app.jobs.get(place.job_id)
    runs = place.runs()
    assert all(len(of_token) == 1 for of_token in runs.values()), "one token, one run"
    assert not alive(place)
    assert app.jobs.active() == ()
    with app.mlflow.client() as (client, experiment_id):
        logged = {
            run.data.tags["forecast.attempt"]: run for run in client.search_runs([experiment_id], max_results=100)
        }
        assert len(logged) == len(client.search_runs([experiment_id], max_results=100)), "one MLflow run an attempt"
    events = app.jobs.events(place.job_id)
    check_trail(events)
    if life.status is None:
        assert (job, runs, logged) == (None, {}, {})
        assert events[-1].kind is EventKind.DELETED
        assert not place.rest.tree.path(f"{place.root}/jobs/{place.job_id}").exists()
        return
    assert job is not None
    assert job.status is life.status, job.error
    statuses = tuple(logged[number].info.status for number in sorted(logged))
    if life.mlflow or statuses:  # a cancel may come before, or after, the MLflow run was made
        assert statuses == (life.mlflow or ("KILLED",)), (statuses, [attempt.message for attempt in job.attempts])
    check_attempts(job, runs)
    for attempt in job.attempts:
        if attempt.mlflow_run_id is not None:
            assert logged[str(attempt.number)].info.run_id == attempt.mlflow_run_id
    if job.status is JobStatus.COMPLETED:
        assert job.outcome is not None, "its result is lost"
        assert job.outcome.best_model == "quick"


def check_attempts(job: Job, runs: dict[str, list[Run]]) -> None:
    """The job knows each of its runs, and there is no other."""
    known = {attempt.token: attempt.run_id for attempt in job.attempts}
    assert runs.keys() <= known.keys()
    if job.status is not JobStatus.CANCELLED:  # one that was cancelled may end without getting to know its run
        assert {token: str(run.run_id) for token, (run,) in runs.items()} == known


def check_trail(events: Sequence[JobEvent]) -> None:
    """Each thing is told once, in the order it happened."""
    told = [(event.kind, event.attempt) for event in events if event.kind is not EventKind.RETRY_SCHEDULED]
    assert len(told) == len(set(told)), f"told twice: {told}"
    assert [event.at for event in events] == sorted(event.at for event in events)
    kinds = [kind for kind, _ in told]
    assert kinds[:2] == [EventKind.CREATED, EventKind.START_REQUESTED]
    ends = {EventKind.COMPLETED, EventKind.CANCELLED, EventKind.FAILED, EventKind.DELETED}
    assert kinds[-1] in ends, kinds
