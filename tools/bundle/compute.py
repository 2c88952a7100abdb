"""Rules about machines: what the app asks for is what the policy allows and the platform accepts."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from services.adapters.databricks.cluster import ClusterSettings, cluster_spec
from services.adapters.databricks.training import compute_settings
from services.domain.compute import Cloud, Size, Workload, plan_compute
from services.settings import SettingsError, read_settings
from tools.bundle.apps import environment
from tools.bundle.model import REFERENCE, Deployment, Problem
from tools.bundle.tree import Node

_ANY: Final = Workload(n_rows=1, n_series=1, n_models=1, n_windows=1, spread_s=0, driver_s=0)
_UNITY_CATALOG: Final = {"SINGLE_USER", "USER_ISOLATION", "DATA_SECURITY_MODE_DEDICATED", "DATA_SECURITY_MODE_STANDARD"}
_SETTINGS: Final = {"cluster_policies": "CLUSTER_POLICY_ID", "instance_pools": "INSTANCE_POOL_ID"}
_NEEDED: Final = {
    "job_cluster": "CLUSTER_POLICY_ID",
    "dedicated": "DEDICATED_CLUSTER_NAME",
    "serverless": "COMPUTE_MODE",
}
_NOT_FOR_JOBS: Final = "autotermination_minutes"
_VIRTUAL: Final = {"cluster_type": "job"}  # of a policy only


def policy_fits(deployment: Deployment) -> Iterator[Problem]:
    """A cluster that the app would ask for and the policy would refuse, at any size."""
    for key, policy in deployment.resources("cluster_policies"):
        definition = dict(policy.items("definition"))
        if _NOT_FOR_JOBS in definition:
            what = f"cluster_policies.{key} rules {_NOT_FOR_JOBS}, which a job cluster refuses."
            yield Problem(
                place=definition[_NOT_FOR_JOBS].place, what=what, remedy="Take it out: the cluster ends with its run."
            )
        for size, spec in _specs(deployment).items():
            for attribute, limit in definition.items():
                if said := _refusal(attribute, limit, spec):
                    what = f"cluster_policies.{key} refuses a cluster of size {size}: {attribute} {said}."
                    yield Problem(place=limit.place, what=what, remedy="Change the limit, or what the app is told.")


def _specs(deployment: Deployment) -> Mapping[Size, Mapping[str, Any]]:
    """Every cluster that the app may ask for, its attributes under dotted names."""
    specs = {}
    for _, app in deployment.resources("apps"):
        try:
            settings = read_settings(environment(deployment, app))
        except SettingsError:
            continue  # told by env_is_legal
        cloud = _cloud(deployment.bundle.options)
        wanted = ClusterSettings(
            cloud=cloud, policy_id=settings.cluster_policy_id, instance_pool_id=settings.instance_pool_id,
            single_user_name="00000000-0000-0000-0000-000000000000",
        )  # fmt: skip
        for size in Size:
            plan = plan_compute(_ANY, compute_settings(settings, cloud), size=size)
            specs[size] = {**_flat(cluster_spec(plan, wanted, {"app": app.text("name")}).as_dict()), **_VIRTUAL}
    return specs


def _cloud(options: Collection[str]) -> Cloud:
    return next((cloud for cloud in Cloud if f"resources/cloud/{cloud}.yml" in options), Cloud.AWS)


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, entry in value.items():
        flat |= _flat(entry, f"{prefix}{key}.") if isinstance(entry, Mapping) else {prefix + key: entry}
    return flat


def _refusal(attribute: str, limit: Node, spec: Mapping[str, Any]) -> str:
    """Why the policy would refuse; empty when it would not. What a fixed value omits, the policy fills in."""
    kind, asked = limit.text("type"), spec.get(attribute)
    if kind == "forbidden":
        return f"is forbidden, and the app asks for {asked!r}" if asked is not None else ""
    if asked is None:
        is_free = kind in ("fixed", "unlimited") or limit.text("isOptional") == "True" or limit.get("defaultValue")
        return "" if is_free else "must be given"
    values = [node.value for node in limit.elements("values")]
    match kind:
        case "fixed":
            fits, wanted = str(asked) == limit.text("value"), limit.text("value")
        case "allowlist":
            fits, wanted = asked in values, f"one of {values}"
        case "blocklist":
            fits, wanted = asked not in values, f"none of {values}"
        case "range":
            low, high = (node.value if (node := limit.get(end)) else asked for end in ("minValue", "maxValue"))
            fits, wanted = _is_between(low, asked, high), f"{low!r} to {high!r}"
        case "regex":
            fits, wanted = re.fullmatch(limit.text("pattern"), str(asked)) is not None, limit.text("pattern")
        case "unlimited":
            return ""
        case _:
            return f"has the unknown type {kind!r}"
    return "" if fits else f"may be {wanted}, and the app asks for {asked!r}"


def _is_between(low: object, asked: object, high: object) -> bool:
    """A bound that is text, as a variable from the command line is, allows nothing."""
    return all(isinstance(number, int) for number in (low, asked, high)) and low <= asked <= high  # type: ignore[operator]


def used(deployment: Deployment) -> Iterator[Problem]:
    """A policy or pool that is made and that the app is not told of, or none of the ways to compute."""
    for _, app in deployment.resources("apps"):
        env = {entry.text("name"): entry.text("value") for entry in app.elements("config", "env")}
        for kind, name in _SETTINGS.items():
            for key, resource in deployment.resources(kind):
                wanted = f"${{resources.{kind}.{key}.id}}"
                if env.get(name) != wanted:
                    what = (
                        f"{kind}.{key} is made, and the app in {deployment.target} is not told: {name} is not {wanted}."
                    )
                    yield Problem(place=resource.place, what=what, remedy="Say it in the app's environment.")
        mode = env.get("COMPUTE_MODE", "")
        if _NEEDED.get(mode) not in env:
            what = f"COMPUTE_MODE is {mode or 'not set'} in {deployment.target}, and nothing is there for it."
            remedy = "Include one of job_cluster, serverless and dedicated from resources/compute/."
            yield Problem(place=app.place, what=what, remedy=remedy)


def clusters(deployment: Deployment) -> Iterator[Problem]:
    """A cluster that Databricks refuses, that has no Unity Catalog, never stops, or that the app would not find."""
    names = []
    for key, cluster in deployment.resources("clusters"):
        where = f"clusters.{key}"
        names.append(_effective_name(deployment, cluster.text("cluster_name")))
        if (cluster.get("num_workers") is None) == (cluster.get("autoscale") is None):
            what = f"{where} needs num_workers or autoscale, and not both."
            yield Problem(place=cluster.place, what=what, remedy="Give one of them.")
        if not cluster.text("spark_version"):
            what = f"{where} has no spark_version."
            yield Problem(place=cluster.place, what=what, remedy="Use ${var.runtime}.")
        mode = cluster.text("data_security_mode")
        if mode not in _UNITY_CATALOG:
            what = f"{where}.data_security_mode is {mode or 'not set'}, so the cluster has no Unity Catalog."
            yield Problem(place=cluster.place, what=what, remedy="Use SINGLE_USER; ML runtimes have no shared mode.")
        if mode == "SINGLE_USER" and not _is_principal(cluster.text("single_user_name")):
            what = f"{where}.single_user_name is not the app's principal, as which runs run."
            yield Problem(
                place=cluster.place, what=what, remedy="Use ${resources.apps.<key>.service_principal_client_id}."
            )
        if not cluster.text("autotermination_minutes"):
            what = f"{where} has no {_NOT_FOR_JOBS}, so it costs for ever."
            yield Problem(place=cluster.place, what=what, remedy="Give minutes without a run after which it stops.")
    for _, app in deployment.resources("apps"):
        for entry in app.elements("config", "env"):
            if entry.text("name") == "DEDICATED_CLUSTER_NAME" and entry.text("value") not in names:
                what = f"DEDICATED_CLUSTER_NAME is {entry.text('value')!r} in {deployment.target}."
                yield Problem(place=entry.place, what=what, remedy=f"Clusters have the names {names}, prefix included.")


def _effective_name(deployment: Deployment, name: str) -> str:
    return f"[dev ann] {name}" if deployment.mode == "development" else name


def _is_principal(text: str) -> bool:
    match = REFERENCE.fullmatch(text)
    return match is not None and match[1].endswith(".service_principal_client_id")
