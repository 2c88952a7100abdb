"""REST routes that share the server's port."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from services import bootstrap
from services.self_check import Report


def health(_request: Request) -> JSONResponse:
    """Whether the app can do its work: 200 when it can, 503 when something it needs does not answer.

    Says what fails and since when, never why: reasons may hold paths, and anybody can ask. A SQL warehouse is not
    asked, or a monitor would keep it from stopping: of it counts what the app last saw.
    """
    runtime = bootstrap.current()
    loop = runtime.reconciler.health
    is_store_well = runtime.is_store_well()
    is_well = is_store_well and loop.failing_since is None
    body: dict[str, Any] = {
        "status": "ok" if is_well else "failing",
        "store": "ok" if is_store_well else "failing",
        "self_check": _self_check(runtime.self_check.last),
        "tracking": "ready" if runtime.is_warm() else "opening",
        "reconciler": {
            "status": "ok" if loop.failing_since is None else "failing",
            "last_success_at": _text(loop.last_success_at),
            "failing_since": _text(loop.failing_since),
        },
    }
    return JSONResponse(body, status_code=200 if is_well else 503, headers={"Cache-Control": "no-store"})


def _self_check(report: Report | None) -> dict[str, Any]:
    if report is None:
        return {"status": "running"}
    subjects = [problem.subject for problem in report.problems]
    return {"status": "failing" if subjects else "ok", "at": _text(report.at), "failing": subjects}


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


ROUTES: Final = [Route("/api/v2/health", health, methods=["GET"])]
