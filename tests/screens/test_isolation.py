"""Bob, with the address of everything that is Ann's: pages tell him what they tell of things that are not there."""

from __future__ import annotations

import re

import pytest
from streamlit.testing.v1 import AppTest

from pages.ui import session
from services.domain.access import LOCAL_USER, User
from services.domain.job import JobId
from tests.support.screens import Stage, texts

BOB = User(name="bob@example.com")
SERIES = "North / Tea"
SECRETS = re.compile("merger|plan_b|north", re.IGNORECASE)
ADDRESSES: list[tuple[str, dict[str, str]]] = [
    ("", {}),
    ("upload", {"dataset": "d1"}),
    ("configure", {"dataset": "d1"}),
    ("jobs", {}),
    ("jobs", {"job": "done"}),
    ("jobs", {"job": "bad"}),
    ("results", {}),
    ("results", {"job": "done", "results_series": SERIES}),
]
KEPT_STATE = {
    "_confirm": ("delete", "done"),
    "_upload_form": "d1",
    "_configure": {"dataset": "d1", "request": "x", "saved": ""},
    "configure_dataset": "d1",
    "results_series": SERIES,
}


class Viewer:
    """Who looks at the pages."""

    def __init__(self) -> None:
        self.user = LOCAL_USER


@pytest.fixture
def viewer(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Viewer:
    """Ann, the local user, has a dataset and jobs."""
    stage.dataset("d1", name="plan_b.csv")
    stage.completed("done", name="The merger")
    stage.failed("bad", name="Merger by shop", message="Series 'merger' has 2 rows.")
    looking = Viewer()
    monkeypatch.setattr(session, "current_user", lambda: looking.user)
    return looking


def everything(app: AppTest) -> str:
    """All that a page sent: texts, labels, options, tables, links, charts."""
    parts = [
        texts(app),
        *(str(table.value.to_dict()) for table in app.dataframe),
        *(str(box.options) for box in app.selectbox),
        *(f"{metric.label} {metric.value}" for metric in app.metric),
        *(f"{button.label} {button.help}" for button in app.button),
    ]
    for kind in ("page_link", "download_button", "plotly_chart"):
        parts += [str(element.proto) for element in app.get(kind)]
    return "\n".join(parts)


def same_words(text: str, *asked_for: str) -> str:
    """A page without what its address holds anyway."""
    for word in asked_for:
        text = re.sub(rf"\b{re.escape(word)}\b", "ASKED", text)
    return text


def test_an_address_shows_to_others_what_one_of_nothing_shows(stage: Stage, viewer: Viewer) -> None:
    for page, query in ADDRESSES:
        assert SECRETS.search(everything(stage.open(page, **query))), f"its owner sees it at {page} {query}"
    viewer.user = BOB  # what was cached for Ann is there
    for page, query in ADDRESSES:
        theirs = stage.open(page, **query)
        assert not theirs.exception
        shown = same_words(everything(theirs), *query.values())
        assert not SECRETS.search(shown), (page, query)
        nothing = dict.fromkeys(query, "nothing")
        assert shown == same_words(everything(stage.open(page, **nothing)), *nothing.values()), (page, query)


@pytest.mark.parametrize("page", ["configure", "jobs", "results"])
def test_what_a_session_remembers_opens_nothing_of_others(stage: Stage, viewer: Viewer, page: str) -> None:
    viewer.user = BOB
    app = stage.open(page)
    for name, value in KEPT_STATE.items():
        app.session_state[name] = value
    app.query_params["job"] = "done"
    app.run()
    assert not SECRETS.search(everything(app))
    assert not [button for button in app.button if button.key in {"confirm_delete", "confirm_cancel"}]
    assert stage.jobs.get(JobId("done")) is not None


def test_why_states_are_old_is_told_to_admins_only(stage: Stage, viewer: Viewer) -> None:
    stage.reconciler.fails("The run of merger can't be looked at now.")
    assert "merger" in texts(stage.open("upload"))
    viewer.user = BOB
    app = stage.open("upload")
    assert "could not be refreshed" in texts(app)
    assert "merger" not in texts(app)
