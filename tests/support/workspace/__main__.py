"""The test workspace by hand: ``python -m tests.support.workspace [--app]``.

Alone it says how to point an app at it. With ``--app`` it also starts the app, as Databricks Apps does: behind a proxy
that says who is looking, with a port for each of two users.
"""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.workspace.apps_proxy import AppsProxy
from tests.support.workspace.loopback import LoopbackWorkspace
from tests.support.workspace.rest_identity import APP_CLIENT_ID

ROOT = Path(__file__).resolve().parents[3]
PORT, SQL_PORT = 8765, 8766
ADMIN, ANALYST = "admin@example.com", "analyst@example.com"
ADMINS = "forecast-admins"
TABLE = "samples.retail.turnover"
_GRACE_S = 15  # from SIGTERM to SIGKILL, as on the platform


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.workspace", description=__doc__)
    parser.add_argument("--app", action="store_true", help="start the app on it too")
    parser.add_argument("--folder", type=Path, default=ROOT / ".finance_forecast" / "workspace", metavar="DIR")
    parser.add_argument("--port", type=int, default=8501, help="of the app for its admin; the next is an analyst's")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        workspace = LoopbackWorkspace(args.folder.absolute(), port=PORT, sql_port=SQL_PORT)
        with workspace.running():
            _fill(workspace)
            workspace.rest.runs.start_s, workspace.rest.runs.install_s = 5.0, 2.0  # as on a cluster, only shorter
            return _run_app(workspace, args.port, ended) if args.app else _explain(workspace, ended)
    except OSError as exc:
        sys.exit(f"The test workspace can't start: {exc}. Is another one running, or one of its ports in use?")


def _fill(workspace: LoopbackWorkspace) -> None:
    """A group of admins, and a table that the analyst may read and the admin, who lacks the grant, may not."""
    workspace.rest.identity.groups[ADMINS].add(ADMIN)
    rows = pq.read_table(ROOT / "services" / "samples" / "australian_retail.parquet")
    months = rows.schema.get_field_index("Month")
    workspace.catalog.put(TABLE, rows.set_column(months, "Month", rows["Month"].cast(pa.date32())))
    for reader in (ANALYST, APP_CLIENT_ID):  # the app, so that its runs can read the table where it is
        workspace.catalog.grant_read(reader, TABLE)


def _explain(workspace: LoopbackWorkspace, ended: threading.Event) -> int:
    print("A workspace on loopback. In another shell:\n")
    for name, value in workspace.app_environment.items():
        print(f"  export {name}={shlex.quote(value)}")
    print(f"  make run\n\nCtrl-C ends it, with all its runs. What it keeps is in {workspace.folder}", flush=True)
    ended.wait()
    return 0


def _run_app(workspace: LoopbackWorkspace, port: int, ended: threading.Event) -> int:
    app_port = _free_port()
    environment = workspace.app_environment | {
        "DATABRICKS_APP_NAME": "finance-forecast",
        "DATABRICKS_APP_PORT": str(app_port),
        "ADMIN_GROUP": ADMINS,
        "FORECAST_HOME": str(workspace.folder / "app"),
        # As Databricks Apps sets them.
        "STREAMLIT_SERVER_PORT": str(app_port),
        "STREAMLIT_SERVER_ADDRESS": "127.0.0.1",
        "STREAMLIT_SERVER_HEADLESS": "true",
        "STREAMLIT_SERVER_ENABLE_CORS": "false",
        "STREAMLIT_SERVER_ENABLE_XSRF_PROTECTION": "false",
        "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
    }
    with ExitStack() as stack:
        app = stack.enter_context(_app(environment))
        while not _listens(app_port) and app.poll() is None and not ended.wait(0.2):
            pass  # so that our lines come after the app's own, whose address is not for people
        print("The app in cluster mode, on a workspace on loopback, as two people see it:\n")
        for user, at in ((ADMIN, port), (ANALYST, port + 1)):
            proxy = stack.enter_context(AppsProxy(f"http://127.0.0.1:{app_port}", user, port=at).running())
            print(f"  {proxy.url}  {user}")
        print(f"\nCtrl-C ends both, with all runs. What they keep is in {workspace.folder}", flush=True)
        while not ended.wait(0.5):
            if (status := app.poll()) is not None:
                return status
    return 0


@contextmanager
def _app(environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The app; in a session of its own, so that Ctrl-C reaches it through us, and once."""
    process = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "app.py"],
        cwd=ROOT, env={**os.environ, **environment}, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
