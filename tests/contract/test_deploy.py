"""What follows a deploy of the bundle, against a workspace on loopback: rights that are missing, and health."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.workspace.rest_http import LoopbackServer, Request, Response
from tests.support.workspace.rest_identity import APP_CLIENT_ID
from tests.support.workspace.rest_workspace import RestWorkspace
from tools.bundle.access import OUTSIDE
from tools.deploy.__main__ import ROOT, main

NAME = "finance-forecast-dev"
OTHER = {"user_name": "ann@example.com", "permission_level": "CAN_MANAGE"}
WELL = {"status": "ok", "store": "ok", "self_check": {"status": "ok", "failing": []}, "reconciler": {"status": "ok"}}


class RunningApp:
    """The health route of a deployed app.

    Attributes:
        answers: the next ones, the last for ever.
        tokens: what came in.
    """

    def __init__(self) -> None:
        self.answers: list[Response] = [Response(content=WELL)]
        self.tokens: list[str] = []

    def answer(self, request: Request) -> Response:
        assert request.path == "/api/v2/health"
        self.tokens.append(request.caller)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def running_app() -> Iterator[tuple[RunningApp, str]]:
    app = RunningApp()
    server = LoopbackServer(0, app.answer)
    with server.running():
        yield app, server.url


@pytest.fixture
def app(running_app: tuple[RunningApp, str]) -> RunningApp:
    return running_app[0]


@pytest.fixture
def deployed(
    workspace: RestWorkspace, running_app: tuple[RunningApp, str], monkeypatch: pytest.MonkeyPatch
) -> RestWorkspace:
    """A workspace with the app as a bundle leaves it the first time: bound, and not yet let into the catalog."""
    for name, value in workspace.app_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tools.deploy.health._LOOK_EVERY_S", 0.05)
    workspace.apps.apps[NAME] = {
        "name": NAME,
        "url": running_app[1],
        "service_principal_client_id": APP_CLIENT_ID,
        "service_principal_id": 77,
        "app_status": {"state": "RUNNING"},
        "resources": [
            {"name": "warehouse", "sql_warehouse": {"id": "abc123", "permission": "CAN_USE"}},
            {"name": "experiment", "experiment": {"experiment_id": "9", "permission": "CAN_EDIT"}},
            {
                "name": "volume",
                "uc_securable": {
                    "securable_full_name": "main.forecast.data",
                    "securable_type": "VOLUME",
                    "permission": "WRITE_VOLUME",
                },
            },
        ],
        "active_deployment": {"env_vars": [{"name": "CLUSTER_POLICY_ID", "value": "ABC123"}]},
    }
    mine = {"service_principal_name": APP_CLIENT_ID}
    workspace.compute.permissions = {
        "warehouses/abc123": [OTHER, mine | {"permission_level": "CAN_USE"}],
        "experiments/9": [OTHER, mine | {"permission_level": "CAN_MANAGE"}],
        "cluster-policies/ABC123": [mine | {"permission_level": "CAN_USE"}],
    }
    workspace.apps.grants["volume", "main.forecast.data"][APP_CLIENT_ID] = {"READ_VOLUME", "WRITE_VOLUME"}
    return workspace


def writes(workspace: RestWorkspace) -> list[str]:
    return [call for call in workspace.changes if "/oidc/" not in call]


def run(*more: str) -> int:
    return main(["--app", NAME, "--timeout", "2", *more])


def test_a_dry_run_tells_and_changes_nothing(deployed: RestWorkspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--dry-run") == 0
    said = capsys.readouterr().out
    assert "would give USE_CATALOG on catalog main" in said
    assert "would give entitlement databricks-sql-access" in said
    assert "has        CAN_USE on warehouses/abc123" in said
    assert "2 of 7 rights are missing, nothing was changed" in said
    assert writes(deployed) == []


def test_what_is_missing_is_given_once_and_nothing_else_is_touched(
    deployed: RestWorkspace, app: RunningApp, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {name: list(entries) for name, entries in deployed.compute.permissions.items()}
    assert run() == 0
    assert "gave       USE_CATALOG on catalog main" in capsys.readouterr().out
    assert deployed.apps.grants["catalog", "main"] == {APP_CLIENT_ID: {"USE_CATALOG"}}
    assert deployed.apps.entitlements["77"] == ["databricks-sql-access"]
    assert deployed.compute.permissions == before
    assert app.tokens == [APP_CLIENT_ID]
    done = len(writes(deployed))
    assert done == 2
    assert run() == 0
    assert len(writes(deployed)) == done
    assert "gave" not in capsys.readouterr().out


def test_a_grant_from_above_is_enough(deployed: RestWorkspace) -> None:
    deployed.apps.inherited["catalog", "main"][APP_CLIENT_ID] = {"ALL_PRIVILEGES"}
    deployed.apps.entitlements["77"] = ["databricks-sql-access"]
    assert run() == 0
    assert writes(deployed) == []


def test_access_that_a_second_deploy_took_away_comes_back_beside_that_of_others(deployed: RestWorkspace) -> None:
    deployed.compute.permissions |= {"warehouses/abc123": [OTHER], "experiments/9": [OTHER]}
    deployed.apps.grants["volume", "main.forecast.data"][APP_CLIENT_ID] = {"WRITE_VOLUME"}
    assert run() == 0
    mine = {"service_principal_name": APP_CLIENT_ID}
    assert deployed.compute.permissions["warehouses/abc123"] == [OTHER, mine | {"permission_level": "CAN_USE"}]
    assert deployed.compute.permissions["experiments/9"] == [OTHER, mine | {"permission_level": "CAN_EDIT"}]
    assert "READ_VOLUME" in deployed.apps.grants["volume", "main.forecast.data"][APP_CLIENT_ID]
    assert not [call for call in deployed.changes if call.startswith("PUT")]


def test_a_dedicated_cluster_is_found_by_its_name(deployed: RestWorkspace) -> None:
    deployed.apps.apps[NAME]["active_deployment"]["env_vars"] = [
        {"name": "DEDICATED_CLUSTER_NAME", "value": "forecast-dedicated"}
    ]
    assert run() == 0
    assert deployed.compute.permissions["clusters/0101-000000-dedicated"] == [
        {"service_principal_name": APP_CLIENT_ID, "permission_level": "CAN_RESTART"}
    ]


def test_who_may_not_give_a_right_is_told_who_can(deployed: RestWorkspace, capsys: pytest.CaptureFixture[str]) -> None:
    deployed.faults.answer(403, on="unity-catalog/permissions", message="User does not have MANAGE on Catalog 'main'.")
    assert run() == 1
    said = capsys.readouterr()
    assert "CAN'T GIVE USE_CATALOG on catalog main" in said.out
    assert f"GRANT USE CATALOG ON CATALOG main TO `{APP_CLIENT_ID}`" in said.out
    assert "gave       entitlement databricks-sql-access" in said.out, "the others are given all the same"
    assert "1 rights are still missing" in said.err


def test_an_app_that_is_not_there_is_told(deployed: RestWorkspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--app", "nothing"]) == 1
    assert "There is no app 'nothing'" in capsys.readouterr().err
    deployed.apps.apps[NAME]["resources"] = []
    assert run() == 1
    assert "was not deployed from this bundle" in capsys.readouterr().err


def test_make_without_a_name_is_told_how_to_give_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--app", ""])
    assert "make finish-deploy APP=" in capsys.readouterr().err


def test_it_waits_for_the_app_and_its_self_check(deployed: RestWorkspace, app: RunningApp) -> None:
    starting = WELL | {"self_check": {"status": "running"}}
    app.answers = [Response(status=502), Response(content=starting), Response(content=WELL)]
    assert run() == 0
    assert len(app.tokens) == 3


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ({"state": "CRASHED", "message": "exit code 1"}, "databricks apps logs"),
        ({"state": "UNAVAILABLE", "message": "stopped"}, "databricks bundle run forecast"),
    ],
)
def test_an_app_that_does_not_run_is_told(
    deployed: RestWorkspace, capsys: pytest.CaptureFixture[str], status: dict[str, str], says: str
) -> None:
    deployed.apps.apps[NAME]["app_status"] = status
    assert main(["--app", NAME, "--timeout", "0.1"]) == 1
    said = capsys.readouterr().err
    assert status["message"] in said
    assert says in said


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            Response(status=503, content=WELL | {"self_check": {"status": "failing", "failing": ["Cluster policy"]}}),
            "Not well: Cluster policy.",
        ),
        (Response(status=503, content=WELL | {"store": "failing"}), "Not well: job store."),
        (Response(status=302), "OAuth tokens only"),
        (Response(content=b"<html>", content_type="text/html"), "does not answer"),
        (Response(content={"status": "fine"}), "not as this app does"),
    ],
)
def test_an_app_that_is_not_well_is_told(
    deployed: RestWorkspace, app: RunningApp, capsys: pytest.CaptureFixture[str], answer: Response, says: str
) -> None:
    app.answers = [answer]
    assert main(["--app", NAME, "--timeout", "0.2"]) == 1
    assert says in capsys.readouterr().err


def test_who_may_not_see_the_app_is_told(deployed: RestWorkspace, capsys: pytest.CaptureFixture[str]) -> None:
    deployed.faults.answer(403, on="/apps/", message="User does not have CAN_VIEW on App.")
    assert run() == 1
    assert "Whoever deployed it gives CAN_MANAGE" in capsys.readouterr().err


def test_a_workspace_that_is_down_is_told(deployed: RestWorkspace, capsys: pytest.CaptureFixture[str]) -> None:
    deployed.faults.answer(500, on="/apps/")
    assert run() == 1
    assert "The workspace does not answer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("grants:\n  - name: ${var.catalogue}\n", "grants.yml:2: ${var.catalogue} is none of"),
        ("grants: [", "grants.yml"),
        (None, "grants.yml"),
    ],
)
def test_a_list_of_grants_that_can_not_be_used_is_told(
    deployed: RestWorkspace, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, says: str
) -> None:
    assert (ROOT / OUTSIDE).is_file()
    (tmp_path / "resources" / "outside").mkdir(parents=True)
    if text is not None:
        (tmp_path / OUTSIDE).write_text(text)
    assert main(["--app", NAME], root=tmp_path) == 1
    assert says in capsys.readouterr().err
    assert writes(deployed) == []
