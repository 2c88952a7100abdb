"""The test workspace by hand: ``python -m tests.support.workspace [FOLDER]``. Says how to point the app at it."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from pathlib import Path

from tests.support.workspace.rest_workspace import RestWorkspace

_PORT = 8765


def main(folder: str = ".finance_forecast/workspace") -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with RestWorkspace(Path(folder).absolute(), port=_PORT).running() as workspace:
        workspace.runs.start_s, workspace.runs.install_s = 5.0, 2.0  # as on a cluster, only shorter
        print("A workspace on loopback. In another shell:\n")
        for name, value in {
            **workspace.app_environment,
            "ENABLE_CLUSTER_DELEGATION": "true",
            "FORECAST_VOLUME": workspace.volume,
        }.items():
            print(f"  export {name}={value}")
        print("  make run\n\nCtrl-C ends it, with all its runs.", flush=True)
        ended.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
