"""Every rule by its name, and the ways to deploy that all of them are tried on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from tools.bundle import access, apps, compute, files, references, types
from tools.bundle.model import Bundle, Deployment, Problem, load
from tools.bundle.tree import Unreadable

Rule = Callable[[Deployment], Iterable[Problem]]
RULES: Final[Mapping[str, Rule]] = {
    rule.__name__: rule
    for rule in (
        types.typed, types.schema, types.head, types.modes, types.stateful,
        references.dangling, references.unused, references.undescribed, references.cycles,
        apps.app_name, apps.app_starts, apps.app_file, apps.env_entries, apps.env_is_restated, apps.value_from,
        apps.env_is_read, apps.env_is_legal,
        access.grants_last, access.named, access.explained, access.least_privilege,
        compute.policy_fits, compute.used, compute.clusters,
        files.file_size, files.private_files, files.needed_files, files.requirements,
    )
}  # fmt: skip
_JOB_CLUSTER: Final = "resources/compute/job_cluster.cluster_policy.yml"
VARIANTS: Final[Mapping[str, tuple[str, ...] | None]] = {
    "as databricks.yml says": None,
    "job clusters": (_JOB_CLUSTER,),
    "job clusters from a pool": (_JOB_CLUSTER, "resources/compute/pool.instance_pool.yml"),
    "serverless": ("resources/compute/serverless.yml",),
    "a dedicated cluster": ("resources/compute/dedicated.cluster.yml",),
    "job clusters on Azure": (_JOB_CLUSTER, "resources/cloud/azure.yml"),
    "job clusters on Google Cloud": (_JOB_CLUSTER, "resources/cloud/gcp.yml"),
}


def variants(root: Path) -> Mapping[str, Bundle]:
    """The bundle in every way that it can be put together.

    Raises:
        Unreadable: a file is missing or no YAML, or defines what another one defines.
    """
    return {name: load(root, options) for name, options in VARIANTS.items()}


def problems(root: Path, rules: Mapping[str, Rule] = RULES) -> Iterator[tuple[str, Problem]]:
    """What is wrong, each once, with the rule that says so."""
    try:
        bundles = variants(root)
    except Unreadable as exc:
        place, _, what = str(exc).partition(": ")
        yield "loads", Problem(place=place, what=what, remedy="")
        return
    seen = set()
    for bundle in bundles.values():
        for target in bundle.targets():
            deployment = bundle.deployment(target)
            for found in ((name, problem) for name, rule in rules.items() for problem in rule(deployment)):
                if found not in seen:
                    seen.add(found)
                    yield found
