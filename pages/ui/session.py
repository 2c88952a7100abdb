"""Who is looking, and the runtime they look through: the one place where pages learn either."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from services import bootstrap
from services.bootstrap import Runtime
from services.domain.access import User
from services.domain.errors import LoginRefused
from services.domain.login import Login


def runtime() -> Runtime:
    """The runtime that the server's lifespan built."""
    return bootstrap.current()


def current_user() -> User:
    """The person in front of this browser.

    Raises:
        NotAllowed: inside Databricks Apps without the proxy's word.
    """
    return runtime().identity.user(st.context.headers)


def as_of_now(arguments: Iterable[Any]) -> tuple[Any, ...]:
    """What a page was drawn with, with its user as they are now: rights may have gone since."""
    return tuple(current_user() if isinstance(argument, User) else argument for argument in arguments)


def current_login() -> Login:
    """With whose rights tables are read for the person in front of this browser.

    Raises:
        LoginRefused: inside Databricks Apps without a token.
    """
    return runtime().identity.login(st.context.headers)


def login_or_none() -> Login | None:
    """The person's login where there is one: most of what is done needs none."""
    try:
        return current_login()
    except LoginRefused:
        return None


def timezone() -> tzinfo:
    """The browser's time zone; UTC until the browser has told it."""
    name = st.context.timezone
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
