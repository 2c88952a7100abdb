"""Training on Databricks put together: files, runs, MLflow and results of one workspace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from databricks.sdk.environments import Cloud as SdkCloud
from databricks.sdk.environments import get_environment_for_hostname

from services.adapters.databricks.checks import workspace_checks
from services.adapters.databricks.cluster import ClusterSettings
from services.adapters.databricks.executor import DatabricksExecutor, RunSettings
from services.adapters.databricks.package import Published, TrainingPackage
from services.adapters.databricks.workspace import Workspace
from services.adapters.files.volume import VolumeFileStore
from services.adapters.mlflow.databricks import DatabricksMlflow, VolumeArtifacts
from services.adapters.mlflow.results import MlflowResults
from services.adapters.mlflow.tracker import MlflowTracker
from services.adapters.training import Training
from services.domain.compute import Cloud, ComputePlan, ComputeSettings, Size, Workload, plan_compute
from services.domain.dataset import Dataset
from services.domain.failure import Cause
from services.settings import Settings
from training.spec import ForecastSpec

DEFAULT_EXPERIMENT: Final = "/Shared/finance-forecast"
DEFAULT_APP: Final = "finance-forecast"
_READ_BUDGET_S: Final = 20  # of one call by a page
_REQUEST_S: Final = 20.0
_CLOUDS: Final = {SdkCloud.AWS: Cloud.AWS, SdkCloud.AZURE: Cloud.AZURE, SdkCloud.GCP: Cloud.GCP}


def databricks_training(settings: Settings, *, host: str, client_id: str | None) -> Training:
    """The adapters by the settings; nothing is opened or asked yet.

    Args:
        settings: with delegation on.
        host: of the workspace, for the kind of its machines.
        client_id: of the app's service principal, as which runs run; ``None`` for a developer's own login.
    """
    assert settings.forecast_volume is not None, "read_settings has seen to it"
    volume = settings.forecast_volume.rstrip("/")
    cache = settings.forecast_home / "cache"
    cloud = _CLOUDS.get(get_environment_for_hostname(host).cloud, Cloud.AWS)
    patient = Workspace.by_environment(retry_timeout_s=settings.job_submit_timeout_seconds, http_timeout_s=_REQUEST_S)
    reading = Workspace.by_environment(retry_timeout_s=_READ_BUDGET_S, http_timeout_s=_REQUEST_S)
    files = VolumeFileStore(reading, volume, cache / "files")
    package = TrainingPackage(files)
    code = package.published if settings.training_entry_point is None else _named(settings.training_entry_point)
    mlflow = DatabricksMlflow(
        reading,
        f"dbfs:{volume}/mlflow",
        retry_timeout_s=_READ_BUDGET_S,
        experiment_name=settings.mlflow_experiment_name or DEFAULT_EXPERIMENT,
        experiment_id=settings.mlflow_experiment_id,
    )
    artifacts = VolumeArtifacts(reading, mlflow, cache / "results")
    compute = compute_settings(settings, cloud)
    cluster = ClusterSettings(
        cloud=cloud,
        policy_id=settings.cluster_policy_id,
        instance_pool_id=settings.instance_pool_id,
        instance_profile=settings.cluster_instance_profile,
        single_user_name=client_id,
        cluster_id=settings.dedicated_cluster_id,
        cluster_name=settings.dedicated_cluster_name,
    )

    def plan(spec: ForecastSpec, dataset: Dataset, size: Size | None, causes: Sequence[Cause]) -> ComputePlan:
        load = Workload.of(spec, n_rows=dataset.row_count, n_series=dataset.series_count)
        return plan_compute(load, compute, size=size, causes=causes)

    def warm_up() -> None:
        mlflow.open()
        code()

    return Training(
        files=files,
        place=settings.forecast_volume,
        executor=DatabricksExecutor(
            patient,
            package=code,
            settings=RunSettings(
                app=settings.databricks_app_name or DEFAULT_APP,
                cluster=cluster,
                viewers=settings.admin_group,
            ),
        ),
        tracker=MlflowTracker(mlflow, artifacts),
        results=MlflowResults(mlflow, artifacts),
        plan=plan,
        warm_up=warm_up,
        is_warm=lambda: mlflow.is_ready,
        tidy=package.remove_old,
        probes={
            "MLflow": mlflow.prove,
            **workspace_checks(
                reading, settings, cluster=cluster, compute=compute, entry_point=lambda: code().entry_point
            ),
        },
    )


def compute_settings(settings: Settings, cloud: Cloud) -> ComputeSettings:
    """What the installation prescribes of machines."""
    return ComputeSettings(
        mode=settings.compute_mode,
        cloud=cloud,
        runtime=settings.cluster_runtime,
        node_type=settings.default_cluster_node_type,
        min_workers=settings.default_cluster_min_workers,
        max_workers=settings.default_cluster_max_workers,
        use_spot=settings.cluster_spot_fallback,
        instance_pool_id=settings.instance_pool_id,
    )


def _named(entry_point: str) -> Callable[[], Published]:
    """Code that is there already."""
    named = Published(entry_point=entry_point, requirements="")
    return lambda: named
