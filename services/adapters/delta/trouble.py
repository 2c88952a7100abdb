"""What an error of the SQL connector means for us: try again, open a new session, or tell somebody.

The connector raises the same few classes for everything, so the text decides; error classes such as
``DELTA_CONCURRENT_APPEND`` are documented and stable
(https://docs.databricks.com/aws/en/error-messages/error-classes).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from databricks.sql.exc import Error, InterfaceError, RequestError
from urllib3.exceptions import HTTPError

from services.domain.errors import StoreUnavailable

RAISED: Final = (Error, HTTPError, OSError)
"""Every class that the connector lets out: its own, and those of its transport."""

_CONFLICT: Final = re.compile(
    r"DELTA_(CONCURRENT_|METADATA_CHANGED|PROTOCOL_CHANGED)|Concurrent\w+Exception|(Metadata|Protocol)ChangedException"
)
_SESSION: Final = re.compile(r"Invalid SessionHandle|Session \[\S+\] is closed", re.IGNORECASE)
_FORBIDDEN: Final = re.compile(r"INSUFFICIENT_PERMISSIONS|PERMISSION_DENIED|does not have .* on ", re.IGNORECASE)
_MISSING: Final = re.compile(r"TABLE_OR_VIEW_NOT_FOUND|(SCHEMA|CATALOG)_NOT_FOUND|NO_SUCH_CATALOG")
_COLUMN: Final = re.compile(r"(FIELDS?|COLUMN)_ALREADY_EXISTS")
_TIMEOUT: Final = re.compile(r"timed out|STATEMENT_TIMEOUT|OPERATION_CANCELED", re.IGNORECASE)
_SQLSTATE: Final = re.compile(r"SQLSTATE: ?[0-9A-Z]{5}")


class TableMissing(StoreUnavailable):
    """A table, its schema or its catalog is not there."""


class ColumnExists(StoreUnavailable):
    """A column that a statement adds is there already."""


class Trouble(StrEnum):
    """What to do about an error."""

    CONFLICT = "conflict"  # another commit came between: nothing was written, try again
    SESSION_GONE = "session gone"  # idled too long: nothing was written, try again in a new session
    NO_ANSWER = "no answer"  # network, overload or a warehouse that starts: written or not, nobody knows
    MISSING = "missing"  # no such table, schema or catalog
    COLUMN_EXISTS = "column exists"  # added before
    FORBIDDEN = "forbidden"  # a grant or a valid token is missing
    REFUSED = "refused"  # the statement itself; trying again changes nothing

    @property
    def may_pass(self) -> bool:
        """Whether the same statement may succeed a moment later."""
        return self in {Trouble.CONFLICT, Trouble.SESSION_GONE, Trouble.NO_ANSWER}

    @property
    def spoils_the_connection(self) -> bool:
        """Whether the connection it came over is of no more use."""
        return self in {Trouble.SESSION_GONE, Trouble.NO_ANSWER}


_KINDS: Final = {Trouble.MISSING: TableMissing, Trouble.COLUMN_EXISTS: ColumnExists}


def trouble_of(exc: BaseException) -> Trouble:
    """What an error of the connector means."""
    text = str(exc)
    if _CONFLICT.search(text):
        return Trouble.CONFLICT
    if _SESSION.search(text) or isinstance(exc, InterfaceError):
        return Trouble.SESSION_GONE
    if _MISSING.search(text):
        return Trouble.MISSING
    if _COLUMN.search(text):
        return Trouble.COLUMN_EXISTS
    if _FORBIDDEN.search(text) or _status(exc) in {401, 403}:
        return Trouble.FORBIDDEN
    if isinstance(exc, RequestError | HTTPError | OSError) or _TIMEOUT.search(text):
        return Trouble.NO_ANSWER
    return Trouble.REFUSED


def is_unauthorized(exc: BaseException) -> bool:
    """Whether the token was refused."""
    return _status(exc) == 401


def is_forbidden(exc: BaseException) -> bool:
    """Whether the server let the caller do nothing at all."""
    return _status(exc) == 403


def _status(exc: BaseException) -> int | None:
    return exc.context.get("http-code") if isinstance(exc, RequestError) else None


def unavailable(trouble: Trouble, exc: BaseException, *, doing: str, place: str) -> StoreUnavailable:
    """The error for a person: what did not work in which catalog and schema, and who can do what about it."""
    said = _first_line(exc)
    match trouble:
        case Trouble.FORBIDDEN:
            remedy = (
                f"Ask the owner of {place} to grant the app's service principal USE CATALOG, USE SCHEMA, SELECT, MODIFY"
                " and CREATE TABLE there, and CAN USE on the SQL warehouse."
            )
        case Trouble.MISSING:
            remedy = f"Check UC_CATALOG and UC_SCHEMA: {place} must exist before the app starts."
        case Trouble.CONFLICT:
            remedy = "Others write to it without a pause. Try again."
        case Trouble.SESSION_GONE | Trouble.NO_ANSWER:
            remedy = "The SQL warehouse may be starting, which can take minutes. Try again."
        case Trouble.COLUMN_EXISTS | Trouble.REFUSED:
            remedy = "This is a defect; the log has the details."
    kind = _KINDS.get(trouble, StoreUnavailable)
    return kind(f"The job store {place} does not answer ({doing}): {said} {remedy}")


def _first_line(exc: BaseException) -> str:
    """What the server said, without its stack trace; a transport's own words help nobody."""
    if isinstance(exc, TimeoutError) or (isinstance(exc, RequestError) and not exc.context.get("error-message")):
        return "no answer in time."
    if isinstance(exc, HTTPError | OSError):
        return "no connection."
    line = _SQLSTATE.sub("", str(exc).strip().splitlines()[0] if str(exc).strip() else "no reason given").strip()
    return line if line.endswith(".") else f"{line}."
