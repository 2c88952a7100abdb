"""Who is looking, and with whose rights tables are read for them: the one place that reads the headers of a request.

Inside Databricks Apps the proxy says who it is, in headers it sets itself. They mean nothing elsewhere, where
anybody could send them: the user of one machine is its only user, and its admin.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from services.domain.access import LOCAL_USER, User, user_name
from services.domain.errors import DirectoryUnavailable, LoginRefused, NotAllowed
from services.domain.login import OWN_LOGIN, SCOPES, Login
from services.ports import Groups

logger = logging.getLogger(__name__)

NAME: Final = "X-Forwarded-Email"
TOKEN: Final = "X-Forwarded-Access-Token"  # noqa: S105  a header's name
KEPT_S: Final = 300.0  # somebody who leaves the group is an admin for no longer than this
ASK_AGAIN_S: Final = 30.0  # after a question without an answer; every rerun of a page would wait for it otherwise
MAX_KEPT: Final = 2_000
_AT_ONCE: Final = 32  # people whose first question is asked at the same time


@dataclass(frozen=True, slots=True)
class _Answer:
    is_member: bool
    doubt: str
    until: float


class Identity:
    """Turns the headers of a request into a user and their login.

    Args:
        is_behind_proxy: runs inside Databricks Apps.
        admin_users: names of admins.
        admin_group: whose members are admins too.
        groups: asked for them, never more often than every few minutes for a person and their token.
        seconds: a clock that never goes back.
    """

    def __init__(
        self,
        *,
        is_behind_proxy: bool = False,
        admin_users: Iterable[str] = (),
        admin_group: str | None = None,
        groups: Groups | None = None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_behind_proxy = is_behind_proxy
        self._admins = frozenset(name for given in admin_users if (name := user_name(given)))
        self._group = admin_group
        self._groups = groups
        self._seconds = seconds
        self._known: dict[tuple[str, str], _Answer] = {}
        self._lock = threading.Lock()
        self._asking = tuple(threading.Lock() for _ in range(_AT_ONCE))

    def user(self, headers: Mapping[str, str]) -> User:
        """The person a request comes from.

        Args:
            headers: whose keys are found in any case.

        Raises:
            NotAllowed: the proxy did not say who it is.
        """
        if not self._is_behind_proxy:
            return LOCAL_USER
        name = user_name(headers.get(NAME))
        if not name:
            raise NotAllowed("use this app", "people signed in through Databricks")
        if name in self._admins:
            return User(name=name, is_admin=True)
        if self._group is None or self._groups is None:
            return User(name=name)
        answer = self._answer(self._groups, self._group, name, _token(headers))
        return User(name=name, is_admin=answer.is_member, doubt=answer.doubt)

    def login(self, headers: Mapping[str, str]) -> Login:
        """With whose rights tables are read for the person a request comes from.

        Inside Databricks Apps with the token that the proxy forwards, and never with the app's own login; elsewhere
        the login of this process is its only user's.

        Raises:
            LoginRefused: inside Databricks Apps without a token.
        """
        if not self._is_behind_proxy:
            return OWN_LOGIN
        token = _token(headers)
        if token is None:
            raise LoginRefused(
                "This app has no user authorization, so it can't read tables in your name.",
                remedy=f"Ask an admin of the app to add the scopes {', '.join(SCOPES[:-1])} and {SCOPES[-1]} to it, "
                "then reload the page.",
            )
        return Login(token)

    def _answer(self, groups: Groups, group: str, name: str, token: str | None) -> _Answer:
        """What is known of a person with this very token, or what the workspace says now."""
        key = (name, "" if token is None else sha256(token.encode()).hexdigest())
        with self._asking[hash(key) % _AT_ONCE]:
            known = self._known.get(key)
            if known is None or known.until <= self._seconds():
                known = self._ask(groups, group, name, token)
                self._keep(key, known)
            return known

    def _ask(self, groups: Groups, group: str, name: str, token: str | None) -> _Answer:
        try:
            is_member = groups.is_member(name, group, token=token)
        except DirectoryUnavailable as exc:
            logger.warning("Not known whether %s is in the group of admins, so taken for none: %s", name, exc)
            doubt = f"It could not be checked whether you are an admin, so here you are none for now. {exc}"
            return _Answer(False, doubt, self._seconds() + ASK_AGAIN_S)
        return _Answer(is_member, "", self._seconds() + KEPT_S)

    def _keep(self, key: tuple[str, str], answer: _Answer) -> None:
        with self._lock:
            self._known.pop(key, None)  # so that the oldest answer comes first
            while len(self._known) >= MAX_KEPT:
                del self._known[next(iter(self._known))]
            self._known[key] = answer


def _token(headers: Mapping[str, str]) -> str | None:
    """The person's own, where the proxy forwards one."""
    return (headers.get(TOKEN) or "").strip() or None
