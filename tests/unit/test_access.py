"""Every public method of the services that people use: somebody else's thing reads as one that is not there.

A new method without an entry here fails the test.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from inspect import signature
from types import SimpleNamespace
from typing import Any, Final

import pandas as pd
import pytest

from services.api.routes import ROUTES
from services.datasets import DatasetService
from services.domain.access import User
from services.domain.compute import Size
from services.domain.errors import ForecastAppError, NotFound
from services.domain.job import DatasetId, EventKind, Job, JobId
from services.jobs import JobService
from services.ports import JobFilter
from services.results import ResultService
from tests.support.fakes import FakeClock
from tests.support.world import ADMIN, ANN, BOB, World, make_spec
from training.quality import Profile
from training.spec import ColumnRoles

CSV: Final = b"month,shop,sales\n" + b"".join(
    b"20%02d-%02d-01,a,%d\n" % (20 + m // 12, m % 12 + 1, m) for m in range(48)
)
ROLES: Final = ColumnRoles(time="month", target="sales", series=("shop",))


class Installation:
    """Ann's job and Ann's datasets: a draft, and one that is kept."""

    def __init__(self) -> None:
        self.world = World()
        self.jobs = self.world.service
        self.results = ResultService(self.jobs, SimpleNamespace())  # type: ignore[arg-type]
        ids = iter(f"x{n}" for n in range(100))
        self.datasets = DatasetService(
            files=self.world.files, records=self.world.datasets, clock=FakeClock(), max_upload_mb=1,
            new_id=lambda: next(ids),
        )  # fmt: skip
        self.job = self.world.created(ANN)
        self.draft = self.datasets.receive(ANN, filename="plan.csv", stream=io.BytesIO(CSV))
        self.options = self.datasets.options(self.draft)
        kept = self.datasets.receive(ANN, filename="kept.csv", stream=io.BytesIO(CSV))
        self.kept = self.datasets.keep(ANN, kept.dataset_id, self.options, ROLES)
        self.profile = Profile.model_validate_json(self.kept.profile_json)


ById = Callable[[Installation, User, str], Any]
JOBS: Final[dict[str, ById]] = {
    "choose_size": lambda i, u, x: i.jobs.choose_size(u, JobId(x), Size.L),
    "clone": lambda i, u, x: i.jobs.clone(u, JobId(x)),
    "start": lambda i, u, x: i.jobs.start(u, JobId(x)),
    "retry": lambda i, u, x: i.jobs.retry(u, JobId(x)),
    "cancel": lambda i, u, x: i.jobs.cancel(u, JobId(x), "because"),
    "delete": lambda i, u, x: i.jobs.delete(u, JobId(x), "because"),
    "get": lambda i, u, x: i.jobs.get(u, JobId(x)),
    "events": lambda i, u, x: i.jobs.events(u, JobId(x)),
    "log_tail": lambda i, u, x: i.jobs.log_tail(u, JobId(x)),
}
JOBS_ELSEWHERE: Final = {
    "create": "by dataset: test_a_job_is_made_of_ones_own_dataset_only",
    "compute_offer": "by dataset: test_what_a_job_may_run_on_is_told_of_ones_own_dataset_only",
    "find": "test_lists_hold_ones_own_whatever_is_asked_for",
    "counts": "test_lists_hold_ones_own_whatever_is_asked_for",
    "usage": "for admins: test_lists_hold_ones_own_whatever_is_asked_for",
    "deletion": "test_a_deleted_job_is_nobody_elses_business",
}
DRAFTS: Final[dict[str, ById]] = {
    "get": lambda i, u, x: i.datasets.get(u, DatasetId(x)),
    "delete": lambda i, u, x: i.datasets.delete(u, DatasetId(x)),
    "preview": lambda i, u, x: i.datasets.preview(u, DatasetId(x), i.options),
    "sheets": lambda i, u, x: i.datasets.sheets(u, DatasetId(x)),
    "suggest_roles": lambda i, u, x: i.datasets.suggest_roles(u, DatasetId(x), i.options),
    "check": lambda i, u, x: i.datasets.check(u, DatasetId(x), i.options, ROLES),
    "dated": lambda i, u, x: i.datasets.dated(u, DatasetId(x), i.options, "month"),
    "reread": lambda i, u, x: i.datasets.reread(u, DatasetId(x), i.options),
    "save_draft": lambda i, u, x: i.datasets.save_draft(u, DatasetId(x), spec_json="{}"),
    "keep": lambda i, u, x: i.datasets.keep(u, DatasetId(x), i.options, ROLES),
    "keep_sample": lambda i, u, x: i.datasets.keep_sample(
        u, DatasetId(x), i.options, ROLES, panel=pd.DataFrame(), profile=i.profile
    ),
    "revise": lambda i, u, x: i.datasets.revise(u, DatasetId(x)),
}
KEPT: Final[dict[str, ById]] = {
    "sample": lambda i, u, x: i.datasets.sample(u, DatasetId(x)),
    "panel": lambda i, u, x: i.datasets.panel(u, DatasetId(x)),
}
DATASETS_ELSEWHERE: Final = {
    "receive": "makes one's own: test_what_comes_in_is_ones_own",
    "receive_sample": "makes one's own: test_what_comes_in_is_ones_own",
    "receive_table": "makes one's own: with the login of who asks, tests/unit/test_table_service.py",
    "list": "test_lists_hold_ones_own_whatever_is_asked_for",
    "samples": "the same for everybody",
    "options": "of a record that was given out before",
    "roles": "of a record that was given out before",
    "remove_old_drafts": "the app's own, for no user",
}
RESULTS: Final[dict[str, ById]] = {"open": lambda i, u, x: i.results.open(u, JobId(x))}


@pytest.fixture
def installation() -> Installation:
    return Installation()


@pytest.mark.parametrize(
    ("service", "known"),
    [
        (JobService, JOBS.keys() | JOBS_ELSEWHERE.keys()),
        (DatasetService, DRAFTS.keys() | KEPT.keys() | DATASETS_ELSEWHERE.keys()),
        (ResultService, RESULTS.keys()),
    ],
)
def test_every_public_method_has_an_entry_and_takes_the_user_first(service: type, known: set[str]) -> None:
    fields = getattr(service, "__dataclass_fields__", {})
    public = {name for name in dir(service) if not name.startswith("_")} - fields.keys()
    assert public == known
    for name in public & (JOBS.keys() | DRAFTS.keys() | KEPT.keys() | RESULTS.keys()):
        assert list(signature(getattr(service, name)).parameters)[1] == "user"


def test_no_route_answers_with_what_is_somebodys() -> None:
    assert {route.path for route in ROUTES} == {"/api/v2/health"}, "a route that reads jobs needs a user, and a test"


def outcome(call: Callable[[], object]) -> str:
    """What somebody is told."""
    try:
        return f"an answer: {call()!r}"
    except ForecastAppError as exc:
        return f"{type(exc).__name__}: {exc}"


def assert_not_there(installation: Installation, call: ById, theirs: str) -> None:
    missing = outcome(lambda: call(installation, BOB, "nothing"))
    assert missing.startswith(NotFound.__name__)
    assert outcome(lambda: call(installation, BOB, theirs)).replace(repr(theirs), "'nothing'") == missing
    answer = outcome(lambda: call(installation, ANN, theirs))
    assert not answer.startswith(NotFound.__name__), "its owner gets further"


@pytest.mark.parametrize("call", [*JOBS.values(), *RESULTS.values()], ids=[*JOBS, *RESULTS])
def test_somebody_elses_job_is_not_there(installation: Installation, call: ById) -> None:
    job = installation.job
    trail = installation.world.jobs.events(job.job_id)
    outcome(lambda: call(installation, BOB, job.job_id))
    assert installation.world.now(job) == job, "nor is it changed"
    assert installation.world.jobs.events(job.job_id) == trail
    assert_not_there(installation, call, job.job_id)


@pytest.mark.parametrize("call", DRAFTS.values(), ids=DRAFTS)
def test_somebody_elses_draft_is_not_there(installation: Installation, call: ById) -> None:
    draft = installation.draft
    outcome(lambda: call(installation, BOB, draft.dataset_id))
    assert installation.world.datasets.get(draft.dataset_id) == draft, "nor is it changed"
    assert_not_there(installation, call, draft.dataset_id)


@pytest.mark.parametrize("call", KEPT.values(), ids=KEPT)
def test_somebody_elses_dataset_is_not_there(installation: Installation, call: ById) -> None:
    assert_not_there(installation, call, installation.kept.dataset_id)


@pytest.mark.parametrize(
    ("call", "of"),
    [
        *((call, "job") for call in (*JOBS.values(), *RESULTS.values())),
        *((call, "draft") for call in DRAFTS.values()),
        *((call, "kept") for call in KEPT.values()),
    ],
    ids=[*JOBS, *RESULTS, *DRAFTS, *KEPT],
)
def test_an_admin_gets_as_far_as_the_owner(call: ById, of: str) -> None:
    answers = []
    for user in (ANN, ADMIN):
        installation = Installation()
        thing = getattr(installation, of)
        identifier = thing.job_id if isinstance(thing, Job) else thing.dataset_id
        answers.append(outcome(lambda at=installation, who=user, x=identifier: call(at, who, x)))
    own, admins = answers
    assert not admins.startswith((NotFound.__name__, "NotAllowed"))
    assert own.partition(":")[0] == admins.partition(":")[0]


def test_a_job_is_made_of_ones_own_dataset_only(installation: Installation) -> None:
    def create(user: User, dataset_id: str) -> str:
        return outcome(lambda: installation.jobs.create(user, dataset_id=DatasetId(dataset_id), spec=make_spec()))

    assert create(BOB, "d1").replace("'d1'", "'nothing'") == create(BOB, "nothing")
    assert create(BOB, "d1").startswith(NotFound.__name__)
    assert create(ADMIN, "d1").startswith("an answer")


def test_what_a_job_may_run_on_is_told_of_ones_own_dataset_only(installation: Installation) -> None:
    def offer(user: User) -> str:
        return outcome(lambda: installation.jobs.compute_offer(user, installation.kept, make_spec()))

    assert offer(BOB) == f"NotFound: {NotFound('dataset', installation.kept.dataset_id)}"
    assert offer(ANN) == offer(ADMIN) == "an answer: None"


def test_lists_hold_ones_own_whatever_is_asked_for(installation: Installation) -> None:
    for where in (None, JobFilter(), JobFilter(owner=ANN.name), JobFilter(dataset_id=DatasetId("d1"))):
        assert installation.jobs.find(BOB, where).total == 0
        assert installation.jobs.find(BOB, where).jobs == ()
        assert installation.jobs.find(ADMIN, where).total == 1
        assert outcome(lambda where=where: installation.jobs.usage(BOB, where)).startswith("NotAllowed")
        assert [usage.owner for usage in installation.jobs.usage(ADMIN, where)] == [ANN.name]
    assert sum(installation.jobs.counts(BOB).values()) == 0
    assert sum(installation.jobs.counts(ANN).values()) == 1
    assert installation.datasets.list(BOB) == ()
    assert {dataset.owner for dataset in installation.datasets.list(ANN)} == {ANN.name}


def test_a_deleted_job_is_nobody_elses_business(installation: Installation) -> None:
    job_id = installation.job.job_id
    installation.jobs.delete(ANN, job_id)
    assert installation.jobs.deletion(BOB, job_id) is None
    for user in (ANN, ADMIN):
        deletion = installation.jobs.deletion(user, job_id)
        assert deletion is not None
        assert deletion.kind is EventKind.DELETED


def test_what_comes_in_is_ones_own(installation: Installation) -> None:
    came = (
        installation.datasets.receive(BOB, filename="../../ann.csv", stream=io.BytesIO(CSV)),
        installation.datasets.receive_sample(BOB, installation.datasets.samples()[0].key),
    )
    for dataset in came:
        assert dataset.owner == BOB.name
        assert dataset.raw_key.split("/")[1] == dataset.dataset_id, "a file's place holds nobody's words"
        assert "ann" not in dataset.raw_key
