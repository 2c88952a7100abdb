"""Errors of a SQL warehouse, worded as Databricks words them."""

from __future__ import annotations

import duckdb


class SqlError(Exception):
    """A statement that failed. ``str(error)`` begins with the error class in brackets, as on Databricks."""

    def __init__(self, error_class: str, detail: str, sql_state: str) -> None:
        self.sql_state = sql_state
        super().__init__(f"[{error_class}] {detail} SQLSTATE: {sql_state}")


def conflict(detail: str) -> SqlError:
    """Another commit touched what this one read."""
    return SqlError(
        "DELTA_CONCURRENT_APPEND.WITHOUT_HINT",
        f"ConcurrentAppendException: Transaction conflict detected. {detail}",
        "2D521",
    )


def lacking(what: str) -> SqlError:
    """A grant is missing; ``what`` says which, as in ``User does not have SELECT on Table 'main.sales.orders'.``"""
    return SqlError("INSUFFICIENT_PERMISSIONS", f"Insufficient privileges: {what}", "42501")


def forbidden() -> SqlError:
    """A grant is missing that the app's tables take."""
    return lacking("User does not have MODIFY on Table 'jobs'.")


def of_duckdb(exc: duckdb.Error) -> SqlError:
    """The Databricks error for what went wrong in the engine."""
    text = str(exc)
    match exc:
        case duckdb.TransactionException():
            return conflict(text)
        case duckdb.CatalogException() if "does not exist" in text:
            return SqlError("TABLE_OR_VIEW_NOT_FOUND", text, "42P01")
        case duckdb.CatalogException() if "Column with name" in text and "already exists" in text:
            return SqlError("FIELD_ALREADY_EXISTS", text, "42710")
        case duckdb.CatalogException() if "already exists" in text:
            return SqlError("TABLE_OR_VIEW_ALREADY_EXISTS", text, "42P07")
        case duckdb.ConstraintException():
            return SqlError("DELTA_NOT_NULL_CONSTRAINT_VIOLATED", text, "23502")
        case duckdb.ConversionException():
            return SqlError("CAST_INVALID_INPUT", text, "22018")
        case duckdb.ParserException():
            return SqlError("PARSE_SYNTAX_ERROR", text, "42601")
        case _:
            return SqlError("UNRESOLVED_OR_INTERNAL", text, "42000")
