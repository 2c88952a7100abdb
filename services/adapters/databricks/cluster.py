"""A compute plan as the Jobs API wants it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from databricks.sdk.service import compute, jobs

from services.domain.compute import Cloud, ComputeMode, ComputePlan

TASK_KEY: Final = "forecast"
_ENVIRONMENT: Final = "training"
_ENVIRONMENT_VERSION: Final = "4"  # of serverless compute
_NOT_IN_A_TAG: Final = re.compile(r"[^A-Za-z0-9 +\-=._:/@]")
_NOT_IN_A_GCP_LABEL: Final = re.compile(r"[^a-z0-9_-]")
_MAX_TAG: Final = 255
_MAX_GCP_LABEL: Final = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """What the plan leaves open.

    Attributes:
        policy_id: governs every job cluster; its defaults fill what is not said here.
        single_user_name: the application id of the principal that runs the job.
        cluster_id, cluster_name: of the dedicated cluster; by its name it is looked up, since a bundle can't give
            an app the id of a cluster that belongs to that app's principal.
    """

    cloud: Cloud = Cloud.AWS
    policy_id: str | None = None
    instance_pool_id: str | None = None
    instance_profile: str | None = None
    single_user_name: str | None = None
    cluster_id: str | None = None
    cluster_name: str | None = None


def submit_task(
    plan: ComputePlan,
    settings: ClusterSettings,
    *,
    python_file: str,
    parameters: list[str],
    requirements: str,
    tags: dict[str, str],
) -> tuple[jobs.SubmitTask, list[jobs.JobEnvironment] | None]:
    """The one task of a run, and the environments it names.

    Args:
        plan: the machines.
        settings: of the installation.
        python_file: path of the entry point.
        parameters: of its command line.
        requirements: path of a pip list; empty for none.
        tags: on the machines, for whoever pays them.
    """
    task = jobs.SubmitTask(
        task_key=TASK_KEY,
        spark_python_task=jobs.SparkPythonTask(python_file=python_file, parameters=parameters),
    )
    if plan.mode is ComputeMode.SERVERLESS:
        dependencies = [f"-r {requirements}"] if requirements else []
        spec = compute.Environment(environment_version=_ENVIRONMENT_VERSION, dependencies=dependencies)
        task.environment_key = _ENVIRONMENT
        return task, [jobs.JobEnvironment(environment_key=_ENVIRONMENT, spec=spec)]
    if requirements:
        task.libraries = [compute.Library(requirements=requirements)]
    if plan.mode is ComputeMode.DEDICATED:
        task.existing_cluster_id = settings.cluster_id
    else:
        task.new_cluster = cluster_spec(plan, settings, tags)
    return task, None


def cluster_spec(plan: ComputePlan, settings: ClusterSettings, tags: dict[str, str]) -> compute.ClusterSpec:
    """A job cluster. It ends with its run, so it takes no auto-termination."""
    is_single = plan.workers == 0
    spec = compute.ClusterSpec(
        spark_version=plan.runtime,
        num_workers=plan.workers,
        # Without it there is no Unity Catalog; machine-learning runtimes have no shared mode.
        data_security_mode=compute.DataSecurityMode.SINGLE_USER,
        single_user_name=settings.single_user_name,
        policy_id=settings.policy_id,
        apply_policy_default_values=True if settings.policy_id else None,
        custom_tags={name: _tag(value, settings.cloud) for name, value in tags.items()},
    )
    if is_single:
        spec.spark_conf = {"spark.databricks.cluster.profile": "singleNode", "spark.master": "local[*]"}
        assert spec.custom_tags is not None, "set above"
        spec.custom_tags["ResourceClass"] = "SingleNode"
    if settings.instance_pool_id:
        spec.instance_pool_id = settings.instance_pool_id
    else:
        spec.node_type_id = plan.node_type
    _add_cloud(spec, plan, settings)
    return spec


def _add_cloud(spec: compute.ClusterSpec, plan: ComputePlan, settings: ClusterSettings) -> None:
    """Availability and identity; of a pool's machines the pool decides the former."""
    pooled = settings.instance_pool_id is not None
    match settings.cloud:
        case Cloud.AWS:
            spot, fixed = compute.AwsAvailability.SPOT_WITH_FALLBACK, compute.AwsAvailability.ON_DEMAND
            if not pooled or settings.instance_profile:
                spec.aws_attributes = compute.AwsAttributes(
                    availability=None if pooled else spot if plan.is_spot else fixed,
                    first_on_demand=None if pooled else 1,  # the driver
                    instance_profile_arn=settings.instance_profile,
                )
        case Cloud.AZURE if not pooled:
            spec.azure_attributes = compute.AzureAttributes(
                availability=compute.AzureAvailability.SPOT_WITH_FALLBACK_AZURE
                if plan.is_spot
                else compute.AzureAvailability.ON_DEMAND_AZURE,
                first_on_demand=1,
            )
        case Cloud.GCP if not pooled or settings.instance_profile:
            spec.gcp_attributes = compute.GcpAttributes(
                availability=None
                if pooled
                else compute.GcpAvailability.PREEMPTIBLE_WITH_FALLBACK_GCP
                if plan.is_spot
                else compute.GcpAvailability.ON_DEMAND_GCP,
                first_on_demand=None if pooled else 1,
                google_service_account=settings.instance_profile,
            )
        case _:
            return


def _tag(value: str, cloud: Cloud) -> str:
    if cloud is Cloud.GCP:
        return _NOT_IN_A_GCP_LABEL.sub("_", value.lower())[:_MAX_GCP_LABEL]
    return _NOT_IN_A_TAG.sub("_", value)[:_MAX_TAG]
