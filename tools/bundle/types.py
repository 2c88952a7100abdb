"""Rules about the form of resources: typed by databricks-bundles, and by the CLI's JSON schema where there is one."""

from __future__ import annotations

import functools
import importlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import jsonschema
import regex

from tools.bundle.model import Deployment, Problem
from tools.bundle.tree import Node

SCHEMA: Final = "BUNDLE_SCHEMA"
_CLASSES: Final = {
    "apps": "App", "sql_warehouses": "SqlWarehouse", "schemas": "Schema", "volumes": "Volume",
    "experiments": "MlflowExperiment", "cluster_policies": "ClusterPolicy", "instance_pools": "InstancePool",
    "clusters": "Cluster",
}  # fmt: skip
_LONG: Final = 300
_STATEFUL: Final = ("schemas", "volumes", "experiments")


def typed(deployment: Deployment) -> Iterator[Problem]:
    """A field that a resource does not have, or a value of another type."""
    for kind, key, resource in deployment.all_resources():
        if kind not in _CLASSES:
            what = f"resources.{kind} is no kind of resource that is checked here."
            yield Problem(place=resource.place, what=what, remedy="Correct it, or add its class to _CLASSES.")
            continue
        model = getattr(importlib.import_module(f"databricks.bundles.{kind}"), _CLASSES[kind])
        try:
            model.from_dict(_spelled(resource))
        except (ValueError, TypeError) as exc:
            said = str(exc.__cause__ or exc)
            yield Problem(place=resource.place, what=f"{kind}.{key}: {said}.", remedy="Correct the field.")


def _spelled(resource: Node) -> Any:
    """As the CLI reads it: numbers and truth values are texts where texts are due, as in an environment."""
    value, env = resource.plain(), resource.get("config", "env")
    if env is not None:
        value["config"]["env"] = env.mapped(_text).plain()
    return value


def _text(scalar: Node) -> Node:
    is_text = scalar.value is None or isinstance(scalar.value, str)
    return scalar if is_text else replace(scalar, value=str(scalar.value).lower())


def schema(deployment: Deployment) -> Iterator[Problem]:
    """What the CLI's own schema refuses, where ``BUNDLE_SCHEMA`` names the output of ``databricks bundle schema``."""
    file = os.environ.get(SCHEMA)
    if not file:
        return
    document = json.loads(Path(file).read_text(encoding="utf-8"))
    known = _kinds(document)
    config = deployment.config.plain()
    config["resources"] = {
        kind: {key: _spelled(node) for key, node in deployment.resources(kind)}
        for kind, _ in deployment.config.items("resources")
        if kind in known or kind not in _CLASSES  # a schema of an older CLI knows fewer kinds
    }
    for error in _Validator(document).iter_errors(config):
        best = jsonschema.exceptions.best_match([error])
        path = [str(part) for part in best.absolute_path]
        yield Problem(
            place=_place(deployment.config, path),
            what=f"{'.'.join(path)}: {best.message[:_LONG]}.",
            remedy="The CLI's schema says so: correct it, or renew the schema if the CLI is newer.",
        )


def _kinds(document: Any) -> set[str]:
    """The kinds of resources that a schema knows."""
    found = document["properties"]["resources"]
    if "$ref" in found:
        found = functools.reduce(lambda node, part: node[part], found["$ref"].split("/")[1:], document)
    return set(next(form for form in found.get("oneOf", [found]) if "properties" in form)["properties"])


def _pattern(_validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[jsonschema.ValidationError]:
    if isinstance(value, str) and not regex.search(pattern, value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


# The schema's patterns name Unicode classes, which Python's own expressions don't know.
_Validator: Final = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": _pattern})


def _place(config: Node, path: list[str]) -> str:
    for end in range(len(path), -1, -1):
        if (found := config.get(*path[:end])) is not None:
            return found.place
    return config.place


def head(deployment: Deployment) -> Iterator[Problem]:
    """A bundle without a name, or one whose deployment engine could not make it."""
    raw = deployment.bundle.raw
    if not raw.text("bundle", "name"):
        yield Problem(place=raw.place, what="bundle.name is not set.", remedy="Give the bundle a name.")
    if raw.text("bundle", "engine") != "direct":
        what = "bundle.engine is not direct, and no other one makes policies and pools or starts an app."
        yield Problem(place=raw.place, what=what, remedy="Set bundle.engine: direct.")


def modes(deployment: Deployment) -> Iterator[Problem]:
    """A target without a mode, or one of production that every deployer would deploy to a place of their own."""
    target = deployment.bundle.raw.get("targets", deployment.target)
    assert target is not None, "one of targets()"
    if deployment.mode not in ("development", "production"):
        what = f"targets.{deployment.target}.mode is {deployment.mode or 'not set'}."
        yield Problem(place=target.place, what=what, remedy="Use development or production.")
    if deployment.mode == "production" and not target.text("workspace", "root_path"):
        what = f"targets.{deployment.target} has no workspace.root_path, so each deployer would have another copy."
        yield Problem(place=target.place, what=what, remedy="Set one that is the same for everybody.")


def stateful(deployment: Deployment) -> Iterator[Problem]:
    """Data that a wrong name or a destroy in production would delete."""
    if deployment.mode != "production":
        return
    for kind in _STATEFUL:
        for key, resource in deployment.resources(kind):
            kept = resource.get("lifecycle", "prevent_destroy")
            if kept is None or kept.value is not True:
                what = f"{kind}.{key}.lifecycle.prevent_destroy is not true in {deployment.target}, and it holds data."
                yield Problem(place=(kept or resource).place, what=what, remedy="Set it, or keep_data: true.")
