"""``python -m tools.deploy --app NAME``: after a deploy of the bundle, give what is missing and look whether it works.

May be run as often as wanted: it looks first, adds only what is missing, and replaces no list of permissions.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from databricks.sdk.errors import NotFound, PermissionDenied
from databricks.sdk.service.apps import App

from tools.bundle.tree import Unreadable
from tools.deploy.health import NotWell, check_health, running_app
from tools.deploy.needs import Entitlement, Grant, Need, bound_needs, volume_of
from tools.deploy.outside import read_outside

ROOT: Final = Path(__file__).resolve().parents[2]
_RETRY_S: Final = 60


def main(arguments: list[str] | None = None, *, root: Path = ROOT) -> int:
    """Print each right and what was done about it; 0 when nothing is missing and the app is well."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.deploy",
        description="Finish a deploy: grants outside the bundle, then a health check of the app.",
    )
    parser.add_argument(
        "--app", required=True, type=_name, help="name of the app, as in the bundle's variable app_name"
    )
    parser.add_argument("--profile", help="profile of the Databricks CLI; without it the SDK's usual variables")
    parser.add_argument("--dry-run", action="store_true", help="look and tell, change nothing, don't wait")
    parser.add_argument("--timeout", type=float, default=600, help="seconds to wait for the app (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        client = WorkspaceClient(config=Config(profile=options.profile, retry_timeout_seconds=_RETRY_S))
        app = client.apps.get(options.app)
        needs = list(all_needs(client, app, root))
    except NotFound:
        return _fail(f"There is no app {options.app!r} in this workspace. Deploy it first: databricks bundle deploy")
    except PermissionDenied as exc:
        return _fail(
            f"You may not see the app {options.app!r}: {_first_line(exc)} Whoever deployed it gives CAN_MANAGE."
        )
    except (Unreadable, ValueError) as exc:
        return _fail(str(exc))
    except OSError as exc:
        return _fail(f"The workspace does not answer: {_first_line(exc)} Look at DATABRICKS_HOST, or try again.")
    n_missing = sum(not provided(client, need, is_dry_run=options.dry_run) for need in needs)
    if options.dry_run:
        _say(f"dry run: {n_missing} of {len(needs)} rights are missing, nothing was changed")
        return 0
    try:
        app = running_app(client, options.app, timeout_s=options.timeout, say=_say)
        _say(check_health(client, app, timeout_s=options.timeout, say=_say))
    except NotWell as exc:
        return _fail(str(exc))
    return _fail(f"{n_missing} rights are still missing, see above") if n_missing else 0


def _name(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; say which app: make finish-deploy APP=<app name>")
    return text.strip()


def all_needs(client: WorkspaceClient, app: App, root: Path) -> Iterator[Need]:
    """What the app's principal needs beyond the bundle, and what a deploy of the bundle may have taken away.

    Raises:
        ValueError: the app has no volume, so that it is not this one.
    """
    volume = volume_of(app)
    if volume is None or not app.service_principal_client_id:
        raise ValueError(f"the app {app.name} is bound to no volume: it was not deployed from this bundle")
    principal = app.service_principal_client_id
    outside = read_outside(
        root,
        {
            "var.catalog": volume.split(".")[0],
            "resources.apps.forecast.service_principal_client_id": principal,
        },
    )
    for kind, name, privilege in outside.grants:
        yield Grant(principal=principal, kind=kind, name=name, privilege=privilege)
    for entitlement in outside.entitlements:
        yield Entitlement(principal_id=str(app.service_principal_id), entitlement=entitlement)
    yield from bound_needs(client, app)


def provided(client: WorkspaceClient, need: Need, *, is_dry_run: bool) -> bool:
    """Whether the right is there in the end; prints what was found and done."""
    try:
        if need.is_met(client):
            _say(f"has        {need.what}")
            return True
        if is_dry_run:
            _say(f"would give {need.what}")
            return False
        need.meet(client)
    except OSError as exc:  # every error of the SDK is one
        _say(f"CAN'T GIVE {need.what}: {_first_line(exc)} By hand: {need.by_hand}")
        return False
    _say(f"gave       {need.what}")
    return True


def _first_line(exc: OSError) -> str:
    return next(iter(str(exc).splitlines()), type(exc).__name__)


def _say(text: str) -> None:
    print(text, flush=True)


def _fail(text: str) -> int:
    print(text, file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
