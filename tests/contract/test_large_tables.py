"""A table that stays where it is: counted and sampled with the person's right, and only then read by a run."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from itertools import count

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from services.adapters.files.memory import MemoryFileStore
from services.adapters.memory.stores import MemoryDatasetStore
from services.adapters.uc.statements import TableStatements
from services.datasets import DatasetService
from services.domain.access import User
from services.domain.dataset import Dataset, DatasetStatus
from services.domain.errors import InvalidInput, LoginRefused, NotFound, TableRefused
from services.domain.login import Login
from services.domain.table import SeriesColumns, TableName, TableVersion
from services.large_tables import LargeTables
from services.lifecycle import _table
from services.tables import TableService
from tests.support import spark
from tests.support.fakes import START, FakeClock
from tests.support.workspace.lakehouse import Lakehouse, lakehouse
from tests.support.workspace.rest_identity import APP_CLIENT_ID
from tests.support.world import World, make_spec
from training.quality import Profile
from training.spec import ColumnRoles

ANN, ANNS = User(name="ann@example.com"), Login("ann@example.com")
BOB, BOBS = User(name="bob@example.com"), Login("bob@example.com")
BIG = TableName(catalog="main", schema="sales", name="big")
ROLES = ColumnRoles(time="month", target="sales", series=("shop",))
COLUMNS = ("month", "shop", "sales")
N_SERIES = 300


def big(n_months: int = 36, *, thrice: str = "") -> pa.Table:
    """Monthly sales of 300 shops; the last row of one can be there three times more."""
    months = pd.date_range("2021-01-01", periods=n_months, freq="MS")
    frame = pd.DataFrame({
        "month": np.tile(months, N_SERIES), "shop": np.repeat([f"s{n:03}" for n in range(N_SERIES)], n_months),
        "sales": 100.0 + np.tile(np.arange(n_months), N_SERIES),
    })  # fmt: skip
    frame = pd.concat([frame, *[frame[frame["shop"] == thrice].tail(1)] * 3], ignore_index=True)
    dates = pa.array(frame["month"].dt.date, pa.date32())
    return pa.table({"month": dates, "shop": pa.array(frame["shop"]), "sales": pa.array(frame["sales"])})


@dataclass
class Desk:
    """The app's services over the lakehouse, which copy up to 5,000 rows."""

    house: Lakehouse
    reads_in_place: bool = True

    def __post_init__(self) -> None:
        ids = count(1)
        self.records = MemoryDatasetStore()
        self.datasets = DatasetService(
            files=MemoryFileStore(), records=self.records, clock=FakeClock(), max_upload_mb=10,
            new_id=lambda: f"d{next(ids)}",
        )  # fmt: skip
        self.tables = TableService(
            source=self.house.source(host=self.house.rest.url), datasets=self.datasets, clock=FakeClock(),
            max_rows=5_000, max_mb=10, reads_in_place=self.reads_in_place,
        )  # fmt: skip

    @property
    def large(self) -> LargeTables:
        assert self.tables.large is not None
        return self.tables.large

    def draft(self) -> Dataset:
        return self.tables.use(ANN, ANNS, BIG, COLUMNS)

    def kept(self) -> Dataset:
        draft = self.draft()
        return self.large.keep(ANN, ANNS, draft.dataset_id, self.datasets.options(draft), ROLES)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    with lakehouse(tmp_path_factory.mktemp("lakehouse")) as house:
        yield house


@pytest.fixture
def desk(shared: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> Desk:
    for name, value in shared.rest.app_environment.items():
        monkeypatch.setenv(name, value)
    shared.catalog.put("main.sales.big", big())
    for reader in ("ann@example.com", APP_CLIENT_ID):
        shared.catalog.grant_read(reader, "main.sales.big")
    return Desk(shared)


def test_a_table_above_the_limit_is_referred_to_at_its_version(desk: Desk) -> None:
    draft = desk.draft()
    assert draft.origin is not None
    assert draft.origin.is_in_place
    assert draft.origin.version is not None
    guessed = desk.datasets.roles(draft)
    assert guessed is not None
    assert (guessed.time, guessed.target) == ("month", "sales")


def test_all_series_are_counted_and_some_are_judged_whole(desk: Desk) -> None:
    draft = desk.draft()
    found = desk.large.check(ANN, ANNS, draft.dataset_id, desk.datasets.options(draft), ROLES)
    assert found.is_usable
    profile = found.profile
    assert profile is not None
    assert (profile.n_rows, profile.n_series, profile.n_observations) == (10_800, 300, 10_800)
    assert (profile.length_min, profile.length_median, profile.length_max) == (36, 36, 36)
    assert profile.first_ds is not None
    assert (profile.first_ds.date(), profile.freq) == (date(2021, 1, 1), "MS")
    note = next(finding for finding in found.findings if finding.code == "judged_by_sample")
    assert "everything else is judged by 200 of its 300 series" in note.message
    assert profile.n_missing == 0, "no series was cut"


def test_before_the_series_are_told_apart_all_rows_are_one(desk: Desk) -> None:
    draft = desk.draft()
    alone = ROLES.model_copy(update={"series": ()})
    found = desk.large.check(ANN, ANNS, draft.dataset_id, desk.datasets.options(draft), alone)
    assert found.profile is not None
    assert (found.profile.n_series, found.profile.n_observations) == (1, 10_800)
    assert found.profile.n_duplicates == 10_764


def test_keeping_stores_some_series_and_the_numbers_of_all(desk: Desk) -> None:
    kept = desk.kept()
    assert (kept.status, kept.row_count, kept.series_count) == (DatasetStatus.READY, 10_800, 300)
    assert desk.datasets.panel(ANN, kept.dataset_id)["unique_id"].nunique() == 200
    assert any(f.code == "judged_by_sample" for f in Profile.model_validate_json(kept.profile_json).findings)


def test_the_same_series_are_chosen_each_time(desk: Desk) -> None:
    names = [set(desk.datasets.panel(ANN, desk.kept().dataset_id)["unique_id"]) for _ in range(2)]
    assert names[0] == names[1]
    assert names[0] != {f"s{n:03}" for n in range(200)}, "not the first by name"


def test_what_is_written_later_is_not_counted(desk: Desk) -> None:
    draft = desk.draft()
    desk.house.catalog.put("main.sales.big", big(40))
    kept = desk.large.keep(ANN, ANNS, draft.dataset_id, desk.datasets.options(draft), ROLES)
    assert kept.row_count == 10_800


def test_rows_that_repeat_a_time_are_told_even_outside_the_sample(desk: Desk) -> None:
    sampled = set(desk.datasets.panel(ANN, desk.kept().dataset_id)["unique_id"])
    unseen = next(name for name in (f"s{n:03}" for n in range(N_SERIES)) if name not in sampled)
    desk.house.catalog.put("main.sales.big", big(thrice=unseen))
    draft = desk.draft()
    found = desk.large.check(ANN, ANNS, draft.dataset_id, desk.datasets.options(draft), ROLES)
    said = next(finding for finding in found.findings if finding.code == "duplicates_elsewhere")
    assert said.message == "3 rows of the table repeat a timestamp of their series."


def test_one_endless_series_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.large_tables.SAMPLE_ROWS", 1_000)
    draft = desk.draft()
    alone = ColumnRoles(time="month", target="sales")
    found = desk.large.check(ANN, ANNS, draft.dataset_id, desk.datasets.options(draft), alone)
    assert not found.is_usable
    assert "A series of main.sales.big has 10,800 rows" in found.findings[0].message
    with pytest.raises(InvalidInput, match="Choose the columns that tell its series apart"):
        desk.large.keep(ANN, ANNS, draft.dataset_id, desk.datasets.options(draft), alone)


def test_views_and_masked_tables_are_not_read_on_the_cluster(desk: Desk) -> None:
    desk.house.catalog.put("main.sales.big", big(), kind="VIEW")
    with pytest.raises(InvalidInput, match=r"has more than 5,000 rows; up to 5,000 can be used"):
        desk.draft()
    desk.house.catalog.put("main.sales.big", big(), masks={"sales": "main.sales.hide"})
    with pytest.raises(InvalidInput, match=r"has more than 5,000 rows; up to 5,000 can be used"):
        desk.draft()


def test_a_mask_that_was_put_on_later_stops_the_start(desk: Desk) -> None:
    kept = desk.kept()
    desk.house.catalog.put("main.sales.big", big(), masks={"sales": "main.sales.hide"})
    with pytest.raises(TableRefused, match="people see different rows or values of it"):
        desk.large.require_readable(ANN, kept, ANNS)


def test_where_runs_do_not_compute_on_databricks_a_large_table_is_refused(desk: Desk) -> None:
    with pytest.raises(InvalidInput, match="has 10,800 rows; up to 5,000 can be used"):
        Desk(desk.house, reads_in_place=False).draft()


def test_the_grant_that_the_app_lacks_is_named_before_the_dataset_is_kept(desk: Desk) -> None:
    draft = desk.draft()
    desk.house.catalog.revoke(APP_CLIENT_ID, "SELECT", "main.sales.big")
    with pytest.raises(TableRefused) as refused:
        desk.large.keep(ANN, ANNS, draft.dataset_id, desk.datasets.options(draft), ROLES)
    assert str(refused.value) == (
        "The app's service principal may not look at table main.sales.big. Missing grant: SELECT on Table "
        "main.sales.big, for the app's service principal. The table's or schema's owner can give it."
    )
    assert desk.datasets.get(ANN, draft.dataset_id).status is DatasetStatus.DRAFT


def test_another_s_dataset_is_not_there(desk: Desk) -> None:
    draft = desk.draft()
    with pytest.raises(NotFound):
        desk.large.check(BOB, BOBS, draft.dataset_id, desk.datasets.options(draft), ROLES)


def test_a_start_and_a_retry_ask_for_the_person_s_right_again(desk: Desk) -> None:
    kept = replace(desk.kept(), roles_json=make_spec().roles.model_dump_json())
    world = World(datasets=desk.records)
    desk.records.put(replace(kept, dataset_id="d1"))
    world.files.write(replace(kept, dataset_id="d1").panel_key, io.BytesIO(b"panel"))
    world.service._require_readable = desk.large.require_readable
    job = world.created(ANN)
    admin = User(name="root@example.com", is_admin=True)
    with pytest.raises(LoginRefused, match="did not come along"):
        world.service.start(ANN, job.job_id)
    with pytest.raises(TableRefused, match=r"only ann@example\.com can start it"):
        world.service.start(admin, job.job_id, login=ANNS)
    desk.house.catalog.revoke("ann@example.com", "SELECT", "main.sales.big")
    with pytest.raises(TableRefused, match="You may not look at table"):
        world.service.start(ANN, job.job_id, login=ANNS)
    assert world.now(job).status == "PENDING"
    desk.house.catalog.grant("ann@example.com", "SELECT", "main.sales.big")
    world.service.start(ANN, job.job_id, login=ANNS)
    world.reconciler.tick()
    assert world.service.start(ANN, job.job_id).status == "RUNNING", "pressed again, without a sign-in"
    (sent,) = world.executor.submissions
    assert kept.origin is not None
    assert kept.origin.version is not None
    assert sent.data_arguments == (
        "--table", "main.sales.big", "--table-version", str(kept.origin.version.number),
    )  # fmt: skip
    world.service.cancel(ANN, job.job_id)
    world.reconciler.tick()
    world.reconciler.tick()
    assert world.now(job).status == "CANCELLED"
    with pytest.raises(LoginRefused):
        world.service.retry(ANN, job.job_id)
    assert world.service.retry(ANN, job.job_id, login=ANNS).status == "SUBMITTING"


def test_a_run_reads_ambiguous_dates_as_the_app_did(desk: Desk) -> None:
    kept = desk.kept()
    options = desk.datasets.options(kept).model_copy(update={"date_format": None, "day_first": True})
    told = _table(replace(kept, options_json=options.model_dump_json()))
    assert told is not None
    assert (told.date_format, told.day_first) == (None, True)


def test_only_the_owner_makes_jobs_of_a_table_that_is_read_by_their_right(desk: Desk) -> None:
    world = World(datasets=desk.records)
    desk.records.put(replace(desk.kept(), dataset_id="d1", roles_json=make_spec().roles.model_dump_json()))
    job = world.created(ANN)
    admin = User(name="root@example.com", is_admin=True)
    with pytest.raises(TableRefused, match=r"only ann@example\.com can make a job of it"):
        world.service.clone(admin, job.job_id)
    assert world.service.clone(ANN, job.job_id).owner == ANN.name


def test_without_tables_a_job_that_would_read_one_is_refused(desk: Desk) -> None:
    world = World(datasets=desk.records)
    desk.records.put(replace(desk.kept(), dataset_id="d1", roles_json=make_spec().roles.model_dump_json()))
    job = world.created(ANN)
    with pytest.raises(TableRefused, match="as it is set up now"):
        world.service.start(ANN, job.job_id, login=ANNS)


def test_statements_over_all_series_are_spark_s_own() -> None:
    sql = TableStatements(TableName(catalog="a`b", schema="s-1", name="x y"))
    at = TableVersion(number=7, made_at=START)
    keyed = SeriesColumns(time="t`", target="y", series=("k", "`; DROP"))
    single = SeriesColumns(time="t", target="y", series=())
    made = [
        sql.totals(keyed, version=at, is_temporal=True),
        sql.totals(single, version=None, is_temporal=False),
        sql.whole_series(["t", "y"], ["k", "`; DROP"], version=at, n_series=5),
        sql.whole_series(["t", "y"], [], version=at, n_series=1),
    ]
    for statement in made:
        spark.parser().parsePlan(statement.text)
        assert "`a``b`.`s-1`.`x y`" in statement.text
    assert "```; DROP`" in made[2].text
