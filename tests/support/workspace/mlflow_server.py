"""MLflow's own server as a child process: ``python -m tests.support.workspace.mlflow_server FOLDER ARTIFACT_ROOT``.

Prints its port once it listens, and ends when its standard input does, so that it never outlives who started it.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path


def main(folder: str, artifact_root: str) -> None:
    store = f"sqlite:///{Path(folder).absolute()}/mlflow.db"
    os.environ |= {
        "_MLFLOW_SERVER_FILE_STORE": store,
        "_MLFLOW_SERVER_REGISTRY_STORE": store,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": artifact_root,
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true",  # it is asked by its proxy only
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    from mlflow.server import app
    from mlflow.server.handlers import _get_tracking_store
    from werkzeug.serving import make_server

    _get_tracking_store()  # migrations take seconds: not in the first request
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
