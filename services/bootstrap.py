"""Settings become a runtime: the one place that chooses adapters."""

from __future__ import annotations

import logging
import os
import random
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Final, assert_never

from services.adapters.files.local import LocalFileStore
from services.adapters.local.executor import LocalExecutor, share_of_machine, training_command
from services.adapters.mlflow.connection import MlflowConnection
from services.adapters.mlflow.results import MlflowResults
from services.adapters.mlflow.tracker import MlflowTracker
from services.adapters.sqlite.database import Database
from services.adapters.sqlite.datasets import SqliteDatasetStore
from services.adapters.sqlite.jobs import SqliteJobStore
from services.adapters.system import SystemClock
from services.adapters.training import Training
from services.datasets import DatasetService
from services.domain.access import SYSTEM
from services.domain.errors import StoreUnavailable, Unavailable
from services.domain.job import DatasetId
from services.identity import Identity
from services.jobs import JobService, Limits, refuse_tables
from services.left_overs import LeftOvers
from services.lifecycle import Lifecycle
from services.ports import (
    Clock,
    DatasetStore,
    Groups,
    JobStore,
)  # fmt: skip
from services.reconciler import Reconciler
from services.results import ResultService
from services.self_check import STORE, SelfCheck, disk_has_room, files_work, stores_work
from services.settings import Settings, StateStore, read_settings
from services.shared_reads import Answers, SharedDatasetStore, SharedJobStore
from services.tables import TableService

logger = logging.getLogger(__name__)

DEFAULT_EXPERIMENT: Final = "finance-forecast"
_IDLE_POLL_S: Final = 30.0
_CUT_SHORT: Final = timedelta(hours=1)  # a deletion that began longer ago was cut short


def _nothing() -> None:
    """What a runtime without slow parts opens and closes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Everything a page or a route may use, for one app process.

    Attributes:
        warm_up: opens what is slow to open; run in a thread at start, so that the server answers at once.
        is_warm: whether that is done.
        self_check: tries everything the installation depends on; run in the same thread afterwards.
        is_store_well: whether the job store answers, as far as it can be told without a cost.
        tidy: removes what nobody will ask for any more; run in the same thread at last.
        close: gives back what the adapters hold.
        tables: people's own tables; ``None`` without a workspace and a SQL warehouse.
    """

    settings: Settings
    clock: Clock
    jobs: JobService
    datasets: DatasetService
    results: ResultService
    reconciler: Reconciler
    self_check: SelfCheck
    is_store_well: Callable[[], bool]
    identity: Identity = field(default_factory=Identity)
    tables: TableService | None = None
    warm_up: Callable[[], None] = _nothing
    is_warm: Callable[[], bool] = lambda: True
    tidy: Callable[[], None] = _nothing
    close: Callable[[], None] = _nothing

    def start(self) -> None:
        """Begin to move jobs; returns at once."""
        threading.Thread(target=self._open, name="warm-up", daemon=True).start()
        self.reconciler.start()

    def stop(self) -> None:
        """Stop moving jobs and close what is open. Runs that compute go on without us."""
        self.reconciler.stop()
        self.close()

    def _open(self) -> None:
        try:
            self.warm_up()
        except Unavailable:
            logger.warning("Not ready yet; the next use tries again", exc_info=True)
        self.self_check.run(SYSTEM)
        self.tidy()


def build_runtime(settings: Settings | None = None) -> Runtime:
    """A runtime by the environment, or by the settings given.

    Raises:
        SettingsError: the environment can't be used.
        StoreUnavailable: the job store can't be opened.
    """
    settings = settings or read_settings(os.environ)
    clock = SystemClock()
    state = _state_store(settings)
    jobs, datasets = state.jobs, state.datasets
    training = _training(settings)
    files, executor, tracker = training.files, training.executor, training.tracker
    self_check = SelfCheck(
        {
            STORE: lambda: stores_work(jobs, datasets, clock, state.place),
            "Files": lambda: files_work(files, training.place),
            **training.probes,
        },
        clock,
    )
    lifecycle = Lifecycle(
        jobs=jobs,
        datasets=datasets,
        files=files,
        executor=executor,
        tracker=tracker,
        clock=clock,
        policy=settings.retry_policy,
        execution_timeout=settings.execution_timeout,
        random_share=random.random,
        plan=training.plan,
    )
    left_overs = LeftOvers(jobs=jobs, files=files, executor=executor, tracker=tracker)
    reconciler = Reconciler(
        jobs=jobs,
        executor=executor,
        tracker=tracker,
        lifecycle=lifecycle,
        clock=clock,
        poll_s=settings.job_poll_interval_seconds,
        before_sleep=left_overs.end_unwanted,
        idle_poll_s=_IDLE_POLL_S if state.is_free else None,
    )
    new_id = partial(secrets.token_hex, 8)
    dataset_service = DatasetService(
        files=files,
        records=datasets,
        clock=clock,
        max_upload_mb=settings.max_upload_mb,
        new_id=new_id,
        is_in_use=lambda dataset_id: _has_active_job(jobs, dataset_id),
    )
    tables = _tables(settings, dataset_service, clock)
    job_service = JobService(
        jobs=jobs,
        datasets=datasets,
        executor=executor,
        left_overs=left_overs,
        clock=clock,
        limits=Limits(per_user=settings.max_active_jobs_per_user, overall=settings.max_active_jobs),
        wake=reconciler.wake,
        notice=reconciler.notice,
        new_id=new_id,
        plan=training.plan,
        require_readable=tables.large.require_readable if tables and tables.large else refuse_tables,
        logs=Answers(settings.job_poll_interval_seconds) if settings.enable_cluster_delegation else None,
    )
    return Runtime(
        settings=settings,
        clock=clock,
        jobs=job_service,
        datasets=dataset_service,
        results=ResultService(jobs=job_service, results=training.results),
        reconciler=reconciler,
        identity=_identity(settings),
        self_check=self_check,
        is_store_well=partial(_answers, jobs) if state.is_free else partial(_answered, self_check, reconciler),
        tables=tables,
        warm_up=training.warm_up,
        is_warm=training.is_warm,
        tidy=lambda: _tidy(
            dataset_service.remove_old_drafts,
            left_overs.end_unwanted,
            left_overs.tidy,
            lambda: jobs.tidy(clock.now() - _CUT_SHORT),
            lambda: datasets.tidy(clock.now() - _CUT_SHORT),
            training.tidy,
        ),
        close=state.close,
    )


def _identity(settings: Settings) -> Identity:
    """By the proxy's word inside Databricks Apps; the SDK is imported only where a group has to be asked for."""
    if not settings.is_databricks_app:
        return Identity()
    groups: Groups | None = None
    if settings.admin_group is not None:
        from services.adapters.databricks.directory import workspace_groups

        groups = workspace_groups()
    return Identity(
        is_behind_proxy=True, admin_users=settings.admin_users, admin_group=settings.admin_group, groups=groups
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _StateStore:
    """Where jobs and datasets are kept.

    Attributes:
        place: for a person.
        is_free: asking costs nothing; where it costs money, nothing is asked while nobody needs the answer.
    """

    jobs: JobStore
    datasets: DatasetStore
    close: Callable[[], None]
    place: str
    is_free: bool


def _state_store(settings: Settings) -> _StateStore:
    match settings.state_store_type:
        case StateStore.SQLITE:
            file = Database(settings.state_db)
            return _StateStore(
                jobs=SqliteJobStore(file),
                datasets=SqliteDatasetStore(file),
                close=file.close,
                place=str(settings.state_db),
                is_free=True,
            )
        case StateStore.UNITY_CATALOG:
            return _delta_store(settings)
        case _:
            assert_never(settings.state_store_type)


def _delta_store(settings: Settings) -> _StateStore:
    """Tables in Unity Catalog; the SQL connector, slow to import, is imported only for them."""
    from services.adapters.delta.connect import workspace_connector
    from services.adapters.delta.database import DeltaDatabase
    from services.adapters.delta.datasets import DeltaDatasetStore
    from services.adapters.delta.jobs import DeltaJobStore
    from services.adapters.delta.tables import Tables
    from services.adapters.delta.warehouse import Patience, Warehouse

    assert settings.uc_catalog is not None, "read_settings has seen to it"
    assert settings.uc_schema is not None
    assert settings.databricks_warehouse_id is not None
    tables = Tables(catalog=settings.uc_catalog, schema=settings.uc_schema)
    patience = Patience()
    connect = workspace_connector(settings.databricks_warehouse_id, settings.sql_connection_args, patience)
    database = DeltaDatabase(Warehouse(connect, place=tables.place, patience=patience), tables)
    max_age_s = settings.job_poll_interval_seconds
    return _StateStore(
        jobs=SharedJobStore(DeltaJobStore(database), Answers(max_age_s)),
        datasets=SharedDatasetStore(DeltaDatasetStore(database), Answers(max_age_s)),
        close=database.close,
        place=tables.place,
        is_free=False,
    )


def _tables(settings: Settings, datasets: DatasetService, clock: Clock) -> TableService | None:
    """People's own tables, where a workspace and a SQL warehouse are named."""
    warehouse_id, host = settings.databricks_warehouse_id, os.environ.get("DATABRICKS_HOST", "")
    if warehouse_id is None or not (host or os.environ.get("DATABRICKS_CONFIG_PROFILE")):
        return None
    from services.adapters.uc.access import WorkspaceAccess
    from services.adapters.uc.source import READING, UnityTableSource

    access = WorkspaceAccess(host=host, warehouse_id=warehouse_id, extra=settings.sql_connection_args, patience=READING)
    return TableService(
        source=UnityTableSource(access),
        datasets=datasets,
        clock=clock,
        max_rows=settings.max_table_rows,
        max_mb=settings.max_upload_mb,
        reads_in_place=settings.enable_cluster_delegation,
    )


def _training(settings: Settings) -> Training:
    return _delegated_training(settings) if settings.enable_cluster_delegation else _local_training(settings)


def _local_training(settings: Settings) -> Training:
    mlflow = MlflowConnection(
        settings.mlflow_db,
        settings.mlflow_artifacts_dir,
        experiment_name=settings.mlflow_experiment_name or DEFAULT_EXPERIMENT,
        experiment_id=settings.mlflow_experiment_id,
    )
    executor = LocalExecutor(
        settings.runs_dir,
        command=partial(
            training_command,
            tracking_uri=mlflow.tracking_uri,
            cores=share_of_machine(settings.max_concurrent_runs),
        ),
        places=settings.max_concurrent_runs,
        start_timeout_s=settings.job_submit_timeout_seconds,
    )
    return Training(
        files=LocalFileStore(settings.files_dir),
        place=str(settings.files_dir),
        probes={"MLflow": mlflow.prove, "Disk": partial(disk_has_room, settings.forecast_home)},
        executor=executor,
        tracker=MlflowTracker(mlflow),
        results=MlflowResults(mlflow),
        warm_up=mlflow.open,
        is_warm=lambda: mlflow.is_ready,
    )


def _delegated_training(settings: Settings) -> Training:
    """Runs of the workspace that the SDK's own variables name; the SDK, slow to import, is imported only for them."""
    from services.adapters.databricks.training import databricks_training

    return databricks_training(
        settings, host=os.environ.get("DATABRICKS_HOST", ""), client_id=os.environ.get("DATABRICKS_CLIENT_ID")
    )


def _answers(jobs: JobStore) -> bool:
    try:
        jobs.counts()
    except StoreUnavailable:
        return False
    return True


def _answered(self_check: SelfCheck, reconciler: Reconciler) -> bool:
    """Whether the store answered when it was last asked; the reconciler's own failures are told for themselves."""
    failed_at, seen_at = self_check.failed_at(STORE), reconciler.health.last_success_at
    return failed_at is None or (seen_at is not None and seen_at > failed_at)


def _tidy(*steps: Callable[[], None]) -> None:
    for step in steps:
        try:
            step()
        except Unavailable:
            logger.warning("Not all is tidied; the next start tries again", exc_info=True)


def _has_active_job(jobs: JobStore, dataset_id: DatasetId) -> bool:
    return any(job.dataset_id == dataset_id for job in jobs.active())  # never a kept answer, as a list may be


_installed: list[Runtime] = []


def install(runtime: Runtime) -> Runtime:
    """Make a runtime the one of this process; a later one takes its place."""
    _installed[:] = [runtime]
    return runtime


def current() -> Runtime:
    """The runtime of this process.

    Raises:
        RuntimeError: the server's lifespan has not run, as under ``streamlit run pages/…``.
    """
    if not _installed:
        raise RuntimeError("There is no runtime: start the app with `streamlit run app.py`.")
    return _installed[0]
