"""What the workspace's refusals mean to the person who asked: what is missing, and who can give it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from databricks.sdk.errors import BadRequest, NotFound, PermissionDenied, Unauthenticated

from services.adapters.databricks.workspace import NotConfigured, reason_of
from services.adapters.delta.trouble import RAISED, Trouble, is_forbidden, is_unauthorized, trouble_of
from services.domain.errors import LoginRefused, TableRefused, TablesUnavailable
from services.domain.login import Login
from services.domain.platform_words import missing_grant

_SCOPES: Final = re.compile(r"required scopes?:? *\[?([\w.:, -]+)", re.IGNORECASE)
_TOKEN: Final = re.compile(r"token\b.{0,30}\b(?:expired|invalid)|(?:expired|invalid) .*token", re.IGNORECASE)
_TAIL: Final = re.compile(r"\s*SQLSTATE: ?\w{5}.*", re.DOTALL)
_CHECK: Final = "Check the name; what you may not see is not there for you."


@contextmanager
def explained(action: str, login: Login, *, warehouse_id: str = "") -> Iterator[None]:
    """What the SDK or the connector raises in the block becomes an error of ours.

    Args:
        action: what is done, to follow "could not".
        login: whose rights are asked for.
        warehouse_id: of the warehouse that is asked; empty when it is the REST API.
    """
    try:
        yield
    except NotConfigured as exc:
        raise LoginRefused(
            f"There is no login to Databricks: {reason_of(exc)}.", remedy="Set DATABRICKS_HOST and a way to log in."
        ) from exc
    except Unauthenticated as exc:
        raise _ended(login) from exc
    except PermissionDenied as exc:
        raise _refused(action, reason_of(exc), login) from exc
    except (NotFound, BadRequest) as exc:
        raise TableRefused(f"Databricks could not {action}: {_said(exc)}.", remedy=_CHECK) from exc
    except RAISED as exc:
        if not warehouse_id:
            raise TablesUnavailable(f"Databricks could not {action}: {_said(exc)}.") from exc
        raise _of_warehouse(action, exc, login, warehouse_id) from exc


def _of_warehouse(action: str, exc: BaseException, login: Login, warehouse_id: str) -> TableRefused | TablesUnavailable:
    text = str(exc)
    if is_unauthorized(exc):
        return _ended(login)
    if is_forbidden(exc):  # the warehouse itself is closed to the person, whatever the statement
        return _refused(action, f"{text} User does not have CAN USE on SQL warehouse '{warehouse_id}'.", login)
    match trouble_of(exc):
        case Trouble.FORBIDDEN:
            return _refused(action, text, login)
        case Trouble.MISSING:
            return TableRefused(f"Databricks could not {action}: {_said(exc)}.", remedy=_CHECK)
        case Trouble.REFUSED | Trouble.COLUMN_EXISTS:
            return TableRefused(f"Databricks could not {action}: {_said(exc)}.")
        case Trouble.CONFLICT | Trouble.SESSION_GONE | Trouble.NO_ANSWER:
            return TablesUnavailable(
                f"Databricks could not {action}: the SQL warehouse {warehouse_id} did not answer in time. It may be "
                "starting, which takes up to some minutes, or be busy."
            )


def _refused(action: str, text: str, login: Login) -> TableRefused:
    if scopes := _SCOPES.search(text):
        return LoginRefused(
            f"Databricks could not {action}: this app may not do that for its users.",
            remedy=f"Ask an admin of the app to add the scope {scopes[1].strip(' .,')} to its user authorization, then "
            "reload the page.",
        )
    if _TOKEN.search(text):
        return _ended(login)
    grant = missing_grant(text, whom=login.whom)
    return TableRefused(
        f"{login.whom[0].upper()}{login.whom[1:]} may not {action}.",
        remedy=grant or f"Databricks says: {_short(text)}. Ask the owner of the table or a workspace admin.",
    )


def _ended(login: Login) -> LoginRefused:
    if login.is_own:
        return LoginRefused(
            "Databricks does not accept the login of this app any more.", remedy="Log in again, then restart the app."
        )
    return LoginRefused(
        "Your sign-in to Databricks has run out; it is good for an hour.",
        remedy="Reload the page in the browser, which brings a new one.",
    )


def _said(exc: BaseException) -> str:
    return _short(reason_of(exc))


def _short(text: str) -> str:
    return _TAIL.sub("", next(iter(text.strip().splitlines()), "")).rstrip(". ")
