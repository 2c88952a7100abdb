"""What can be made to go wrong on the REST side. A test sets it on ``workspace.faults``."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from dataclasses import dataclass

from tests.support.workspace.rest_http import ApiError, Dropped, Request

_CODES = {
    401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 429: "REQUEST_LIMIT_EXCEEDED", 500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
}  # fmt: skip


@dataclass
class _Rule:
    pattern: re.Pattern[str]
    times: int
    error: Exception
    is_after: bool


class Faults:
    """Switches for the next requests, and a count of all requests by path.

    Attributes:
        latency_s: added to every answer.
        is_down: connections are closed without an answer, as by a host that is down.
    """

    def __init__(self) -> None:
        self.latency_s = 0.0
        self.is_down = False
        self.calls: Counter[str] = Counter()
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()

    def answer(
        self, status: int, *, on: str = "/api/", times: int = 1, message: str = "", retry_after_s: int | None = None
    ) -> None:
        """The next requests whose path holds the pattern ``on`` are refused with this status, unseen by the API."""
        error = ApiError(status, _CODES[status], message or f"fault injected: {status}", retry_after_s=retry_after_s)
        self._add(_Rule(re.compile(on), times, error, is_after=False))

    def lose_answer(self, *, on: str, times: int = 1) -> None:
        """The next such requests take effect, and their connection breaks before the answer."""
        self._add(_Rule(re.compile(on), times, Dropped(), is_after=True))

    def lose_request(self, *, on: str, times: int = 1) -> None:
        """The next such requests never arrive."""
        self._add(_Rule(re.compile(on), times, Dropped(), is_after=False))

    def clear(self) -> None:
        """All is well again; counts begin anew."""
        with self._lock:
            self._rules.clear()
            self.calls.clear()
        self.latency_s, self.is_down = 0.0, False

    def before(self, request: Request) -> None:
        """Called with every request before it is looked at."""
        with self._lock:
            self.calls[request.path] += 1
        if self.latency_s:
            time.sleep(self.latency_s)
        if self.is_down:
            raise Dropped
        self._apply(request, is_after=False)

    def after(self, request: Request) -> None:
        """Called with every request that took effect, before it is answered."""
        self._apply(request, is_after=True)

    def _add(self, rule: _Rule) -> None:
        with self._lock:
            self._rules.append(rule)

    def _apply(self, request: Request, *, is_after: bool) -> None:
        with self._lock:
            for rule in self._rules:
                if rule.is_after is is_after and rule.times > 0 and rule.pattern.search(request.path):
                    rule.times -= 1
                    raise rule.error
