"""Who is looking, and the runtime they look through: the one place where pages learn either."""

from __future__ import annotations

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from services import bootstrap
from services.bootstrap import Runtime
from services.domain.access import LOCAL_USER, User
from services.domain.errors import LoginRefused, NotAllowed
from services.domain.login import OWN_LOGIN, SCOPES, Login


def runtime() -> Runtime:
    """The runtime that the server's lifespan built."""
    return bootstrap.current()


def current_user() -> User:
    """The person in front of this browser.

    Inside Databricks Apps the proxy says who it is, in headers it sets itself; they mean nothing elsewhere, where
    anybody could send them. On one machine it is its only user.

    Raises:
        NotAllowed: inside Databricks Apps without the proxy's word.
    """
    settings = runtime().settings
    if not settings.databricks_app_name:
        return LOCAL_USER
    name = (st.context.headers.get("X-Forwarded-Email") or "").strip().lower()
    if not name:
        raise NotAllowed("use this app", "people signed in through Databricks")
    return User(name=name, is_admin=name in {admin.lower() for admin in settings.admin_users})


def current_login() -> Login:
    """With whose rights tables are read for the person in front of this browser.

    Inside Databricks Apps with the token that the proxy forwards, and never with the app's own login; elsewhere the
    login of this process is its only user's.

    Raises:
        LoginRefused: inside Databricks Apps without a token.
    """
    if not runtime().settings.databricks_app_name:
        return OWN_LOGIN
    token = (st.context.headers.get("X-Forwarded-Access-Token") or "").strip()
    if not token:
        raise LoginRefused(
            "This app has no user authorization, so it can't read tables in your name.",
            remedy=f"Ask an admin of the app to add the scopes {', '.join(SCOPES[:-1])} and {SCOPES[-1]} to it, then "
            "reload the page.",
        )
    return Login(token)


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
