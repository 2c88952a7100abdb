"""Rules about who may do what, and the table of it in docs/deploy.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.bundle.model import REFERENCE, Bundle, Deployment, Problem
from tools.bundle.tree import Node, read

PAGE: Final = "docs/deploy.md"
OUTSIDE: Final = "resources/outside/grants.yml"
BEGIN, END = "<!-- permissions: made by `make permissions` -->", "<!-- end of permissions -->"
_HEADER: Final = "| Who | May | On | Why | Given by |\n|---|---|---|---|---|"
_KINDS: Final = {
    "apps": "the app", "sql_warehouses": "the SQL warehouse", "schemas": "the schema", "volumes": "the volume",
    "experiments": "the MLflow experiment", "cluster_policies": "the cluster policy",
    "instance_pools": "the instance pool", "clusters": "the dedicated cluster",
}  # fmt: skip
_COMPUTE: Final = ("cluster_policies", "instance_pools", "clusters")
_LEVELS: Final = ("CAN_READ", "CAN_USE", "CAN_EDIT", "CAN_MANAGE")  # of what an app can be bound to, in ascending order
_BOUND: Final = {"sql_warehouse": "sql_warehouses", "experiment": "experiments", "uc_securable": "volumes"}
_VOLUME: Final = {"WRITE_VOLUME": {"READ_VOLUME", "WRITE_VOLUME"}}  # to write is not to read


def grants_last(deployment: Deployment) -> Iterator[Problem]:
    """A resource that the app uses and whose own list lacks the app's principal: the second deploy takes it away."""
    for app_key, app in deployment.resources("apps"):
        principal = f"${{resources.apps.{app_key}.service_principal_client_id}}"
        for entry in app.elements("resources"):
            for word, kind in _BOUND.items():
                for key, resource in deployment.resources(kind) if entry.get(word) else ():
                    if any(f"resources.{kind}.{key}." in str(node.value) for _, node in entry.walk()):
                        yield from _lacks(kind, key, resource, principal, entry.text(word, "permission"))
        for kind in _COMPUTE:
            for key, resource in deployment.resources(kind):
                yield from _lacks(kind, key, resource, principal, "")


def _lacks(kind: str, key: str, resource: Node, principal: str, needed: str) -> Iterator[Problem]:
    where = f"{kind}.{key}"
    if kind == "volumes":
        held = {
            str(privilege.value)
            for grant in resource.elements("grants")
            if grant.text("principal") == principal
            for privilege in grant.elements("privileges")
        }
        if missing := _VOLUME.get(needed, {needed}) - held:
            what = f"{where}.grants gives the app's principal no {', '.join(sorted(missing))}."
            yield Problem(place=resource.place, what=what, remedy=f"Add them for {principal}.")
        return
    given = {entry.text("service_principal_name"): entry.text("level") for entry in resource.elements("permissions")}
    level = given.get(principal)
    if level is None:
        what = f"{where}.permissions does not name the app's principal, so the second deploy takes its access away."
        yield Problem(place=resource.place, what=what, remedy=f"Add {principal} with {needed or 'the level it needs'}.")
    elif level in _LEVELS[: _LEVELS.index(needed) if needed in _LEVELS else 0]:
        what = f"{where}.permissions gives the app's principal {level}, and the app is bound with {needed}."
        yield Problem(place=resource.place, what=what, remedy="Give the same in both.")


def explained(deployment: Deployment) -> Iterator[Problem]:
    """A permission, grant or scope without a reason."""
    for row in rows(deployment.unresolved):
        if not row.why:
            what = f"{row.may} on {row.on} for {row.who} has no reason."
            yield Problem(place=row.place, what=what, remedy="Write # why: … in the line above it.")


def named(deployment: Deployment) -> Iterator[Problem]:
    """A permission or grant for nobody, or of nothing."""
    for row in rows(deployment.unresolved):
        if not row.who or not row.may:
            what = f"{row.may or 'Nothing'} on {row.on} is given to {row.who or 'nobody'}."
            yield Problem(place=row.place, what=what, remedy="Name a group or the app's principal, and what it may do.")


def least_privilege(deployment: Deployment) -> Iterator[Problem]:
    """The app's principal managing or owning something, or everything granted at once."""
    for row in rows(deployment.unresolved):
        for word in ("ALL_PRIVILEGES", "MANAGE", "CAN_MANAGE", "IS_OWNER"):
            if word in row.may.split(", ") and row.who == _APP:
                what = f"{row.who} has {word} on {row.on}."
                yield Problem(place=row.place, what=what, remedy="Grant what it needs and no more.")


_APP: Final = "the app's service principal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    who: str
    may: str
    on: str
    why: str
    by: str
    place: str

    def __str__(self) -> str:
        return f"| {self.who} | {self.may.replace('_', ' ')} | {self.on} | {self.why} | {self.by} |"


def rows(config: Node) -> list[Row]:
    """What the files of a bundle grant."""
    found = []
    for kind, resources in config.items("resources"):
        for resource in (node for _, node in resources.items()):
            on = _KINDS.get(kind, kind)
            for entry in resource.elements("permissions"):
                named = ("service_principal_name", "group_name", "user_name")
                who = next((entry.text(name) for name in named if entry.get(name)), "")
                found.append(_row(entry, who, entry.text("level"), on))
            for entry in resource.elements("grants"):
                may = ", ".join(str(privilege.value) for privilege in entry.elements("privileges"))
                found.append(_row(entry, entry.text("principal"), may, on))
            found += [
                _row(scope, "the app, as its viewer", f"scope {scope.value}", "the workspace")
                for scope in resource.elements("user_api_scopes")
            ]
    return found


def _row(entry: Node, who: str, may: str, on: str, by: str = "") -> Row:
    file = entry.place.partition(":")[0]
    return Row(who=_person(who), may=may, on=on, why=entry.why, by=by or f"`{file}`", place=entry.place)


def _person(text: str) -> str:
    match = REFERENCE.fullmatch(text)
    if match is None:
        return text
    return _APP if match[1].endswith("service_principal_client_id") else f"`{match[1].removeprefix('var.')}`"


def outside(root: Path) -> list[Row]:
    """What has to be granted beside the bundle."""
    by, listed = f"`python -m tools.deploy`, from `{OUTSIDE}`", read(root / OUTSIDE, root)
    return [
        *(
            _row(entry, entry.text("principal"), entry.text("privilege"), f"the {_named(entry)}", by)
            for entry in listed.elements("grants")
        ),
        *(
            _row(entry, entry.text("principal"), f"entitlement {entry.text('entitlement')}", "the workspace", by)
            for entry in listed.elements("entitlements")
        ),
    ]


def _named(entry: Node) -> str:
    return f"{entry.text('securable')} {_person(entry.text('name'))}"


def table(bundles: Iterable[Bundle]) -> str:
    """Every permission that some way to deploy gives, once."""
    bundles = list(bundles)
    found = [row for bundle in bundles for row in rows(bundle.raw)] + outside(bundles[0].root)
    return "\n".join([_HEADER, *dict.fromkeys(str(row) for row in found)])


def table_on_page(text: str) -> str:
    """The table that the page has now."""
    return text.partition(BEGIN)[2].partition(END)[0].strip()


def write_table(root: Path, bundles: Sequence[Bundle]) -> None:
    """Put the table into the page."""
    page = root / PAGE
    text = page.read_text(encoding="utf-8")
    head, tail = text.partition(BEGIN)[0], text.partition(END)[2]
    page.write_text(f"{head}{BEGIN}\n{table(bundles)}\n{END}{tail}", encoding="utf-8")
