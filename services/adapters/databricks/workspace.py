"""The way to a Databricks workspace, opened once and late, with every wait bounded.

Left to itself the SDK retries for five minutes while a host is down. A page or the reconciler can't wait that
long, so each call has a budget of seconds and what fails is asked again at the next look.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from databricks.sdk.errors import (
    BadRequest,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    TooManyRequests,
    Unauthenticated,
)
from databricks.sdk.errors.base import DatabricksError

from services.domain.errors import SubmissionRefused, Unavailable
from services.domain.platform_words import missing_grant

PRODUCT: Final = "finance-forecast"
_REFUSALS: Final = (BadRequest, NotFound, PermissionDenied, Unauthenticated)

API_ERRORS: Final = OSError
"""The SDK's own errors, its TimeoutError at the end of its budget, and those of requests beneath it."""
_CONFIG: Final = ". Config: "  # the SDK adds its configuration to refusals


class NotConfigured(OSError):
    """The SDK finds no way to log in."""


class Workspace:
    """A workspace client made by the first use.

    Args:
        configure: makes the SDK's configuration; may ask the host for its metadata, and block while it is down.
    """

    def __init__(self, configure: Callable[[], Config]) -> None:
        self._configure = configure
        self._lock = threading.Lock()
        self._client: WorkspaceClient | None = None

    @classmethod
    def by_environment(cls, *, retry_timeout_s: int, http_timeout_s: float) -> Workspace:
        """The workspace that the SDK's own variables name, as Databricks Apps sets them."""
        return cls(
            lambda: Config(retry_timeout_seconds=retry_timeout_s, http_timeout_seconds=http_timeout_s, product=PRODUCT)
        )

    @classmethod
    def by_token(cls, token: str, *, retry_timeout_s: int, http_timeout_s: float) -> Workspace:
        """That workspace as the person sees it to whom a token belongs, not as the app."""
        return cls(
            lambda: Config(
                token=token,
                auth_type="pat",
                retry_timeout_seconds=retry_timeout_s,
                http_timeout_seconds=http_timeout_s,
                product=PRODUCT,
            )
        )

    @property
    def is_ready(self) -> bool:
        """Whether a call would be sent without asking for the host's metadata first."""
        return self._client is not None

    @property
    def client(self) -> WorkspaceClient:
        """The client; raises one of ``API_ERRORS`` when none can be made now."""
        with self._lock:
            if self._client is None:
                try:
                    self._client = WorkspaceClient(config=self._configure())
                except ValueError as exc:
                    raise NotConfigured(str(exc)) from exc
            return self._client

    @contextmanager
    def use(self, action: str, error: type[Unavailable], *, needs: str = "") -> Iterator[WorkspaceClient]:
        """The client; what goes wrong in the block becomes an error of ours.

        Args:
            action: what is done, to follow "could not".
            error: of the port.
            needs: the grants it takes and who can give them, said when Databricks forbids it and names none.
        """
        try:
            yield self.client
        except FileNotFoundError:  # of the port, not of the API
            raise
        except API_ERRORS as exc:
            lacks = (missing_grant(str(exc)) or needs) if isinstance(exc, PermissionDenied) else ""
            raise error(f"Databricks could not {action}: {reason_of(exc)}. {lacks}".strip()) from exc


def reason_of(exc: BaseException) -> str:
    """What Databricks said, without a full stop; behind a spent budget, why the last try failed."""
    if isinstance(exc, TimeoutError) and exc.__cause__ is not None:
        return reason_of(exc.__cause__)
    text = str(exc).partition(_CONFIG)[0].strip() or type(exc).__name__
    return text.splitlines()[0].rstrip(".")


def refusal(exc: BaseException) -> SubmissionRefused | None:
    """The refusal that an error means; ``None`` when asking again may help."""
    if not isinstance(exc, DatabricksError):
        return None
    text = str(exc)
    is_quota = isinstance(exc, ResourceExhausted) and "quota" in text.lower()
    if not is_quota and (isinstance(exc, TooManyRequests) or not isinstance(exc, _REFUSALS)):
        return None
    if isinstance(exc, Unauthenticated):
        remedy = "The app's service principal can't log in: check its client id and secret."
    elif is_quota:
        remedy = "A workspace admin can raise the quota, or wait until other runs have ended."
    else:
        remedy = missing_grant(text) or (
            "Ask a workspace admin what the app's service principal lacks."
            if isinstance(exc, PermissionDenied)
            else "Check the compute settings of the app."
        )
    return SubmissionRefused(reason_of(exc), remedy=remedy, is_config=isinstance(exc, (BadRequest, NotFound)))
