"""Jobs API 2.2 of the test workspace: one-time runs."""

from __future__ import annotations

import re
from typing import Any

from tests.support.workspace.rest_http import ApiError, Request, Response, Routes
from tests.support.workspace.runs import SUCCESS, USER_CANCELED, Run, Runs, Stage

_PAGE = 24  # "greater than 0 and less than 25"
_MAX_TOKEN = 64
_LOG_BYTES = 5_000_000


class JobsApi:
    """Endpoints over ``Runs``.

    Args:
        runs: what there is.
        base_url: of the workspace.
        permissions: access control lists by object; a run's is that of the job the platform makes for it.
    """

    def __init__(self, runs: Runs, base_url: str, permissions: dict[str, list[dict[str, Any]]]) -> None:
        self._runs = runs
        self._base_url = base_url
        self._permissions = permissions

    def register(self, routes: Routes) -> None:
        routes.add("POST", r"/api/2\.2/jobs/runs/submit", self._submit)
        routes.add("GET", r"/api/2\.2/jobs/runs/get", self._get)
        routes.add("GET", r"/api/2\.2/jobs/runs/list", self._list)
        routes.add("POST", r"/api/2\.2/jobs/runs/cancel", self._cancel)
        routes.add("POST", r"/api/2\.2/jobs/runs/delete", self._delete)
        routes.add("GET", r"/api/2\.2/jobs/runs/get-output", self._output)

    def _submit(self, request: Request, _: re.Match[str]) -> Response:
        body = request.json
        _check(body)
        run_id = self._runs.submit(body, request.caller)
        self._permissions[f"jobs/{_job_id(run_id)}"] = body.get("access_control_list") or []
        return Response(content={"run_id": run_id})

    def _get(self, request: Request, _: re.Match[str]) -> Response:
        run = self._known(int(request.query["run_id"]))
        return Response(content=self._view(run))

    def _list(self, request: Request, _: re.Match[str]) -> Response:
        query = request.query
        limit = int(query.get("limit", 20))
        if not 0 < limit <= _PAGE:
            raise ApiError(400, "INVALID_PARAMETER_VALUE", f"limit must be in 1..{_PAGE}, not {limit}")
        wanted = [
            run
            for run in self._runs.all()
            if (query.get("active_only") != "true" or run.stage is not Stage.TERMINATED)
            and (query.get("completed_only") != "true" or run.stage is Stage.TERMINATED)
            and run.submitted_at * 1000 >= int(query.get("start_time_from", 0))
        ]
        offset = int(query.get("page_token") or 0)
        page = [self._view(run) for run in wanted[offset : offset + limit]]
        if query.get("expand_tasks") != "true":
            for run in page:
                del run["tasks"]
        more = offset + limit < len(wanted)
        answer: dict[str, Any] = {"has_more": more}
        if page:
            answer["runs"] = page
        if more:
            answer["next_page_token"] = str(offset + limit)
        return Response(content=answer)

    def _cancel(self, request: Request, _: re.Match[str]) -> None:
        self._runs.finish(self._known(int(request.json["run_id"])).run_id, USER_CANCELED)

    def _delete(self, request: Request, _: re.Match[str]) -> None:
        run = self._known(int(request.json["run_id"]))
        if run.stage is not Stage.TERMINATED:
            raise ApiError(400, "INVALID_PARAMETER_VALUE", f"Cannot delete run {run.run_id} since it is active.")
        self._runs.delete(run.run_id)

    def _output(self, request: Request, _: re.Match[str]) -> Response:
        run = self._known(int(request.query["run_id"]))
        logs = run.output
        answer = {
            "metadata": self._view(run),
            "logs": logs[-_LOG_BYTES:],
            "logs_truncated": len(logs) > _LOG_BYTES,
        }
        if run.end is not None and run.end.result == "FAILED":
            answer |= {"error": run.end.message, "error_trace": logs[-10_000:]}
        return Response(content=answer)

    def _known(self, run_id: int) -> Run:
        run = self._runs.get(run_id)
        if run is None:
            raise ApiError(400, "INVALID_PARAMETER_VALUE", f"Run {run_id} does not exist.")
        return run

    def _view(self, run: Run) -> dict[str, Any]:
        times = _times(run)
        task = {
            **run.task,
            **times,
            "run_id": run.task_run_id,
            "attempt_number": 0,
            "state": _state(run),
            "status": _status(run),
            "run_page_url": f"{self._base_url}/#job/{_job_id(run.run_id)}/run/{run.task_run_id}",
        }
        return {
            **times,
            "run_id": run.run_id,
            "job_id": _job_id(run.run_id),
            "number_in_job": run.run_id,
            "original_attempt_run_id": run.run_id,
            "run_name": run.request.get("run_name", "Untitled"),
            "run_type": "SUBMIT_RUN",
            "format": "MULTI_TASK",
            "creator_user_name": run.creator,
            "run_page_url": f"{self._base_url}/#job/{_job_id(run.run_id)}/run/{run.run_id}",
            "state": _state(run),
            "status": _status(run),
            "tasks": [task],
        }


def _job_id(run_id: int) -> int:
    return run_id + 5


def _times(run: Run) -> dict[str, int]:
    began = run.pending_at or run.ended_at
    setup = (run.running_at - run.pending_at) if run.running_at and run.pending_at else 0.0
    execution = max(run.ended_at - run.running_at, 1e-3) if run.running_at and run.ended_at else 0.0
    return {
        "start_time": int(run.submitted_at * 1000),
        "end_time": int((run.ended_at or 0) * 1000),
        "queue_duration": int(((began or run.submitted_at) - run.submitted_at) * 1000),
        "setup_duration": int(setup * 1000),
        "execution_duration": int(execution * 1000),
        "cleanup_duration": 0,
    }


def _state(run: Run) -> dict[str, Any]:
    state: dict[str, Any] = {"life_cycle_state": run.stage, "state_message": run.message}
    if run.stage is Stage.QUEUED:
        state["queue_reason"] = "Queued due to reaching maximum concurrent runs of 1000."
    if run.end is not None:
        state["life_cycle_state"] = run.end.life_cycle
        state["result_state"] = run.end.result
        state["user_cancelled_or_timedout"] = run.end.result in {"CANCELED", "TIMEDOUT"}
    return state


def _status(run: Run) -> dict[str, Any]:
    status: dict[str, Any] = {"state": run.stage}
    if run.stage is Stage.QUEUED:
        message = "Queued due to reaching maximum concurrent runs of 1000."
        status["queue_details"] = {"code": "ACTIVE_RUNS_LIMIT_REACHED", "message": message}
    if run.end is not None:
        details = {"code": run.end.code, "type": run.end.type}
        status["termination_details"] = details if run.end == SUCCESS else {**details, "message": run.end.message}
    return status


def _check(body: dict[str, Any]) -> None:
    """Refuse what the platform refuses."""
    if len(body.get("idempotency_token") or "") > _MAX_TOKEN:
        raise ApiError(400, "INVALID_PARAMETER_VALUE", f"idempotency_token has more than {_MAX_TOKEN} characters")
    if len(body.get("tasks") or ()) != 1 or "spark_python_task" not in body["tasks"][0]:
        raise ApiError(400, "INVALID_PARAMETER_VALUE", "The test workspace runs one spark_python_task a run.")
    task = body["tasks"][0]
    places = [name for name in ("new_cluster", "existing_cluster_id", "environment_key") if name in task]
    if len(places) != 1:
        raise ApiError(400, "INVALID_PARAMETER_VALUE", f"A task runs on exactly one kind of compute, not {places}.")
    cluster = task.get("new_cluster")
    if cluster is None:
        return
    if "spark_version" not in cluster:
        raise ApiError(400, "INVALID_PARAMETER_VALUE", "Missing required field: settings.cluster_spec.spark_version")
    if "autotermination_minutes" in cluster:
        raise ApiError(400, "INVALID_PARAMETER_VALUE", "autotermination_minutes is not allowed for job clusters.")
    if "num_workers" in cluster and "autoscale" in cluster:
        raise ApiError(400, "INVALID_PARAMETER_VALUE", "Exactly one of num_workers or autoscale must be specified.")
    if "instance_pool_id" in cluster and "node_type_id" in cluster:
        raise ApiError(
            400, "INVALID_PARAMETER_VALUE", "The field 'node_type_id' cannot be supplied when an instance pool is used."
        )
    if "instance_pool_id" not in cluster and "node_type_id" not in cluster:
        raise ApiError(400, "INVALID_PARAMETER_VALUE", "Missing required field: settings.cluster_spec.node_type_id")
