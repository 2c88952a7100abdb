"""Rules about ``${…}``: what is named exists, what exists is named, and nothing needs itself."""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Final

from tools.bundle.model import REFERENCE, Deployment, Problem
from tools.bundle.tree import Node

# What Databricks decides and a reference may ask for; the rest must be said in the file.
_OUTPUTS: Final = {"id", "url", "service_principal_client_id", "service_principal_id", "service_principal_name"}
_APART: Final = {"permissions", "grants"}  # set after all resources are made, so they close no circle


def dangling(deployment: Deployment) -> Iterator[Problem]:
    """A reference to a variable, resource or field that does not exist, or an override of such a variable."""
    raw = deployment.bundle.raw
    variables = dict(raw.items("variables"))
    for path, node in raw.walk():
        for match in REFERENCE.finditer(node.value) if isinstance(node.value, str) else ():
            if said := _missing(match[1], deployment, variables):
                yield Problem(place=node.place, what=f"{path}: {match[0]} {said}.", remedy="Correct or define it.")
    for target in deployment.bundle.targets():
        for name, node in raw.items("targets", target, "variables"):
            if name not in variables:
                what = f"targets.{target}.variables.{name} overrides a variable that is not defined."
                yield Problem(place=node.place, what=what, remedy="Define it below variables or take it out.")


def _missing(name: str, deployment: Deployment, variables: dict[str, Node]) -> str:
    head, *rest = name.split(".")
    match head:
        case "var":
            return "" if rest and rest[0] in variables else "is not defined below variables"
        case "bundle":
            return "" if rest in (["name"], ["target"]) else "is not known"
        case "workspace":
            known = {"current_user", "host", "root_path", "file_path"}
            return "" if rest and rest[0] in known else "is not known"
        case "resources" if len(rest) >= 3:
            resource = deployment.config.get("resources", *rest[:2])
            if resource is None:
                return f"names a resource, {'.'.join(rest[:2])}, that no included file defines"
            return "" if rest[2] in _OUTPUTS or resource.get(*rest[2:]) else "names a field that is not set there"
        case _:
            return "is no reference that the CLI knows"


def unused(deployment: Deployment) -> Iterator[Problem]:
    """A variable that no file uses, included or not."""
    bundle = deployment.bundle
    files = [bundle.root / "databricks.yml", *bundle.root.glob("resources/**/*.yml")]
    used = {match[1] for file in files for match in REFERENCE.finditer(file.read_text(encoding="utf-8"))}
    for name, node in bundle.raw.items("variables"):
        if f"var.{name}" not in used:
            yield Problem(place=node.place, what=f"variables.{name} is used nowhere.", remedy="Use it or take it out.")


def undescribed(deployment: Deployment) -> Iterator[Problem]:
    """A variable without description or default."""
    for name, node in deployment.bundle.raw.items("variables"):
        lacking = [key for key in ("description", "default") if (said := node.get(key)) is None or said.value is None]
        if lacking:
            what = f"variables.{name} has no {' and no '.join(lacking)}."
            yield Problem(place=node.place, what=what, remedy="Say what it is for and what it is if nothing is said.")


def cycles(deployment: Deployment) -> Iterator[Problem]:
    """Resources that need one another before they are made, by whatever field."""
    needs: dict[str, set[str]] = {}
    places: dict[str, str] = {}
    for kind, key, resource in deployment.all_resources():
        own = f"{kind}.{key}"
        needs[own], places[own] = set(), resource.place
        for field, node in resource.items():
            texts = [scalar.value for _, scalar in node.walk() if field not in _APART and isinstance(scalar.value, str)]
            names = [match[1].split(".") for text in texts for match in REFERENCE.finditer(text)]
            needs[own] |= {".".join(parts[1:3]) for parts in names if parts[0] == "resources"}
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as exc:
        circle = exc.args[1]
        yield Problem(
            place=places.get(circle[0], "resources"),
            what=f"These need one another before they are made: {' <- '.join(circle)}.",
            remedy="Give one of them a name that is no reference, and let the app look the id up.",
        )
