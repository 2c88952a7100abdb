"""Who is in the group of admins, as the workspace tells it."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.adapters.databricks.directory import ScimGroups, workspace_groups
from services.adapters.databricks.workspace import Workspace
from services.bootstrap import build_runtime
from services.domain.errors import DirectoryUnavailable
from services.identity import NAME, TOKEN
from services.settings import Settings
from tests.support.workspace.rest_identity import APP_CLIENT_ID
from tests.support.workspace.rest_workspace import RestWorkspace

ANN, BOB = "ann@example.com", "bob@example.com"
GROUP = 'finance "admins" ü'


@pytest.fixture
def groups(workspace: RestWorkspace, monkeypatch: pytest.MonkeyPatch) -> ScimGroups:
    """As the app finds it in its environment, where the service principal's secret is too."""
    for name, value in workspace.app_environment.items():
        monkeypatch.setenv(name, value)
    workspace.identity.groups[GROUP] |= {ANN, APP_CLIENT_ID}
    workspace.identity.groups["others"] |= {BOB}
    return workspace_groups()


BY = pytest.mark.parametrize("with_token", [True, False], ids=["with their token", "as the app"])


def ask(groups: ScimGroups, user: str, *, with_token: bool, group: str = GROUP) -> bool:
    return groups.is_member(user, group, token=user if with_token else None)


@BY
def test_members_are_told_from_others(groups: ScimGroups, with_token: bool) -> None:
    assert ask(groups, ANN, with_token=with_token)
    assert not ask(groups, BOB, with_token=with_token)
    assert not ask(groups, "nobody@example.com", with_token=with_token)


@BY
def test_the_workspace_may_write_a_name_in_capitals(
    workspace: RestWorkspace, groups: ScimGroups, with_token: bool
) -> None:
    workspace.identity.groups[GROUP] |= {"Cleo@Example.com"}
    assert groups.is_member("cleo@example.com", GROUP, token="Cleo@Example.com" if with_token else None)


@BY
def test_a_group_in_a_group_counts_at_any_depth_and_a_circle_ends(
    workspace: RestWorkspace, groups: ScimGroups, with_token: bool
) -> None:
    known = workspace.identity.groups
    known[GROUP] |= {"middle"}
    known["middle"] |= {"inner"}
    known["inner"] |= {BOB, GROUP}
    assert ask(groups, BOB, with_token=with_token)
    assert not ask(groups, "nobody@example.com", with_token=with_token)


def test_a_member_on_a_later_page_is_found(workspace: RestWorkspace, groups: ScimGroups) -> None:
    workspace.identity.page_size = 1
    workspace.identity.groups[GROUP.upper()] |= {BOB}  # the filter finds it as well, and its name is another
    assert ask(groups, ANN, with_token=False)
    assert not ask(groups, BOB, with_token=False)


def test_the_app_is_not_asked_where_a_token_came_and_the_token_is_not_where_none_came(
    workspace: RestWorkspace, groups: ScimGroups
) -> None:
    ask(groups, ANN, with_token=True)
    assert workspace.identity.token_requests == 0
    ask(groups, ANN, with_token=False)
    assert workspace.identity.token_requests == 1


def test_somebody_elses_token_tells_nothing(groups: ScimGroups) -> None:
    with pytest.raises(DirectoryUnavailable, match="not yours"):
        groups.is_member(BOB, GROUP, token=ANN)


def test_an_expired_token_is_told_with_the_way_to_a_new_one(workspace: RestWorkspace, groups: ScimGroups) -> None:
    workspace.faults.answer(401, on="/scim/v2/Me")
    with pytest.raises(DirectoryUnavailable, match=r"expired\. Reload the page"):
        ask(groups, ANN, with_token=True)


def test_a_group_that_is_not_there_is_told(groups: ScimGroups) -> None:
    with pytest.raises(DirectoryUnavailable, match=r"no group 'admin'.*ADMIN_GROUP"):
        ask(groups, ANN, with_token=False, group="admin")


def test_a_permission_the_app_lacks_is_told_with_who_can_give_it(workspace: RestWorkspace, groups: ScimGroups) -> None:
    workspace.faults.answer(403, on="/scim/v2/Groups", times=5)
    with pytest.raises(DirectoryUnavailable, match="allowed to read users and groups; a workspace admin"):
        ask(groups, ANN, with_token=False)


@BY
def test_a_workspace_that_does_not_answer_is_no_answer(workspace: RestWorkspace, with_token: bool) -> None:
    def impatient() -> Workspace:
        return Workspace(lambda: workspace.config(retry_timeout_seconds=1, http_timeout_seconds=1))

    groups = ScimGroups(app=impatient(), viewer=lambda _: impatient())
    workspace.faults.is_down = True
    with pytest.raises(DirectoryUnavailable, match="could not tell who is in the group"):
        ask(groups, ANN, with_token=with_token)


def test_the_app_asks_the_workspace_it_runs_in(workspace: RestWorkspace, groups: ScimGroups, tmp_path: Path) -> None:
    settings = Settings(databricks_app_name="forecast", admin_group=GROUP, forecast_home=tmp_path)
    runtime = build_runtime(settings)
    try:
        assert runtime.identity.user({NAME: "Ann@Example.com", TOKEN: ANN}).is_admin
        assert not runtime.identity.user({NAME: BOB, TOKEN: BOB}).is_admin
        assert runtime.identity.user({NAME: ANN}).is_admin, "by the app's own question"
        stranger = runtime.identity.user({NAME: BOB, TOKEN: ANN})
        assert not stranger.is_admin
        assert "not yours" in stranger.doubt
        before = sum(workspace.faults.calls.values())
        runtime.identity.user({NAME: ANN, TOKEN: ANN})
        assert sum(workspace.faults.calls.values()) == before, "every rerun of a page asks who is looking"
    finally:
        runtime.close()
