"""A job's life disturbed at each of its side effects: the app dies there, the answer is lost, or nothing happens.

The side effects are those that a life without faults was seen to have, so that a new one is covered by itself.
"""

from __future__ import annotations

import secrets
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.chaos import LIVES, Life, Place, disturb, effects_of
from tests.support.workspace.doors import Fault
from tests.support.workspace.rest_identity import APP_CLIENT_ID
from tests.support.workspace.rest_workspace import RestWorkspace
from tests.support.workspace.sql_server import SqlWarehouse

_MET = 1 / 2  # of the effects: some exist only where a look happens to find the run at work
_AT_ONCE = 6  # they wait for time limits and runs more than they compute
NewPlace = Callable[[], Place]


def _marks(fault: Fault) -> list[pytest.MarkDecorator]:
    """All are quick by themselves, and too many together for every test run."""
    return [] if fault is Fault.DIE else [pytest.mark.slow]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestWorkspace]:
    with RestWorkspace(tmp_path_factory.mktemp("workspace")).running() as running:
        running.mlflow.start()
        yield running


@pytest.fixture
def new_place(
    cluster: RestWorkspace, warehouse: SqlWarehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> NewPlace:
    for name, value in (
        ("TRACKING_TOKEN", APP_CLIENT_ID), ("HTTP_REQUEST_MAX_RETRIES", "1"), ("HTTP_REQUEST_BACKOFF_FACTOR", "0"),
        ("HTTP_REQUEST_BACKOFF_JITTER", "0"), ("HTTP_REQUEST_TIMEOUT", "5"),
    ):  # fmt: skip
        monkeypatch.setenv(f"MLFLOW_{name}", value)

    def make() -> Place:
        name = f"c{secrets.token_hex(4)}"
        return Place(rest=cluster, warehouse=warehouse, name=name, cache=tmp_path / name)

    return make


CASES = [
    pytest.param(life, fault, marks=_marks(fault), id=f"{life}-{fault.name.lower()}")
    for life in LIVES
    for fault in Fault
]


@pytest.mark.parametrize(("life", "fault"), CASES)
def test_whatever_happens_at_any_side_effect_nothing_is_lost(new_place: NewPlace, life: Life, fault: Fault) -> None:
    effects = effects_of(life, new_place())
    met: list[int] = []

    def one(at: int) -> str:
        try:
            if disturb(life, new_place(), at, fault):
                met.append(at)
        except AssertionError as exc:
            line = traceback.extract_tb(exc.__traceback__)[-1].line
            return f"{at} {effects[at]}: {line} {exc}"
        return ""

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        problems = list(filter(None, pool.map(one, range(len(effects)))))
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)
    assert len(met) >= len(effects) * _MET
