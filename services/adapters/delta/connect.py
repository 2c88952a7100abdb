"""From the app's settings to a warehouse: where it is and who we are there."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from databricks.sdk.core import Config
from databricks.sql.client import Connection

from services.adapters.delta.warehouse import Connect, Patience, connector
from services.domain.errors import StoreUnavailable


def workspace_connector(warehouse_id: str, extra: Mapping[str, Any], patience: Patience) -> Connect:
    """Connect as the app itself, by the workspace and the credentials that the environment names.

    Inside Databricks Apps these are the app's service principal; elsewhere whatever the SDK finds. The environment is
    read at the first connection, because the SDK may ask the workspace for more.

    Args:
        warehouse_id: as in the warehouse's URL.
        extra: further arguments of ``databricks.sql.connect``, which come before these. With an ``access_token`` among
            them nothing is read from the environment.
        patience: see ``Patience``.
    """
    path = f"/sql/1.0/warehouses/{warehouse_id}"
    if "access_token" in extra:
        return connector({"http_path": path, **extra}, patience)
    return _Workspace(path, extra, patience)


class _Workspace:
    """Opens connections once it knows the workspace."""

    def __init__(self, path: str, extra: Mapping[str, Any], patience: Patience) -> None:
        self._path = path
        self._extra = extra
        self._patience = patience
        self._lock = threading.Lock()
        self._known: Connect | None = None

    def __call__(self) -> Connection:
        with self._lock:
            if self._known is None:
                self._known = self._find()
        return self._known()

    def _find(self) -> Connect:
        bound = int(self._patience.request_s)
        try:
            config = Config(http_timeout_seconds=bound, retry_timeout_seconds=bound)
        except ValueError as exc:
            raise StoreUnavailable(
                f"The workspace of the job store can't be found: {exc} Set DATABRICKS_HOST and credentials, or leave "
                "STATE_STORE_TYPE out."
            ) from exc
        ours = {
            "server_hostname": config.hostname,
            "http_path": self._path,
            "credentials_provider": lambda: config.authenticate,
        }
        return connector({**ours, **self._extra}, self._patience)
