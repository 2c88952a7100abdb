"""Every environment variable the app reads, parsed once at start.

What is unknown, malformed or contradictory is collected into one list, and the app does not start: a
setting that is silently ignored is found out weeks later.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from services.domain.compute import LTS_ML_RUNTIME, ComputeMode
from services.domain.failure import RetryPolicy
from training.read_options import MAX_ROWS

logger = logging.getLogger(__name__)

ROOT: Final = Path(__file__).resolve().parent.parent
_SIMILAR: Final = 0.85  # JOB_POLL_INTERVAL is a typo of ours, JOB_NAME is somebody else's
_OURS: Final = "FORECAST_"  # no other program's variables begin like this


class StateStore(StrEnum):
    """Where jobs are kept."""

    SQLITE = "sqlite"
    UNITY_CATALOG = "unity_catalog"


class SettingsError(Exception):
    """The environment can't be used; ``problems`` holds one sentence for each thing to change."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"The app can't start, because of its environment variables:\n{lines}")


def _names(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as exc:
        raise ValueError(f"not JSON: {exc}") from exc


JsonObject = Annotated[dict[str, Any], BeforeValidator(_json)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
Seconds = Annotated[int, Field(ge=1, le=30 * 24 * 3600)]
Count = Annotated[int, Field(ge=1)]


class Settings(BaseModel):
    """The configuration of one app process. The name of a variable is that of the field in capitals."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    forecast_home: Path = Field(default=ROOT / ".finance_forecast", description="folder of everything kept locally")
    sqlite_path: Path | None = Field(default=None, description="job store; state.db in FORECAST_HOME if not given")
    state_store_type: StateStore = StateStore.SQLITE
    enable_cluster_delegation: bool = False

    mlflow_experiment_name: str | None = None
    mlflow_experiment_id: str | None = None
    max_upload_mb: Annotated[int, Field(ge=1, le=10_000)] = 200
    max_table_rows: Annotated[int, Field(ge=1, le=MAX_ROWS)] = 2_000_000
    max_concurrent_runs: Count = Field(default_factory=lambda: max(1, (os.cpu_count() or 1) // 2))

    job_submit_timeout_seconds: Seconds = 60
    job_execution_timeout_seconds: Seconds = 3600
    job_poll_interval_seconds: Annotated[float, Field(ge=0.2, le=3600)] = 5
    max_job_retries: Annotated[int, Field(ge=0, le=10)] = 3
    retry_delay_seconds: Annotated[int, Field(ge=0, le=3600)] = 30
    max_active_jobs_per_user: Count = 10
    max_active_jobs: Count = 50
    admin_group: str | None = None
    admin_users: Names = ()

    # Where jobs are kept in Unity Catalog; the warehouse also reads people's own tables.
    uc_catalog: str | None = None
    uc_schema: str | None = None
    databricks_warehouse_id: str | None = None
    sql_connection_args: JsonObject = Field(default_factory=dict, description="for databricks.sql.connect, as JSON")

    # Read only when training is delegated to Databricks.
    forecast_volume: str | None = None
    compute_mode: ComputeMode = ComputeMode.JOB_CLUSTER
    dedicated_cluster_id: str | None = None
    dedicated_cluster_name: str | None = None
    cluster_policy_id: str | None = None
    instance_pool_id: str | None = None
    cluster_instance_profile: str | None = None
    cluster_runtime: str = LTS_ML_RUNTIME
    default_cluster_node_type: str | None = None
    default_cluster_min_workers: Annotated[int, Field(ge=0, le=1000)] = 1
    default_cluster_max_workers: Annotated[int, Field(ge=0, le=1000)] = 4
    cluster_spot_fallback: bool = True
    cluster_auto_terminate_minutes: Annotated[int, Field(ge=10, le=10_000)] | None = None
    training_entry_point: str | None = None

    databricks_app_name: str | None = Field(default=None, description="set by Databricks Apps")

    @property
    def is_databricks_app(self) -> bool:
        """Whether this process runs inside Databricks Apps, behind its proxy."""
        return self.databricks_app_name is not None

    @property
    def state_db(self) -> Path:
        """The SQLite file of jobs and datasets."""
        return self.sqlite_path or self.forecast_home / "state.db"

    @property
    def files_dir(self) -> Path:
        """Root of the local file store."""
        return self.forecast_home / "files"

    @property
    def runs_dir(self) -> Path:
        """Where the local executor keeps its runs."""
        return self.forecast_home / "runs"

    @property
    def mlflow_db(self) -> Path:
        """The SQLite file of MLflow."""
        return self.forecast_home / "mlflow.db"

    @property
    def mlflow_artifacts_dir(self) -> Path:
        """Where MLflow keeps artifacts of experiments that the app creates."""
        return self.forecast_home / "mlartifacts"

    @property
    def retry_policy(self) -> RetryPolicy:
        """When failed attempts are repeated without anybody asking."""
        return RetryPolicy(max_retries=self.max_job_retries, delay=timedelta(seconds=self.retry_delay_seconds))

    @property
    def execution_timeout(self) -> timedelta:
        """The longest a run may take, whatever its spec says."""
        return timedelta(seconds=self.job_execution_timeout_seconds)


_FIELDS: Final = {name.upper(): name for name in Settings.model_fields}
_UNITY_CATALOG: Final = ("UC_CATALOG", "UC_SCHEMA", "DATABRICKS_WAREHOUSE_ID")
_UNITY_CATALOG_ONLY: Final = ("UC_CATALOG", "UC_SCHEMA")
_WAREHOUSE_ONLY: Final = ("SQL_CONNECTION_ARGS", "MAX_TABLE_ROWS")
_DELEGATION_ONLY: Final = (
    "FORECAST_VOLUME", "COMPUTE_MODE", "DEDICATED_CLUSTER_ID", "DEDICATED_CLUSTER_NAME", "CLUSTER_POLICY_ID",
    "INSTANCE_POOL_ID", "CLUSTER_INSTANCE_PROFILE", "CLUSTER_RUNTIME", "DEFAULT_CLUSTER_NODE_TYPE",
    "DEFAULT_CLUSTER_MIN_WORKERS", "DEFAULT_CLUSTER_MAX_WORKERS", "CLUSTER_SPOT_FALLBACK",
    "CLUSTER_AUTO_TERMINATE_MINUTES", "TRAINING_ENTRY_POINT",
)  # fmt: skip
_JOB_CLUSTER_ONLY: Final = (
    "CLUSTER_POLICY_ID", "INSTANCE_POOL_ID", "CLUSTER_INSTANCE_PROFILE", "CLUSTER_RUNTIME",
    "DEFAULT_CLUSTER_NODE_TYPE", "DEFAULT_CLUSTER_MIN_WORKERS", "DEFAULT_CLUSTER_MAX_WORKERS", "CLUSTER_SPOT_FALLBACK",
)  # fmt: skip
_VOLUME: Final = re.compile(r"/Volumes(/[^/\s]+){3,}")


def read_settings(environ: Mapping[str, str]) -> Settings:
    """The settings in an environment. An empty variable counts as one that is not set.

    Raises:
        SettingsError: with everything that is wrong, not only the first.
    """
    given = {name: value.strip() for name, value in environ.items() if value.strip()}
    ours = {name: given[name] for name in _FIELDS if name in given}
    in_app = "DATABRICKS_APP_NAME" in ours
    ours.setdefault("ENABLE_CLUSTER_DELEGATION", "true" if in_app else "false")
    problems = [*_typos(given), *_contradictions(ours)]
    try:
        settings = Settings.model_validate({_FIELDS[name]: value for name, value in ours.items()})
    except ValidationError as exc:
        raise SettingsError([*problems, *_malformed(exc)]) from exc
    settings = _with_place_of_volume(settings)
    problems += _limits(settings, ours) + _state_store(settings, ours) + _delegation(settings, given)
    problems += _admins(settings, given)
    if problems:
        raise SettingsError(problems)
    if not settings.enable_cluster_delegation:
        _warn_of_unused("while ENABLE_CLUSTER_DELEGATION is off", _DELEGATION_ONLY, ours)
    if settings.state_store_type is not StateStore.UNITY_CATALOG:
        _warn_of_unused("without STATE_STORE_TYPE=unity_catalog", _UNITY_CATALOG_ONLY, ours)
    if settings.databricks_warehouse_id is None:
        _warn_of_unused("without DATABRICKS_WAREHOUSE_ID", _WAREHOUSE_ONLY, ours)
    return settings.model_copy(update={"forecast_home": settings.forecast_home.expanduser().absolute()})


def _with_place_of_volume(settings: Settings) -> Settings:
    """Tables are beside the volume, unless UC_CATALOG or UC_SCHEMA say otherwise."""
    volume = settings.forecast_volume
    if not settings.enable_cluster_delegation or volume is None or not _VOLUME.fullmatch(volume):
        return settings
    _, _, catalog, schema, *_ = volume.split("/")
    place = {"uc_catalog": settings.uc_catalog or catalog, "uc_schema": settings.uc_schema or schema}
    return settings.model_copy(update=place)


def _warn_of_unused(when: str, names: Iterable[str], ours: Mapping[str, str]) -> None:
    unused = [name for name in names if name in ours]
    if unused:
        logger.warning("Not used %s: %s", when, ", ".join(unused))


def _typos(given: Mapping[str, str]) -> list[str]:
    problems = []
    for name in sorted(given.keys() - _FIELDS.keys()):
        similar = get_close_matches(name, _FIELDS, n=1, cutoff=_SIMILAR)
        if similar:
            problems.append(f"{name} is not a setting; did you mean {similar[0]}?")
        elif name.startswith(_OURS):
            known = ", ".join(known for known in _FIELDS if known.startswith(_OURS))
            problems.append(f"{name} is not a setting; those that begin with {_OURS} are {known}.")
    return problems


def _contradictions(ours: Mapping[str, str]) -> list[str]:
    pairs = (
        ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"),
        ("DEDICATED_CLUSTER_ID", "DEDICATED_CLUSTER_NAME"),
    )
    problems = [f"{a} and {b} are both set; keep one of them." for a, b in pairs if a in ours and b in ours]
    if "CLUSTER_AUTO_TERMINATE_MINUTES" in ours and ours.get("COMPUTE_MODE") != ComputeMode.DEDICATED:
        problems.append(
            "CLUSTER_AUTO_TERMINATE_MINUTES needs COMPUTE_MODE=dedicated: other clusters end with their job."
        )
    return problems


def _limits(settings: Settings, ours: Mapping[str, str]) -> list[str]:
    problems = []
    if settings.default_cluster_min_workers > settings.default_cluster_max_workers:
        problems.append(
            f"DEFAULT_CLUSTER_MIN_WORKERS ({settings.default_cluster_min_workers}) is above "
            f"DEFAULT_CLUSTER_MAX_WORKERS ({settings.default_cluster_max_workers})."
        )
    if "MAX_ACTIVE_JOBS_PER_USER" in ours and settings.max_active_jobs_per_user > settings.max_active_jobs:
        problems.append(
            f"MAX_ACTIVE_JOBS_PER_USER ({settings.max_active_jobs_per_user}) is above MAX_ACTIVE_JOBS "
            f"({settings.max_active_jobs}), so it could never be reached."
        )
    return problems


def _state_store(settings: Settings, ours: Mapping[str, str]) -> list[str]:
    if settings.state_store_type is not StateStore.UNITY_CATALOG:
        return []
    missing = [name for name in _UNITY_CATALOG if getattr(settings, _FIELDS[name]) is None]
    problems = [f"STATE_STORE_TYPE=unity_catalog needs {', '.join(missing)} too."] if missing else []
    if "SQLITE_PATH" in ours:
        problems.append("SQLITE_PATH and STATE_STORE_TYPE=unity_catalog are both set; keep one of them.")
    return problems


def _delegation(settings: Settings, given: Mapping[str, str]) -> list[str]:
    """What training on Databricks needs, and what contradicts it."""
    if not settings.enable_cluster_delegation:
        return []
    why = "ENABLE_CLUSTER_DELEGATION is on" + (
        " (the default inside Databricks Apps)" if "ENABLE_CLUSTER_DELEGATION" not in given else ""
    )
    problems = []
    if settings.forecast_volume is None:
        problems.append(f"{why}, which needs FORECAST_VOLUME, such as /Volumes/main/forecast/data.")
    elif not _VOLUME.fullmatch(settings.forecast_volume):
        problems.append(
            f"FORECAST_VOLUME={settings.forecast_volume!r}: write /Volumes/catalog/schema/volume, or a folder in it."
        )
    if not {"DATABRICKS_HOST", "DATABRICKS_CONFIG_PROFILE"} & given.keys():
        problems.append(f"{why}, which needs DATABRICKS_HOST and a way to log in.")
    name = settings.mlflow_experiment_name
    if name is not None and not name.startswith("/"):
        problems.append(f"MLFLOW_EXPERIMENT_NAME={name!r}: Databricks wants a path, such as /Shared/{name}.")
    return problems + _modes(settings, given)


def _modes(settings: Settings, given: Mapping[str, str]) -> list[str]:
    problems = []
    mode = settings.compute_mode
    dedicated = {"DEDICATED_CLUSTER_ID", "DEDICATED_CLUSTER_NAME"} & given.keys()
    if mode is ComputeMode.DEDICATED and not dedicated:
        problems.append("COMPUTE_MODE=dedicated needs DEDICATED_CLUSTER_ID or DEDICATED_CLUSTER_NAME.")
    if mode is not ComputeMode.DEDICATED and dedicated:
        problems.append(f"{sorted(dedicated)[0]} needs COMPUTE_MODE=dedicated; COMPUTE_MODE is {mode}.")
    if mode is not ComputeMode.JOB_CLUSTER:
        problems += [
            f"{name} needs COMPUTE_MODE=job_cluster; COMPUTE_MODE is {mode}."
            for name in _JOB_CLUSTER_ONLY
            if name in given
        ]
    if settings.instance_pool_id is not None and settings.default_cluster_node_type is not None:
        problems.append("INSTANCE_POOL_ID and DEFAULT_CLUSTER_NODE_TYPE are both set; a pool has its own node type.")
    return problems


def _admins(settings: Settings, given: Mapping[str, str]) -> list[str]:
    """Inside Databricks Apps a group has to be asked for somewhere; on one machine its only user is the admin."""
    if settings.is_databricks_app and settings.admin_group is not None and "DATABRICKS_HOST" not in given:
        return ["ADMIN_GROUP needs DATABRICKS_HOST, the workspace whose group it is."]
    return []


def _malformed(exc: ValidationError) -> list[str]:
    return [
        f"{str(error['loc'][0]).upper()}={error['input']!r}: {error['msg']}."
        for error in exc.errors(include_url=False, include_context=False)
    ]
