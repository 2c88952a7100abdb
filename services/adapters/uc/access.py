"""The way to a workspace in the name of one person, for one call.

Connections are not kept: one belongs to a token, and a pool of them would have to know whose each is. Opening one
costs a few tens of milliseconds.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Final

from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config

from services.adapters.databricks.workspace import PRODUCT, NotConfigured
from services.adapters.delta.warehouse import Connect, Patience, connector
from services.domain.login import Login

_CREDENTIALS: Final = frozenset(
    {"access_token", "credentials_provider", "auth_type", "oauth_client_id", "oauth_redirect_port", "username"}
)


class WorkspaceAccess:
    """Clients of a workspace by login.

    Args:
        host: of the workspace; the SDK's own search where it is empty.
        warehouse_id: as in the warehouse's URL.
        extra: further arguments of ``databricks.sql.connect``; credentials among them are left out, for they would
            be somebody else's.
        patience: how long anything may take.
    """

    def __init__(self, *, host: str, warehouse_id: str, extra: Mapping[str, Any], patience: Patience) -> None:
        self.warehouse_id = warehouse_id
        self._host = host
        self._extra = {name: value for name, value in extra.items() if name not in _CREDENTIALS}
        self._patience = patience
        self._lock = threading.Lock()
        self._own: Config | None = None

    def rest(self, login: Login) -> WorkspaceClient:
        """A client of the REST API.

        Raises:
            NotConfigured: the SDK finds no way to log in.
        """
        return WorkspaceClient(config=self._own_config() if login.is_own else self._config(login))

    def sql(self, login: Login) -> Connect:
        """How to connect to the warehouse.

        Raises:
            NotConfigured: the SDK finds no way to log in.
        """
        if login.is_own:
            config = self._own_config()
            ours: dict[str, Any] = {"server_hostname": config.hostname}
            ours["credentials_provider"] = lambda: config.authenticate
        else:
            ours = {"server_hostname": self._host.partition("://")[2] or self._host, "access_token": login.reveal()}
        ours["http_path"] = f"/sql/1.0/warehouses/{self.warehouse_id}"
        return connector({**ours, **self._extra}, self._patience)

    def _own_config(self) -> Config:
        with self._lock:
            if self._own is None:
                self._own = self._made({})
            return self._own

    def _config(self, login: Login) -> Config:
        """``auth_type`` keeps the SDK from looking at the app's own credentials in the environment."""
        return self._made({"token": login.reveal(), "auth_type": "pat"})

    def _made(self, credentials: Mapping[str, Any]) -> Config:
        bound = int(self._patience.request_s)
        try:
            return Config(
                host=self._host or None,
                retry_timeout_seconds=bound,
                http_timeout_seconds=bound,
                product=PRODUCT,
                **credentials,
            )
        except ValueError as exc:
            raise NotConfigured(str(exc)) from exc
