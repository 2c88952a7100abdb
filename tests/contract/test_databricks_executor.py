"""What the Databricks executor does besides keeping the contract: what it sends, and how it bears faults."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from databricks.sdk.core import Config

from services.adapters.databricks.cluster import ClusterSettings
from services.adapters.databricks.executor import DatabricksExecutor
from services.adapters.databricks.package import TrainingPackage
from services.adapters.databricks.workspace import Workspace
from services.adapters.files.volume import VolumeFileStore
from services.domain.compute import Cloud, ComputeMode
from services.domain.errors import ExecutorUnavailable, SubmissionRefused
from services.domain.failure import Cause
from services.domain.job import RunId
from services.domain.stage import Stage, StageStart
from services.ports import RunState, TableInput
from tests.contract.test_executor import FOREVER, eventually, in_state, over, seen, submission
from tests.support.workspace.fixtures import PLAN, scripts_on
from tests.support.workspace.rest_identity import APP_CLIENT_ID
from tests.support.workspace.rest_workspace import RestWorkspace
from tests.support.workspace.runs import DRIVER_LOST, OUT_OF_MEMORY, SKIPPED, SPOT_LOSS, USER_CANCELED
from training.arguments import parse

SUBMIT, LIST, GET = r"runs/submit", r"runs/list", r"runs/get$"


@pytest.fixture
def executor(workspace: RestWorkspace) -> DatabricksExecutor:
    return scripts_on(workspace)


def calls(workspace: RestWorkspace) -> int:
    return sum(n for path, n in workspace.faults.calls.items() if path.startswith("/api/2.2/jobs"))


# What is sent


def test_a_run_is_sent_with_its_machines_tags_limits_and_rights(workspace: RestWorkspace) -> None:
    executor = scripts_on(
        workspace,
        app="finance forecast",
        cluster=ClusterSettings(policy_id="ABC123", single_user_name="sp-1", instance_profile="arn:aws:iam::1:p"),
        start_allowance=timedelta(minutes=20),
        viewers="finance-admins",
    )
    plan = replace(PLAN, node_type="m5d.2xlarge", workers=4, is_spot=True)
    executor.submit(replace(submission(timeout_s=600), compute=plan))
    sent = workspace.runs.all()[0].request
    assert sent["idempotency_token"] == "job1-1"
    assert sent["run_name"] == "sales [finance-forecast job1-1]"
    assert sent["timeout_seconds"] == 600 + 1200
    assert sent["queue"] == {"enabled": True}
    assert sent["access_control_list"] == [
        {"user_name": "ann@example.com", "permission_level": "CAN_VIEW"},
        {"group_name": "finance-admins", "permission_level": "CAN_MANAGE_RUN"},
    ]
    task = sent["tasks"][0]
    assert task["new_cluster"] == {
        "spark_version": "17.3.x-cpu-ml-scala2.13",
        "node_type_id": "m5d.2xlarge",
        "num_workers": 4,
        "data_security_mode": "SINGLE_USER",
        "single_user_name": "sp-1",
        "policy_id": "ABC123",
        "apply_policy_default_values": True,
        "custom_tags": {"app": "finance-forecast", "job": "job1", "user": "ann@example.com"},
        "aws_attributes": {
            "availability": "SPOT_WITH_FALLBACK",
            "first_on_demand": 1,
            "instance_profile_arn": "arn:aws:iam::1:p",
        },
    }
    parameters = task["spark_python_task"]["parameters"]
    assert dict(zip(parameters[::2], parameters[1::2], strict=True)) == {
        "--panel": "", "--spec": "spec.json", "--mlflow-run-id": "m1", "--tracking-uri": "databricks",
        "--checkpoints": "checkpoints", "--as-of": "2024-06-15",
    }  # fmt: skip


def test_admins_of_the_workspace_are_given_no_less_than_they_have(workspace: RestWorkspace) -> None:
    scripts_on(workspace, viewers="admins").submit(submission())
    assert workspace.runs.all()[0].request["access_control_list"] == [
        {"user_name": "ann@example.com", "permission_level": "CAN_VIEW"}
    ]


def test_one_machine_is_driver_and_worker(workspace: RestWorkspace, executor: DatabricksExecutor) -> None:
    executor.submit(submission())
    cluster = workspace.runs.all()[0].task["new_cluster"]
    assert cluster["num_workers"] == 0
    assert cluster["spark_conf"]["spark.master"] == "local[*]"
    assert cluster["custom_tags"]["ResourceClass"] == "SingleNode"
    assert cluster["aws_attributes"]["availability"] == "ON_DEMAND"


@pytest.mark.parametrize(
    ("cloud", "attributes"),
    [
        (Cloud.AZURE, {"azure_attributes": {"availability": "SPOT_WITH_FALLBACK_AZURE", "first_on_demand": 1}}),
        (Cloud.GCP, {"gcp_attributes": {"availability": "PREEMPTIBLE_WITH_FALLBACK_GCP", "first_on_demand": 1}}),
    ],
)
def test_each_cloud_has_its_words_for_spot(
    workspace: RestWorkspace, cloud: Cloud, attributes: dict[str, object]
) -> None:
    executor = scripts_on(workspace, cluster=ClusterSettings(cloud=cloud))
    executor.submit(replace(submission(), compute=replace(PLAN, workers=2, is_spot=True), owner="Ann@Example.com"))
    cluster = workspace.runs.all()[0].task["new_cluster"]
    assert attributes.items() <= cluster.items()
    assert cluster["custom_tags"]["user"] == ("ann_example_com" if cloud is Cloud.GCP else "Ann@Example.com")


def test_machines_of_a_pool_are_of_its_kind(workspace: RestWorkspace) -> None:
    executor = scripts_on(workspace, cluster=ClusterSettings(instance_pool_id="pool-1"))
    executor.submit(replace(submission(), compute=replace(PLAN, node_type="")))
    cluster = workspace.runs.all()[0].task["new_cluster"]
    assert cluster["instance_pool_id"] == "pool-1"
    assert not {"node_type_id", "aws_attributes"} & cluster.keys()


def test_serverless_and_dedicated_runs_name_no_machines(workspace: RestWorkspace) -> None:
    executor = scripts_on(workspace, cluster=ClusterSettings(cluster_id="0101-x"))
    for token, mode in (("a-1", ComputeMode.SERVERLESS), ("b-1", ComputeMode.DEDICATED)):
        run_id = executor.submit(replace(submission(token), compute=replace(PLAN, mode=mode, size=None)))
        assert over(executor, run_id).state is RunState.SUCCEEDED
    dedicated, serverless = (run.task for run in workspace.runs.all())
    assert dedicated["existing_cluster_id"] == "0101-x"
    assert serverless["environment_key"] == workspace.runs.all()[1].request["environments"][0]["environment_key"]
    assert "new_cluster" not in dedicated.keys() | serverless.keys()


def test_a_dedicated_cluster_is_found_by_its_name(workspace: RestWorkspace) -> None:
    plan = replace(PLAN, mode=ComputeMode.DEDICATED, size=None)
    scripts_on(workspace, cluster=ClusterSettings(cluster_name="forecast-dedicated")).submit(
        replace(submission(), compute=plan)
    )
    assert workspace.runs.all()[0].task["existing_cluster_id"] == "0101-000000-dedicated"
    executor = scripts_on(workspace, cluster=ClusterSettings(cluster_name="nope"))
    with pytest.raises(SubmissionRefused, match="DEDICATED_CLUSTER_NAME"):
        executor.submit(replace(submission("b-1"), compute=plan))


def test_a_local_user_gets_no_rights_in_the_workspace(workspace: RestWorkspace, executor: DatabricksExecutor) -> None:
    executor.submit(replace(submission(), owner="local_user"))
    assert "access_control_list" not in workspace.runs.all()[0].request


def test_runs_are_made_by_the_apps_service_principal(workspace: RestWorkspace, executor: DatabricksExecutor) -> None:
    executor.submit(submission())
    assert workspace.runs.all()[0].creator == APP_CLIENT_ID


def test_a_run_has_a_page(workspace: RestWorkspace, executor: DatabricksExecutor) -> None:
    run_id = executor.submit(submission())
    assert over(executor, run_id).page_url.startswith(f"{workspace.url}/#job/")


@pytest.mark.parametrize("token", ["x" * 65])
def test_a_token_that_the_api_would_refuse_is_a_defect(executor: DatabricksExecutor, token: str) -> None:
    with pytest.raises(ValueError, match="too long"):
        executor.submit(submission(token))


def test_another_apps_runs_are_not_taken_for_ours(workspace: RestWorkspace, executor: DatabricksExecutor) -> None:
    scripts_on(workspace, app="other").submit(submission("a-1"))
    executor.submit(replace(submission("b-1"), job_name="named [forecast a-1]"))
    assert executor.find("a-1") is None
    assert executor.tokens() == ("b-1",)
    assert executor.alive().keys() <= {"b-1"}


def test_a_search_for_a_token_goes_no_further_back_than_its_attempt(
    workspace: RestWorkspace, executor: DatabricksExecutor
) -> None:
    run_id = executor.submit(submission())
    assert executor.find("job1-1", since=datetime.now(UTC)) == run_id
    assert executor.find("job1-1", since=datetime.now(UTC) + timedelta(days=1)) is None


# How many calls it takes


def test_looking_costs_one_call_a_page_whatever_the_number_of_jobs(
    workspace: RestWorkspace, executor: DatabricksExecutor
) -> None:
    workspace.runs.hold_queue = True
    run_ids = [executor.submit(submission(f"job{n}-1")) for n in range(100)]
    costs = {}
    for n in (1, 10, 24, 100):
        workspace.faults.clear()
        found = executor.observe(run_ids[-n:])
        assert {observation.state for observation in found.values()} == {RunState.QUEUED}
        costs[n] = calls(workspace)
    assert costs == {1: 1, 10: 1, 24: 1, 100: 5}
    for run_id in run_ids:
        executor.cancel(run_id)


def test_only_a_run_that_ended_is_looked_at_by_itself(workspace: RestWorkspace, executor: DatabricksExecutor) -> None:
    ended = executor.submit(submission("a-1"))
    over(executor, ended)
    alive = [executor.submit(submission(f"b{n}-1", FOREVER)) for n in range(2)]
    workspace.faults.clear()
    executor.observe([ended, *alive])
    assert calls(workspace) == 2


def test_nothing_to_look_at_costs_nothing(workspace: RestWorkspace, executor: DatabricksExecutor) -> None:
    workspace.faults.clear()
    assert executor.observe([]) == {}
    assert calls(workspace) == 0


# How it bears faults


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_workspace_is_waited_for(workspace: RestWorkspace, executor: DatabricksExecutor, status: int) -> None:
    workspace.faults.answer(status, on=SUBMIT, times=1, retry_after_s=1)
    run_id = executor.submit(submission())
    assert over(executor, run_id).state is RunState.SUCCEEDED
    assert len(workspace.runs.all()) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_workspace_that_stays_busy_is_asked_again_later(
    workspace: RestWorkspace, executor: DatabricksExecutor, status: int
) -> None:
    workspace.faults.answer(status, on="/jobs/", times=100, retry_after_s=1)
    with pytest.raises(ExecutorUnavailable, match="fault injected"):
        executor.submit(submission())


def test_a_lost_answer_makes_no_second_run(workspace: RestWorkspace, executor: DatabricksExecutor) -> None:
    workspace.faults.lose_answer(on=SUBMIT)
    run_id = executor.submit(submission())  # the SDK asks again, with the same token
    assert [run.run_id for run in workspace.runs.all()] == [int(run_id)]


def test_a_run_whose_answers_were_all_lost_is_found_again(
    workspace: RestWorkspace, executor: DatabricksExecutor
) -> None:
    workspace.faults.lose_answer(on=SUBMIT, times=100)
    with pytest.raises(ExecutorUnavailable):
        executor.submit(submission(script=FOREVER))
    workspace.faults.clear()
    run_id = executor.find("job1-1")
    assert run_id is not None
    assert executor.submit(submission(script=FOREVER)) == run_id


def test_a_host_that_is_down_is_told_within_seconds(workspace: RestWorkspace, executor: DatabricksExecutor) -> None:
    run_id = executor.submit(submission(script=FOREVER))
    workspace.faults.is_down = True
    began = time.monotonic()
    for use in (lambda: executor.observe([run_id]), lambda: executor.cancel(run_id)):
        with pytest.raises(ExecutorUnavailable, match="could not"):
            use()
    assert time.monotonic() - began < 20
    workspace.faults.is_down = False
    in_state(executor, run_id, RunState.RUNNING)


def test_a_workspace_that_can_not_be_reached_at_first_is_tried_again(workspace: RestWorkspace) -> None:
    executor = scripts_on(workspace)
    workspace.faults.is_down = True
    with pytest.raises(ExecutorUnavailable):
        executor.observe([RunId("1")])
    workspace.faults.is_down = False
    assert seen(executor, RunId("1")).state is RunState.UNKNOWN


def test_credentials_that_are_missing_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    executor = DatabricksExecutor(
        Workspace(lambda: Config(host="http://127.0.0.1:9", retry_timeout_seconds=1, http_timeout_seconds=1)),
        package=lambda: pytest.fail("not asked"),
        settings=scripts_settings(),
    )
    with pytest.raises(ExecutorUnavailable):
        executor.observe([RunId("1")])


def scripts_settings() -> object:
    from services.adapters.databricks.executor import RunSettings

    return RunSettings(app="forecast", cluster=ClusterSettings())


def test_one_run_that_can_not_be_looked_at_hides_no_other(
    workspace: RestWorkspace, executor: DatabricksExecutor
) -> None:
    alive, ended = executor.submit(submission("a-1", FOREVER)), executor.submit(submission("b-1"))
    over(executor, ended)
    workspace.faults.answer(500, on=GET, times=1)
    assert executor.observe([alive, ended]).keys() == {alive}


@pytest.mark.parametrize(
    ("status", "message", "remedy"),
    [
        (403, "User does not have READ VOLUME on Volume 'main.app.data'.", "Missing grant: READ VOLUME"),
        (403, "6f1c does not have CAN_USE permission on cluster policy ABC", "Missing grant: CAN_USE"),
        (401, "invalid token", "can't log in"),
    ],
)
def test_a_refusal_is_told_at_once_with_what_is_missing(
    workspace: RestWorkspace, executor: DatabricksExecutor, status: int, message: str, remedy: str
) -> None:
    workspace.faults.answer(status, on=SUBMIT, message=message)
    with pytest.raises(SubmissionRefused, match=remedy):
        executor.submit(submission())
    assert workspace.faults.calls["/api/2.2/jobs/runs/submit"] == 1


def test_a_cluster_that_the_api_refuses_is_a_matter_of_settings(
    workspace: RestWorkspace, executor: DatabricksExecutor
) -> None:
    with pytest.raises(SubmissionRefused, match="compute settings") as refused:
        executor.submit(replace(submission(), compute=replace(PLAN, node_type=None)))  # type: ignore[arg-type]
    assert refused.value.is_config


def test_queue_start_and_installation_are_shown_as_steps(
    workspace: RestWorkspace, executor: DatabricksExecutor
) -> None:
    workspace.runs.start_s = workspace.runs.install_s = 0.5
    workspace.runs.hold_queue = True
    run_id = executor.submit(submission(script=FOREVER))
    queued = in_state(executor, run_id, RunState.QUEUED)
    assert "maximum concurrent runs" in queued.detail
    workspace.runs.hold_queue = False
    for words in ("Starting the cluster", "Installing the libraries"):
        eventually(lambda words=words: seen(executor, run_id).detail == words)
    installing = seen(executor, run_id)
    running = in_state(executor, run_id, RunState.RUNNING)
    assert running.started_at is not None
    assert datetime.now(UTC) - running.started_at < timedelta(seconds=5)
    assert [start.stage for start in queued.stages] == [Stage.QUEUED]
    assert installing.stages[-1] == StageStart(stage=Stage.LIBRARIES, began_at=None)
    assert [start.stage for start in running.stages] == [Stage.QUEUED, Stage.CLUSTER, Stage.TRAINING]
    began = [start.began_at for start in running.stages if start.began_at]
    assert began == sorted(began)
    assert timedelta(seconds=1) <= began[2] - began[1] < timedelta(seconds=3), "the cluster's start and the libraries"


@pytest.mark.parametrize(
    ("end", "state", "cause"),
    [
        (SPOT_LOSS, RunState.FAILED, Cause.SPOT_LOSS),
        (DRIVER_LOST, RunState.FAILED, Cause.LOST),
        (OUT_OF_MEMORY, RunState.FAILED, Cause.OUT_OF_MEMORY),
        (SKIPPED, RunState.FAILED, Cause.SKIPPED),
        (USER_CANCELED, RunState.CANCELLED, None),
    ],
    ids=lambda value: getattr(value, "code", None),
)
def test_what_ended_a_run_from_outside_is_told_apart(
    workspace: RestWorkspace, executor: DatabricksExecutor, end: object, state: RunState, cause: Cause | None
) -> None:
    run_id = executor.submit(submission(script=FOREVER))
    in_state(executor, run_id, RunState.RUNNING)
    workspace.runs.finish(int(run_id), end)  # type: ignore[arg-type]
    ended = over(executor, run_id)
    assert (ended.state, ended.cause) == (state, cause)


@pytest.mark.parametrize(
    ("script", "cause", "words"),
    [
        ("import os; os.kill(os.getpid(), 9)", Cause.OUT_OF_MEMORY, "ran out of memory"),
        ("raise SystemExit(75)", Cause.TRANSIENT, "MLflow could not be written"),
        ("raise ValueError('odd')", Cause.INTERNAL, "ValueError: odd"),
    ],
)
def test_how_training_itself_ended_is_understood(
    executor: DatabricksExecutor, script: str, cause: Cause, words: str
) -> None:
    end = over(executor, executor.submit(submission(script=script)))
    assert (end.state, end.cause) == (RunState.FAILED, cause)
    assert words in end.detail


def test_runs_beyond_the_places_are_queued(workspace: RestWorkspace, executor: DatabricksExecutor) -> None:
    workspace.runs.places = 1
    first, second = (executor.submit(submission(token, FOREVER)) for token in ("a-1", "b-1"))
    in_state(executor, first, RunState.RUNNING)
    assert seen(executor, second).state is RunState.QUEUED
    executor.cancel(first)
    in_state(executor, second, RunState.RUNNING)


# The code it sends


def package(workspace: RestWorkspace, tmp_path: Path, root: Path) -> TrainingPackage:
    return TrainingPackage(VolumeFileStore(Workspace(workspace.config), workspace.volume, tmp_path / "cache"), root)


def test_code_is_published_once_under_its_content(workspace: RestWorkspace, tmp_path: Path) -> None:
    root = tmp_path / "app"
    (root / "training").mkdir(parents=True)
    (root / "training" / "main.py").write_text("print(1)")
    (root / "requirements").mkdir()
    (root / "requirements" / "training.txt").write_text("pandas==2.3.3\n")
    first = package(workspace, tmp_path, root).published()
    assert workspace.tree.path(first.entry_point).read_text() == "print(1)"
    assert workspace.tree.path(first.requirements).read_text() == "pandas==2.3.3\n"
    workspace.faults.clear()
    assert package(workspace, tmp_path, root).published() == first
    assert sum(workspace.faults.calls.values()) <= 6  # no code is sent again
    (root / "training" / "main.py").write_text("print(2)")
    second = package(workspace, tmp_path, root).published()
    assert second.entry_point != first.entry_point
    assert workspace.tree.path(first.entry_point).read_text() == "print(1)", "a run in flight keeps its code"


def test_code_that_nobody_uses_any_more_is_removed(workspace: RestWorkspace, tmp_path: Path) -> None:
    root = tmp_path / "app"
    (root / "training").mkdir(parents=True)
    main = root / "training" / "main.py"
    folders = []
    for n in range(4):
        main.write_text(f"print({n})")
        entry_point = package(workspace, tmp_path, root).published().entry_point
        folders.append(workspace.tree.path(entry_point).parents[1])
    old = time.time() - timedelta(days=31).total_seconds()
    young = time.time() - timedelta(days=29).total_seconds()
    unused, half, recent, own = folders
    (half / "published").unlink()  # by an app that crashed
    for folder, moment in ((unused, old), (half, old), (recent, young), (own, old)):
        for path in folder.rglob("*"):
            os.utime(path, (moment, moment))
    package(workspace, tmp_path, root).remove_old()
    assert [folder.exists() for folder in folders] == [False, False, True, True]


def test_code_in_use_says_so_once_a_day(workspace: RestWorkspace, tmp_path: Path) -> None:
    root = tmp_path / "app"
    (root / "training").mkdir(parents=True)
    (root / "training" / "main.py").write_text("print(1)")
    seconds = [0.0]
    files = VolumeFileStore(Workspace(workspace.config), workspace.volume, tmp_path / "cache")
    code = TrainingPackage(files, root, seconds=lambda: seconds[0])
    marker = workspace.tree.path(code.published().entry_point).parents[1] / "published"
    old = time.time() - timedelta(days=40).total_seconds()
    os.utime(marker, (old, old))
    seconds[0] = 23 * 3600.0
    code.published()
    assert marker.stat().st_mtime == pytest.approx(old)
    seconds[0] = 25 * 3600.0
    code.published()
    assert marker.stat().st_mtime == pytest.approx(time.time(), abs=60)
    code.remove_old()
    assert marker.exists()


def test_half_published_code_is_published_again(workspace: RestWorkspace, tmp_path: Path) -> None:
    root = tmp_path / "app"
    (root / "training").mkdir(parents=True)
    for name in ("main.py", "other.py"):
        (root / "training" / name).write_text("")
    workspace.faults.answer(403, on="fs/files.+other.py")
    crashed = package(workspace, tmp_path, root)
    with pytest.raises(Exception, match="Missing grant"):
        crashed.published()
    assert workspace.tree.path(crashed.published().entry_point).with_name("other.py").exists()


def test_code_that_can_not_be_published_is_no_run_yet(workspace: RestWorkspace, tmp_path: Path) -> None:
    executor = DatabricksExecutor(
        Workspace(workspace.config),
        package=TrainingPackage(
            VolumeFileStore(Workspace(workspace.config), "/Volumes/main/forecast/gone", tmp_path)
        ).published,
        settings=scripts_settings(),  # type: ignore[arg-type]
    )
    with pytest.raises(ExecutorUnavailable, match="can't be published"):
        executor.submit(submission())
    assert workspace.runs.all() == []


def test_the_published_entry_point_starts_as_a_job_starts_it(workspace: RestWorkspace, tmp_path: Path) -> None:
    """Compiled from its text, without ``__file__``, far from our working folder."""
    published = TrainingPackage(VolumeFileStore(Workspace(workspace.config), workspace.volume, tmp_path)).published()
    executor = DatabricksExecutor(
        Workspace(workspace.config),
        package=lambda: published,
        settings=scripts_settings(),  # type: ignore[arg-type]
    )
    run_id = executor.submit(replace(submission(), panel_uri="/Volumes/main/forecast/data/no.parquet"))
    eventually(lambda: "spec.json can't be read" in executor.log_tail(run_id))
    executor.cancel(run_id)  # it would go on to tell MLflow, which knows no such run
    assert "ModuleNotFoundError" not in executor.log_tail(run_id)


def test_a_run_that_reads_a_table_is_told_which_and_at_which_version(
    workspace: RestWorkspace, executor: DatabricksExecutor
) -> None:
    workspace.runs.hold_queue = True
    table = TableInput(name="main.sales.`big one`", version=7, date_format="%Y-%m", day_first=True)
    run_id = executor.submit(replace(submission(), table=table))
    run = workspace.runs.get(int(run_id))
    assert run is not None
    told = run.task["spark_python_task"]["parameters"]
    assert told[:7] == [
        "--table", "main.sales.`big one`", "--table-version", "7", "--date-format", "%Y-%m", "--day-first",
    ]  # fmt: skip
    assert "--panel" not in told
    args = parse(told)
    assert (args.is_job, args.table, args.table_version, args.panel) == (True, table.name, 7, None)
