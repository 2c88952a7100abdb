"""Whether a deployed app runs and can do its work, by its own account."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.apps import App, ApplicationState

HEALTH: Final = "/api/v2/health"
_REQUEST_S: Final = 30
_LOOK_EVERY_S: Final = 5.0


class NotWell(Exception):
    """The app does not run, or says that something it needs does not work; says what to do."""


def running_app(client: WorkspaceClient, name: str, *, timeout_s: float, say: Callable[[str], None]) -> App:
    """The app, once it runs.

    Raises:
        NotWell: it crashed, or does not run within the time.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        app = client.apps.get(name)
        state = app.app_status.state if app.app_status else None
        if state is ApplicationState.RUNNING:
            return app
        message = (app.app_status.message if app.app_status else "") or ""
        if state is ApplicationState.CRASHED:
            raise NotWell(f"The app crashed: {message} Read its log: databricks apps logs {name}")
        if time.monotonic() >= deadline:
            shown = state.value if state else "not started"
            raise NotWell(
                f"The app is {shown} after {timeout_s:.0f} s: {message} Start it with: databricks bundle run forecast"
            )
        say(f"waiting for the app: {state.value if state else 'not started'}")
        time.sleep(min(_LOOK_EVERY_S, max(0.1, deadline - time.monotonic())))


def check_health(client: WorkspaceClient, app: App, *, timeout_s: float, say: Callable[[str], None]) -> str:
    """Ask the app how it is until its self-check is done; returns what it said, in words.

    Raises:
        NotWell: it does not answer within the time, or something does not work.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        problem, answer = _asked(client, f"{(app.url or '').rstrip('/')}{HEALTH}")
        if answer is not None and answer["self_check"]["status"] != "running":
            return _verdict(answer)
        if time.monotonic() >= deadline:
            raise NotWell(problem or "The app's self-check is still running; look at its Admin page.")
        say(problem or "waiting for the app's self-check")
        time.sleep(min(_LOOK_EVERY_S, max(0.1, deadline - time.monotonic())))


def _asked(client: WorkspaceClient, url: str) -> tuple[str, dict[str, Any] | None]:
    """What is the matter, or the answer."""
    try:
        response = requests.get(url, headers=client.config.authenticate(), timeout=_REQUEST_S, allow_redirects=False)
        answer = response.json() if response.status_code in {200, 503} else None
    except requests.exceptions.RequestException as exc:  # what is no JSON, too
        return f"{url} does not answer: {exc}", None
    if answer is None and response.status_code in {301, 302, 401, 403}:
        return (
            f"{url} does not let this login in ({response.status_code}). An app takes OAuth tokens only: "
            "databricks auth login, and CAN_USE on the app."
        ), None
    if answer is None or "self_check" not in answer:
        return f"{url} answers {response.status_code}, and not as this app does.", None
    return "", answer


def _verdict(answer: dict[str, Any]) -> str:
    failing = list(answer["self_check"].get("failing", ()))
    if answer["store"] != "ok":
        failing.append("job store")
    if answer["reconciler"]["status"] != "ok":
        failing.append(f"reconciler, since {answer['reconciler']['failing_since']}")
    if failing:
        raise NotWell(f"Not well: {', '.join(dict.fromkeys(failing))}. The app's Admin page says what mends each.")
    return "the app is well: every part of its self-check passed"
