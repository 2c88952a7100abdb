"""The calls of a SQL warehouse (TCLIService) over an engine: sessions, statements, results page by page."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import pyarrow as pa
from databricks.sql.thrift_api.TCLIService import ttypes
from thrift.transport.TTransport import TTransportException

from tests.support.workspace import sql_arrow
from tests.support.workspace.sql_engine import Parameter, SqlEngine, SqlSession
from tests.support.workspace.sql_errors import SqlError, conflict, forbidden
from tests.support.workspace.sql_faults import SqlFault, SqlFaults

_OK = ttypes.TStatus(statusCode=ttypes.TStatusCode.SUCCESS_STATUS)
_MOST_PARAMETERS, _MOST_BYTES = 255, 1_000_000
_V8 = ttypes.TProtocolVersion.SPARK_CLI_SERVICE_PROTOCOL_V8  # the first with native parameters
CALLER: ContextVar[str] = ContextVar("caller", default="")
"""Whose request is being answered, as told by the token; a request has its own thread."""
_POLL_S = 0.05  # a status is given at once when it changes, else after this long
_EXPIRED = {SqlFault.SESSION_EXPIRED, SqlFault.SESSION_CLOSED}
_HTTP = {SqlFault.TOO_MANY_REQUESTS: 429, SqlFault.UNAVAILABLE: 503, SqlFault.SERVER_ERROR: 500}


class HttpRefusal(TTransportException):  # the generated processor lets this kind pass, and only this
    """The request is answered by an HTTP status alone."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message=message)
        self.status = status


class BrokenLine(TTransportException):
    """The connection ends without an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A statement that reached the engine, for tests to look at."""

    statement: str
    row_count: int


@dataclass(slots=True)
class _Operation:
    table: pa.Table
    sent: int = 0
    state: int = ttypes.TOperationState.FINISHED_STATE


_Answer = TypeVar("_Answer")


def _may_fail(call: Callable[[SqlService, Any], _Answer]) -> Callable[[SqlService, Any], _Answer]:
    """Let a call meet the fault that a test has armed for it."""

    @wraps(call)
    def guarded(self: SqlService, request: Any) -> _Answer:
        fault = self.faults.strike(call.__name__, getattr(request, "statement", None) or "")
        if fault in _HTTP:
            raise HttpRefusal(_HTTP[fault], f"{call.__name__} was refused with {_HTTP[fault]}")
        if fault is SqlFault.LOST_REQUEST:
            raise BrokenLine
        if fault in _EXPIRED:
            self.expire_sessions()
        if fault is SqlFault.SESSION_CLOSED:
            raise HttpRefusal(400, "BAD_REQUEST: Invalid SessionHandle: Session [01f0] is closed.")
        if fault in {SqlFault.CONFLICT, SqlFault.FORBIDDEN}:
            error = conflict("Files were added by a concurrent update.") if fault is SqlFault.CONFLICT else forbidden()
            return _failed(_handle(), error)  # type: ignore[return-value]  # only statements are armed with these
        if fault is SqlFault.STUCK:
            return self.stuck()  # type: ignore[return-value]
        answer = call(self, request)
        if fault is SqlFault.LOST_ANSWER:
            raise BrokenLine
        return answer

    return guarded


class SqlService:
    """The handler behind the connector's own generated ``Processor``; method names are the protocol's.

    Attributes:
        ran: every statement that reached the engine, in order.
        opened: sessions opened so far.
        cancelled: statements that a client gave up.
    """

    def __init__(self, engine: SqlEngine, faults: SqlFaults) -> None:
        self.faults = faults
        self.ran: list[Ran] = []
        self.opened = 0
        self.cancelled = 0
        self._engine = engine
        self._lock = threading.Lock()
        self._sessions: dict[bytes, SqlSession] = {}
        self._operations: dict[bytes, _Operation] = {}

    @property
    def open_sessions(self) -> int:
        """How many sessions clients hold."""
        with self._lock:
            return len(self._sessions)

    def expire_sessions(self) -> None:
        """Forget every session, as a warehouse does with those that idle; a statement that runs comes to its end."""
        with self._lock:
            self._sessions.clear()

    @_may_fail
    def OpenSession(self, request: ttypes.TOpenSessionReq) -> ttypes.TOpenSessionResp:
        namespace = request.initialNamespace
        catalog = (namespace and namespace.catalogName) or "main"
        schema = (namespace and namespace.schemaName) or "default"
        identifier = _handle()
        with self._lock:
            self._sessions[identifier.guid] = self._engine.session(catalog, schema)
            self.opened += 1
        return ttypes.TOpenSessionResp(
            status=_OK,
            serverProtocolVersion=_V8,
            sessionHandle=ttypes.TSessionHandle(sessionId=identifier, serverProtocolVersion=_V8),
            configuration={},
            initialNamespace=namespace,
            canUseMultipleCatalogs=True,
        )

    @_may_fail
    def CloseSession(self, request: ttypes.TCloseSessionReq) -> ttypes.TCloseSessionResp:
        with self._lock:
            session = self._sessions.pop(request.sessionHandle.sessionId.guid, None)
        if session is not None:
            session.close()
        return ttypes.TCloseSessionResp(status=_OK)

    @_may_fail
    def ExecuteStatement(self, request: ttypes.TExecuteStatementReq) -> ttypes.TExecuteStatementResp:
        with self._lock:
            session = self._sessions.get(request.sessionHandle.sessionId.guid)
        if session is None:
            guid = uuid.UUID(bytes=request.sessionHandle.sessionId.guid)
            status = ttypes.TStatus(
                statusCode=ttypes.TStatusCode.INVALID_HANDLE_STATUS,
                errorMessage=f"Invalid SessionHandle: SessionHandle [{guid}]",
            )
            return ttypes.TExecuteStatementResp(status=status)
        identifier = _handle()
        try:
            table = sql_arrow.as_sent(session.run(request.statement, _parameters(request), caller=CALLER.get()))
        except SqlError as error:
            return _failed(identifier, error)
        operation = _Operation(table)
        with self._lock:
            self.ran.append(Ran(statement=request.statement, row_count=table.num_rows))
            self._operations[identifier.guid] = operation
        return ttypes.TExecuteStatementResp(
            status=_OK,
            operationHandle=_operation_handle(identifier),
            directResults=self._direct_results(identifier, operation, request.getDirectResults),
        )

    @_may_fail
    def FetchResults(self, request: ttypes.TFetchResultsReq) -> ttypes.TFetchResultsResp:
        return _fetch(self._operation(request), request.maxRows)

    @_may_fail
    def GetOperationStatus(self, request: ttypes.TGetOperationStatusReq) -> ttypes.TGetOperationStatusResp:
        operation = self._operation(request)
        if operation.state == ttypes.TOperationState.RUNNING_STATE:
            time.sleep(_POLL_S)
        return _status(operation)

    @_may_fail
    def GetResultSetMetadata(self, request: ttypes.TGetResultSetMetadataReq) -> ttypes.TGetResultSetMetadataResp:
        return sql_arrow.metadata(self._operation(request).table)

    @_may_fail
    def CloseOperation(self, request: ttypes.TCloseOperationReq) -> ttypes.TCloseOperationResp:
        with self._lock:
            self._operations.pop(request.operationHandle.operationId.guid, None)
        return ttypes.TCloseOperationResp(status=_OK)

    @_may_fail
    def CancelOperation(self, request: ttypes.TCancelOperationReq) -> ttypes.TCancelOperationResp:
        self._operation(request).state = ttypes.TOperationState.CANCELED_STATE
        self.cancelled += 1
        return ttypes.TCancelOperationResp(status=_OK)

    def stuck(self) -> ttypes.TExecuteStatementResp:
        """The answer to a statement that has not begun."""
        identifier = _handle()
        operation = _Operation(pa.table({}), state=ttypes.TOperationState.RUNNING_STATE)
        with self._lock:
            self._operations[identifier.guid] = operation
        return ttypes.TExecuteStatementResp(
            status=_OK,
            operationHandle=_operation_handle(identifier),
            directResults=ttypes.TSparkDirectResults(operationStatus=_status(operation)),
        )

    def _operation(self, request: Any) -> _Operation:
        with self._lock:
            return self._operations[request.operationHandle.operationId.guid]

    def _direct_results(
        self,
        identifier: ttypes.THandleIdentifier,
        operation: _Operation,
        asked: ttypes.TSparkGetDirectResults | None,
    ) -> ttypes.TSparkDirectResults | None:
        if asked is None:
            return None
        page = _fetch(operation, asked.maxRows)
        closed = None
        if not page.hasMoreRows:
            closed = ttypes.TCloseOperationResp(status=_OK)
            with self._lock:
                self._operations.pop(identifier.guid, None)
        return ttypes.TSparkDirectResults(
            operationStatus=_status(operation),
            resultSetMetadata=sql_arrow.metadata(operation.table),
            resultSet=page,
            closeOperation=closed,
        )


def _parameters(request: ttypes.TExecuteStatementReq) -> list[Parameter]:
    """Those of a statement.

    Raises:
        SqlError: they are more, or larger, than a warehouse takes
            (https://github.com/databricks/databricks-sql-python/blob/main/docs/parameters.md#limitations).
    """
    given = [
        Parameter(name=p.name or "", kind=p.type or "STRING", text=p.value.stringValue if p.value else None)
        for p in request.parameters or ()
    ]
    if len(given) > _MOST_PARAMETERS or sum(len((p.text or "").encode()) for p in given) > _MOST_BYTES:
        raise SqlError("INVALID_PARAMETER_VALUE", f"{len(given)} parameters are too many, or too large.", "22023")
    return given


def _handle() -> ttypes.THandleIdentifier:
    return ttypes.THandleIdentifier(guid=uuid.uuid4().bytes, secret=uuid.uuid4().bytes)


def _operation_handle(identifier: ttypes.THandleIdentifier) -> ttypes.TOperationHandle:
    return ttypes.TOperationHandle(
        operationId=identifier, operationType=ttypes.TOperationType.EXECUTE_STATEMENT, hasResultSet=True
    )


def _failed(identifier: ttypes.THandleIdentifier, error: SqlError) -> ttypes.TExecuteStatementResp:
    status = ttypes.TGetOperationStatusResp(
        status=_OK,
        operationState=ttypes.TOperationState.ERROR_STATE,
        sqlState=error.sql_state,
        errorMessage=str(error),
        displayMessage=str(error),
        diagnosticInfo=str(error),
    )
    return ttypes.TExecuteStatementResp(
        status=_OK,
        operationHandle=_operation_handle(identifier),
        directResults=ttypes.TSparkDirectResults(operationStatus=status),
    )


def _status(operation: _Operation) -> ttypes.TGetOperationStatusResp:
    counts = operation.table.to_pydict().get("num_affected_rows")
    return ttypes.TGetOperationStatusResp(
        status=_OK,
        operationState=operation.state,
        numModifiedRows=counts[0] if counts else None,
        hasResultSet=True,
    )


def _fetch(operation: _Operation, limit: int) -> ttypes.TFetchResultsResp:
    page = operation.table.slice(operation.sent, limit)
    operation.sent += page.num_rows
    return ttypes.TFetchResultsResp(
        status=_OK,
        hasMoreRows=operation.sent < operation.table.num_rows,
        results=sql_arrow.rows(page),
        resultSetMetadata=sql_arrow.metadata(operation.table),
    )
