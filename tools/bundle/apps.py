"""Rules about the app: its name, its start, its environment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from services.settings import Settings, SettingsError, read_settings
from tools.bundle.model import APP_FILE, REFERENCE, Deployment, Problem
from tools.bundle.tree import Node

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,28}[a-z0-9])?")
_MIN_NAME: Final = 2
_APP_KEYS: Final = {"command", "env"}
_SHELL: Final = re.compile(r"[$;&|<>`]")
_INJECTED: Final = {
    # By Databricks Apps; what a bundle says of them would win.
    "DATABRICKS_HOST": "https://example.cloud.databricks.com",
    "DATABRICKS_CLIENT_ID": "00000000-0000-0000-0000-000000000000",
    "DATABRICKS_CLIENT_SECRET": "secret",
    "DATABRICKS_APP_NAME": "finance-forecast",
    "DATABRICKS_APP_PORT": "8000",
    "DATABRICKS_WORKSPACE_ID": "1",
}
_OF_STREAMLIT: Final = "STREAMLIT_"
_PLATFORM: Final = "by the platform"


def app_name(deployment: Deployment) -> Iterator[Problem]:
    """A name that Databricks Apps refuses."""
    for key, app in deployment.resources("apps"):
        name = app.text("name")
        if len(name) < _MIN_NAME or not _NAME.fullmatch(name):
            yield Problem(
                place=(app.get("name") or app).place,
                what=f"apps.{key}.name is {name!r} in {deployment.target}.",
                remedy="Use 2 to 30 lower-case letters, digits and hyphens, with no hyphen at either end.",
            )


def app_starts(deployment: Deployment) -> Iterator[Problem]:
    """An app that stays stopped after a deploy."""
    for key, app in deployment.resources("apps"):
        started = app.get("lifecycle", "started")
        if started is None or started.value is not True:
            what = f"apps.{key}.lifecycle.started is not true, so a deploy leaves the app stopped, with its old code."
            yield Problem(place=(started or app).place, what=what, remedy="Set lifecycle: {started: true}.")


def app_file(deployment: Deployment) -> Iterator[Problem]:
    """What app.yaml can't have: other keys, a shell's command, values that the bundle would have to put in."""
    file = deployment.bundle.app_file
    for key, node in file.items():
        if key not in _APP_KEYS:
            what = f"{key} is no key of {APP_FILE}."
            yield Problem(place=node.place, what=what, remedy="Keep command and env; the rest is the app's resource's.")
    for place, command in [(file, file.get("command")), *_commands(deployment)]:
        parts = command.elements() if command else []
        if not parts or any(_SHELL.search(str(part.value)) for part in parts):
            yield Problem(
                place=(command or place).place,
                what="command is no list of words that a process can be started with; no shell reads it.",
                remedy="Write [streamlit, run, app.py].",
            )
    for entry in file.elements("env"):
        if REFERENCE.search(entry.text("value")):
            what = f"env {entry.text('name')}: nothing is put in for {entry.text('value')} in {APP_FILE}."
            yield Problem(place=entry.place, what=what, remedy="Use valueFrom, or say it in the app's resource.")


def _commands(deployment: Deployment) -> list[tuple[Node, Node | None]]:
    return [(app, app.get("config", "command")) for _, app in deployment.resources("apps")]


def env_is_restated(deployment: Deployment) -> Iterator[Problem]:
    """A variable or command of app.yaml that the app's resource, which may take its place, lacks or contradicts."""
    file = deployment.bundle.app_file
    for key, app in deployment.resources("apps"):
        if app.get("config") is None:
            continue
        given = {entry.text("name"): _said(entry) for entry in app.elements("config", "env")}
        for entry in file.elements("env"):
            name = entry.text("name")
            if given.get(name) != _said(entry):
                what = f"env {name} of {APP_FILE} is not the same in apps.{key}.config.env."
                yield Problem(place=entry.place, what=what, remedy="Say the same in both, since either may be used.")
        command = [app.get("config", "command"), file.get("command")]
        if command[0] is not None and command[1] is not None and command[0].plain() != command[1].plain():
            what = f"command differs from apps.{key}.config.command."
            yield Problem(place=command[1].place, what=what, remedy="Say the same in both, since either may be used.")


def _said(entry: Node) -> tuple[str, str]:
    return entry.text("value"), entry.text("valueFrom") or entry.text("value_from")


def env_entries(deployment: Deployment) -> Iterator[Problem]:
    """A variable given twice, with no value or with two, or in the other file's spelling."""
    for where, right, wrong, entries in _environments(deployment):
        seen: dict[str, str] = {}
        for entry in entries:
            name = entry.text("name")
            if name in seen:
                what = f"{where}: {name} is given at {seen[name]} too."
                yield Problem(place=entry.place, what=what, remedy="Keep one of them.")
            seen[name] = entry.place
            if entry.get(wrong) is not None:
                what = f"{where}: {name} has {wrong}, which is ignored here."
                yield Problem(place=entry.place, what=what, remedy=f"Write {right}.")
            elif bool(entry.text("value")) == bool(entry.text(right)):
                what = f"{where}: {name} has {'both value and' if entry.text(right) else 'neither value nor'} {right}."
                yield Problem(place=entry.place, what=what, remedy="Give one of them, and not an empty one.")


def _environments(deployment: Deployment) -> Iterator[tuple[str, str, str, list[Node]]]:
    yield APP_FILE, "valueFrom", "value_from", deployment.bundle.app_file.elements("env")
    for key, app in deployment.resources("apps"):
        yield f"apps.{key}.config", "value_from", "valueFrom", app.elements("config", "env")


def value_from(deployment: Deployment) -> Iterator[Problem]:
    """A valueFrom that names no resource of the app."""
    for key, app in deployment.resources("apps"):
        bound = [entry.text("name") for entry in app.elements("resources") if _kind(entry)]
        for entry in [*deployment.bundle.app_file.elements("env"), *app.elements("config", "env")]:
            source = entry.text("valueFrom") or entry.text("value_from")
            if source and source not in bound:
                what = f"env {entry.text('name')} takes its value from {source!r}, to which apps.{key} is not bound."
                yield Problem(place=entry.place, what=what, remedy=f"Its resources are {', '.join(bound) or 'none'}.")


def _kind(entry: Node) -> str:
    """Of a resource that an app is bound to; empty where the entry has a name only."""
    return next((key for key, node in entry.items() if node.items()), "")


def env_is_read(deployment: Deployment) -> Iterator[Problem]:
    """A variable that the app never reads, or one of the platform's that the bundle would overwrite."""
    known = {name.upper() for name in Settings.model_fields}
    for where, _, _, entries in _environments(deployment):
        for entry in entries:
            name = entry.text("name")
            if name in _INJECTED:
                what = f"{where}: {name} is set by Databricks Apps, and this would take its place."
                yield Problem(place=entry.place, what=what, remedy="Take it out.")
            elif name not in known and not name.startswith(_OF_STREAMLIT):
                what = f"{where}: {name} is no setting of the app."
                yield Problem(place=entry.place, what=what, remedy="docs/settings.md lists them.")


def env_is_legal(deployment: Deployment) -> Iterator[Problem]:
    """Variables with which the app would not start, or would keep jobs on a disk that goes with it."""
    for key, app in deployment.resources("apps"):
        for entries in (deployment.bundle.app_file.elements("env"), app.elements("config", "env")):
            try:
                settings = read_settings(_environ(deployment, app, entries))
                store = settings.state_store_type
                said = (
                    [f"STATE_STORE_TYPE is {store}, a file on a disk that goes with the app."]
                    if store == "sqlite"
                    else []
                )
            except SettingsError as exc:
                said = list(exc.problems)
            for problem in said:
                what = f"apps.{key} in {deployment.target}: {problem}"
                remedy = "Correct its variables, or those of its target."
                yield Problem(place=(entries or [app])[0].place, what=what, remedy=remedy)


def environment(deployment: Deployment, app: Node) -> Mapping[str, str]:
    """What the app's process would find, with stand-ins for what only a workspace knows."""
    return _environ(deployment, app, app.elements("config", "env"))


def _environ(deployment: Deployment, app: Node, entries: list[Node]) -> Mapping[str, str]:
    bound = {entry.text("name"): _bound_value(deployment, entry) for entry in app.elements("resources")}
    environ = dict(_INJECTED)
    for entry in entries:
        source = entry.text("valueFrom") or entry.text("value_from")
        value = bound.get(source, "") if source else _spelled(entry.get("value"))
        environ[entry.text("name")] = REFERENCE.sub("0123456789abcdef", deployment.known_value(value))
    return environ


def _spelled(node: Node | None) -> str:
    value: Any = node.value if node else ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _bound_value(deployment: Deployment, entry: Node) -> str:
    volume = entry.text("uc_securable", "securable_full_name")
    if volume:
        return "/Volumes/" + deployment.known_value(volume).replace(".", "/")
    return "0123456789abcdef"
