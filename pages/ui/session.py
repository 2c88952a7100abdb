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


def timezone() -> tzinfo:
    """The browser's time zone; UTC until the browser has told it."""
    name = st.context.timezone
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
