"""DatasetService: a file becomes a draft, a draft a panel, and nobody else's."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import pandas as pd
import pytest

from services.adapters.files.memory import MemoryFileStore
from services.adapters.memory.stores import MemoryDatasetStore
from services.datasets import DatasetService
from services.domain.access import User
from services.domain.dataset import Dataset, DatasetStatus
from services.domain.errors import InvalidInput, NotFound
from services.domain.job import DatasetId
from services.domain.table import Origin
from services.samples import SAMPLES, Sample
from tests.support.fakes import START, FakeClock
from training.panel import build_panel
from training.quality import Profile, profile_panel
from training.spec import ColumnRoles, Covariate, CovariateKind
from training.tables import TableFormat, read_table, sniff

ANN = User(name="ann@example.com")
BOB = User(name="bob@example.com")
ADMIN = User(name="admin@example.com", is_admin=True)
MONTHS = pd.date_range("2021-01-01", periods=36, freq="MS").strftime("%Y-%m-%d")
SALES = "month,shop,sales,price\n" + "".join(
    f"{month},{shop},{i},1.5\n" for shop in "AB" for i, month in enumerate(MONTHS)
)
ROLES = ColumnRoles(time="month", target="sales", series=("shop",))


@dataclass
class Desk:
    """A service over stores in memory."""

    files: MemoryFileStore = field(default_factory=MemoryFileStore)
    records: MemoryDatasetStore = field(default_factory=MemoryDatasetStore)
    in_use: set[str] = field(default_factory=set)
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        ids = count(1)
        self.service = DatasetService(
            files=self.files, records=self.records, clock=self.clock, max_upload_mb=1, new_id=lambda: f"d{next(ids)}",
            is_in_use=self.in_use.__contains__,
        )  # fmt: skip

    def receive(self, content: str | bytes = SALES, filename: str = "sales.csv", user: User = ANN) -> Dataset:
        stream = io.BytesIO(content.encode() if isinstance(content, str) else content)
        return self.service.receive(user, filename=filename, stream=stream)

    def keep(self, dataset: Dataset, roles: ColumnRoles = ROLES, user: User = ANN) -> Dataset:
        return self.service.keep(user, dataset.dataset_id, self.service.options(dataset), roles)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_received_file_is_a_draft_with_guessed_options_and_roles(desk: Desk) -> None:
    draft = desk.receive()
    assert draft.status is DatasetStatus.DRAFT
    assert (draft.owner, draft.name, draft.source, draft.suffix) == (ANN.name, "sales.csv", "file", ".csv")
    assert draft.size_bytes == len(SALES)
    assert desk.service.options(draft).format is TableFormat.CSV
    assert desk.service.roles(draft) == ROLES
    assert desk.service.get(ANN, draft.dataset_id) == draft
    assert desk.files.local_path(draft.raw_key).read_text() == SALES


def test_a_check_names_the_column_that_tells_rows_apart(desk: Desk) -> None:
    draft = desk.receive()
    options = desk.service.options(draft)
    alone = ColumnRoles(time="month", target="sales")
    found = {finding.code: finding for finding in desk.service.check(ANN, draft.dataset_id, options, alone).findings}
    assert found["duplicates"].column == "month"
    assert "'shop' tells" in found["missing_key"].message
    complete = desk.service.check(ANN, draft.dataset_id, options, ROLES).findings
    assert not {"duplicates", "missing_key"} & {finding.code for finding in complete}


def test_a_preview_shows_keys_as_they_are_kept(desk: Desk) -> None:
    text = SALES.replace("month,shop", "month,account").replace(",A,", ",4.1,").replace(",B,", ",4.10,")
    draft = desk.receive(text.replace("sales,price", "amount,price"))
    options = desk.service.options(draft)
    roles = ColumnRoles(time="month", target="amount", series=("account",))
    desk.service.save_draft(ANN, draft.dataset_id, roles=roles)
    head = desk.service.preview(ANN, draft.dataset_id, options).head
    assert set(head["account"]) == {"4.1", "4.10"}


@pytest.mark.parametrize(
    "filename", ["../../etc/passwd.csv", "C:\\Users\\ann\\sales.csv", "a\x00b\n.csv", "x" * 500, ""]
)
def test_a_file_name_is_only_ever_a_label(desk: Desk, filename: str) -> None:
    draft = desk.receive(filename=filename)
    assert draft.raw_key == "datasets/d1/raw.csv"
    assert 0 < len(draft.name) <= 120
    assert not set(draft.name) & set("/\\\x00\n")


@pytest.mark.parametrize(("content", "said"), [(b"", "empty"), (bytes(range(256)) * 9, "binary"), (b"PAR1", "damaged")])
def test_a_file_that_is_no_table_leaves_nothing_behind(desk: Desk, content: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        desk.receive(content)
    assert desk.service.list(ANN) == ()
    assert not desk.files.exists("datasets/d1/raw.csv")


def test_a_file_above_the_limit_is_refused_while_it_arrives(desk: Desk) -> None:
    with pytest.raises(InvalidInput, match="1 MB"):
        desk.receive(b"x" * 1_000_001)
    assert desk.service.list(ANN) == ()
    assert not desk.files.exists("datasets/d1/raw.csv")


def test_a_draft_remembers_what_was_chosen(desk: Desk) -> None:
    draft = desk.receive()
    roles = ROLES.model_copy(update={"covariates": (Covariate(name="price", kind=CovariateKind.PAST),)})
    options = desk.service.options(draft).model_copy(update={"date_format": "%Y-%m-%d"})
    desk.service.save_draft(ANN, draft.dataset_id, options=options)
    desk.service.save_draft(ANN, draft.dataset_id, roles=roles)
    desk.service.save_draft(ANN, draft.dataset_id, spec_json="{}")
    again = desk.service.get(ANN, draft.dataset_id)
    assert desk.service.options(again) == options
    assert desk.service.roles(again) == roles
    assert again.draft_spec_json == "{}"


def test_account_codes_are_kept_as_they_are_written(desk: Desk) -> None:
    codes = {"4.1", "4.10", "1E3", "10E2"}
    text = "month,account,cost\n" + "".join(f"{month},{code},1.50\n" for code in codes for month in MONTHS)
    draft, roles = desk.receive(text), ColumnRoles(time="month", target="cost", series=("account",))
    checked = desk.service.check(ANN, draft.dataset_id, desk.service.options(draft), roles)
    assert set(checked.sample["unique_id"]) == codes
    kept = desk.keep(draft, roles)
    assert set(desk.service.panel(ANN, kept.dataset_id)["unique_id"]) == codes


def test_keeping_writes_the_panel_and_its_profile(desk: Desk) -> None:
    kept = desk.keep(desk.receive())
    assert kept.status is DatasetStatus.READY
    assert (kept.row_count, kept.series_count) == (72, 2)
    assert Profile.model_validate_json(kept.profile_json).freq == "MS"
    panel = desk.service.panel(ANN, kept.dataset_id)
    assert list(panel.columns) == ["unique_id", "ds", "y"]
    assert panel["unique_id"].is_monotonic_increasing
    assert set(desk.service.panel(ANN, kept.dataset_id, unique_ids=["B"])["unique_id"]) == {"B"}
    assert set(desk.service.sample(ANN, kept.dataset_id)["unique_id"]) == {"A", "B"}
    assert desk.files.exists(kept.raw_key)


def test_keeping_twice_is_keeping_once(desk: Desk) -> None:
    kept = desk.keep(desk.receive())
    assert desk.keep(kept) == kept


def test_a_refused_keep_loses_nothing(desk: Desk) -> None:
    draft = desk.receive(SALES.replace("A,5,", "A,n/k,"))
    with pytest.raises(InvalidInput, match="row 6 'n/k'"):
        desk.keep(draft)
    assert desk.service.get(ANN, draft.dataset_id) == draft
    assert desk.files.exists(draft.raw_key)
    assert not desk.files.exists(draft.panel_key)


def test_what_blocks_a_forecast_can_not_be_kept(desk: Desk) -> None:
    draft = desk.receive("month,sales\n2024-01-01,5\n2024-02-01,6\n")
    with pytest.raises(InvalidInput, match="at least 3"):
        desk.keep(draft, ColumnRoles(time="month", target="sales"))


def test_a_kept_dataset_does_not_change_but_can_be_revised(desk: Desk) -> None:
    kept = desk.keep(desk.receive())
    other = ROLES.model_copy(update={"target": "price"})
    with pytest.raises(InvalidInput, match="confirmed"):
        desk.keep(kept, other)
    with pytest.raises(InvalidInput, match="confirmed"):
        desk.service.save_draft(ANN, kept.dataset_id, roles=other)
    copy = desk.service.revise(ANN, kept.dataset_id)
    assert copy.status is DatasetStatus.DRAFT
    assert desk.keep(copy, other).dataset_id != kept.dataset_id
    assert desk.service.get(ANN, kept.dataset_id) == kept


def meanwhile(desk: Desk, monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    """Let something else happen just before the next change is written."""
    save = desk.records.save

    def first(dataset: Dataset) -> Dataset:
        monkeypatch.setattr(desk.records, "save", save)
        action()
        return save(dataset)

    monkeypatch.setattr(desk.records, "save", first)


def panels(desk: Desk) -> set[str]:
    return {key for key in desk.files.all_keys() if key.endswith("panel.parquet")}


def test_of_two_tabs_that_keep_a_draft_the_first_wins(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = desk.receive()
    meanwhile(desk, monkeypatch, lambda: desk.keep(draft))
    with pytest.raises(InvalidInput, match="confirmed"):
        desk.keep(draft, ROLES.model_copy(update={"target": "price"}))
    winner = desk.service.get(ANN, draft.dataset_id)
    assert desk.service.roles(winner) == ROLES
    assert panels(desk) == {winner.panel_key}
    assert desk.service.panel(ANN, draft.dataset_id)["y"].max() == 35


def test_two_tabs_that_keep_a_draft_alike_keep_it_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = desk.receive()
    meanwhile(desk, monkeypatch, lambda: desk.keep(draft))
    kept = desk.keep(draft)
    assert kept == desk.service.get(ANN, draft.dataset_id)
    assert panels(desk) == {kept.panel_key}


def test_what_was_configured_while_a_draft_is_kept_is_not_lost(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = desk.receive()
    meanwhile(desk, monkeypatch, lambda: desk.service.save_draft(ANN, draft.dataset_id, spec_json="{}"))
    kept = desk.keep(draft)
    assert (kept.status, kept.draft_spec_json) == (DatasetStatus.READY, "{}")


def test_a_draft_deleted_while_it_is_kept_stays_deleted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = desk.receive()
    meanwhile(desk, monkeypatch, lambda: desk.service.delete(ANN, draft.dataset_id))
    with pytest.raises(NotFound):
        desk.keep(draft)
    assert desk.service.list(ANN) == ()
    assert desk.files.all_keys() == set()


def test_a_tab_left_behind_does_not_make_a_kept_dataset_a_draft(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = desk.receive()
    meanwhile(desk, monkeypatch, lambda: desk.keep(draft))
    with pytest.raises(InvalidInput, match="confirmed"):
        desk.service.save_draft(ANN, draft.dataset_id, roles=ROLES.model_copy(update={"target": "price"}))
    assert desk.service.get(ANN, draft.dataset_id).status is DatasetStatus.READY


def test_data_is_judged_by_the_day_it_was_uploaded_however_late(desk: Desk) -> None:
    started = SALES + "2026-03-01,A,1,1.5\n"  # the clock says 2 March: this month is not over
    draft = desk.receive(started)
    desk.clock.advance(seconds=40 * 24 * 3600)
    checked = desk.service.check(ANN, draft.dataset_id, desk.service.options(draft), ROLES)
    assert "incomplete_last" in {finding.code for finding in checked.findings}
    kept = desk.keep(draft)
    copy = desk.service.revise(ANN, desk.service.revise(ANN, kept.dataset_id).dataset_id)
    assert (kept.taken_on, copy.taken_on) == (START.date(), START.date())
    assert copy.created_at > kept.created_at


def test_checking_says_what_is_wrong_without_raising(desk: Desk) -> None:
    draft = desk.receive(SALES.replace("A,5,", "A,n/k,"))
    result = desk.service.check(ANN, draft.dataset_id, desk.service.options(draft), ROLES)
    assert not result.is_usable
    assert result.profile is None
    assert "row 6 'n/k'" in result.findings[0].message


def test_checking_shows_a_few_series_and_says_when_dates_read_both_ways(desk: Desk) -> None:
    rows = "".join(f"0{d}/0{m}/2024,{k},{d}\n" for k in range(20) for m in (1, 2, 3) for d in (1, 2, 3))
    draft = desk.receive(f"day,shop,sales\n{rows}")
    roles = ColumnRoles(time="day", target="sales", series=("shop",))
    result = desk.service.check(ANN, draft.dataset_id, desk.service.options(draft), roles)
    assert result.sample["unique_id"].nunique() < 20
    assert "ambiguous_dates" in {finding.code for finding in result.findings}


def test_other_reading_options_keep_roles_that_fit_and_guess_the_rest(desk: Desk) -> None:
    draft = desk.receive()
    options = desk.service.options(draft)
    wrong = desk.service.reread(ANN, draft.dataset_id, options.model_copy(update={"separator": "|"}))
    assert desk.service.roles(wrong) == ROLES  # the table can't be read: nothing is forgotten
    with pytest.raises(InvalidInput, match="only one column"):
        desk.service.preview(ANN, draft.dataset_id, desk.service.options(wrong))
    headless = desk.service.reread(ANN, draft.dataset_id, options.model_copy(update={"header_row": 0}))
    roles = desk.service.roles(headless)
    assert roles is None or roles.time == "column 1"
    right = desk.service.reread(ANN, draft.dataset_id, options)
    assert desk.service.options(right) == options


def test_another_time_column_brings_its_date_format(desk: Desk) -> None:
    draft = desk.receive("month,booked,sales\n2024-01-01,31.01.2024,1\n2024-02-01,29.02.2024,2\n")
    options = desk.service.dated(ANN, draft.dataset_id, desk.service.options(draft), "booked")
    assert options.date_format == "%d.%m.%Y"
    assert desk.service.dated(ANN, draft.dataset_id, options, "sales") == options


def test_a_dataset_that_a_job_is_trained_on_is_not_deleted(desk: Desk) -> None:
    kept = desk.keep(desk.receive())
    desk.in_use.add(kept.dataset_id)
    with pytest.raises(InvalidInput, match=r"being trained on 'sales.csv'. Wait until"):
        desk.service.delete(ANN, kept.dataset_id)
    assert desk.files.exists(kept.panel_key)
    desk.in_use.clear()
    desk.service.delete(ANN, kept.dataset_id)
    assert not desk.files.exists(kept.panel_key)


def test_a_deleted_dataset_is_gone_with_its_files(desk: Desk) -> None:
    kept = desk.keep(desk.receive())
    desk.service.delete(ANN, kept.dataset_id)
    assert desk.service.list(ANN) == ()
    assert not desk.files.exists(kept.raw_key)
    assert not desk.files.exists(kept.panel_key)


def test_a_draft_that_nobody_touched_for_a_month_is_removed_with_its_file(desk: Desk) -> None:
    kept, old, touched = desk.keep(desk.receive()), desk.receive(user=BOB), desk.receive()
    desk.clock.advance(seconds=29 * 24 * 3600)
    desk.service.save_draft(ANN, touched.dataset_id, spec_json="{}")
    desk.clock.advance(seconds=2 * 24 * 3600)
    desk.service.remove_old_drafts()
    assert desk.service.list(BOB) == ()
    assert not desk.files.exists(old.raw_key)
    assert {dataset.dataset_id for dataset in desk.service.list(ANN)} == {kept.dataset_id, touched.dataset_id}


def test_a_draft_that_is_kept_while_old_ones_are_removed_stays(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = desk.receive()
    desk.clock.advance(seconds=31 * 24 * 3600)
    found = desk.records.drafts_before(desk.clock.now())
    monkeypatch.setattr(desk.records, "drafts_before", lambda _: found)
    kept = desk.keep(draft)
    desk.service.remove_old_drafts()
    assert desk.service.get(ANN, draft.dataset_id) == kept
    assert desk.files.exists(kept.panel_key)


EVERY_CALL: dict[str, Callable[[DatasetService, User, Dataset], object]] = {
    "get": lambda s, u, d: s.get(u, d.dataset_id),
    "delete": lambda s, u, d: s.delete(u, d.dataset_id),
    "preview": lambda s, u, d: s.preview(u, d.dataset_id, s.options(d)),
    "sheets": lambda s, u, d: s.sheets(u, d.dataset_id),
    "suggest_roles": lambda s, u, d: s.suggest_roles(u, d.dataset_id, s.options(d)),
    "check": lambda s, u, d: s.check(u, d.dataset_id, s.options(d), ROLES),
    "dated": lambda s, u, d: s.dated(u, d.dataset_id, s.options(d), "month"),
    "save_draft": lambda s, u, d: s.save_draft(u, d.dataset_id, spec_json="{}"),
    "reread": lambda s, u, d: s.reread(u, d.dataset_id, s.options(d)),
    "keep": lambda s, u, d: s.keep(u, d.dataset_id, s.options(d), ROLES),
    "revise": lambda s, u, d: s.revise(u, d.dataset_id),
    "panel": lambda s, u, d: s.panel(u, d.dataset_id),
    "sample": lambda s, u, d: s.sample(u, d.dataset_id),
}


@pytest.mark.parametrize("call", EVERY_CALL)
def test_another_users_dataset_is_not_found(desk: Desk, call: str) -> None:
    draft = desk.receive()
    with pytest.raises(NotFound):
        EVERY_CALL[call](desk.service, BOB, draft)
    assert desk.service.get(ANN, draft.dataset_id) == draft


@pytest.mark.parametrize("call", sorted(EVERY_CALL.keys() - {"reread"}))
def test_an_admin_may_do_all_of_it(desk: Desk, call: str) -> None:
    EVERY_CALL[call](desk.service, ADMIN, desk.keep(desk.receive()))


def test_a_table_that_stays_where_it_is_is_kept_only_with_a_sample(desk: Desk) -> None:
    origin = Origin(table="main.sales.orders", columns=("month", "sales"), read_at=START, is_in_place=True)
    file = io.BytesIO()
    pd.read_csv(io.StringIO(SALES)).to_parquet(file)
    file.seek(0)
    draft = desk.service.receive_table(ANN, name="main.sales.orders", stream=file, origin=origin)
    with pytest.raises(InvalidInput, match="only referred to"):
        desk.keep(draft)
    panel = build_panel(pd.read_csv(io.StringIO(SALES)), ROLES)
    profile = profile_panel(panel, ROLES, as_of=START.date()).model_copy(update={"n_rows": 5_000_000, "n_series": 70})
    options = desk.service.options(draft)
    given = {"panel": panel, "profile": profile}
    with pytest.raises(NotFound):
        desk.service.keep_sample(BOB, draft.dataset_id, options, ROLES, **given)
    kept = desk.service.keep_sample(ANN, draft.dataset_id, options, ROLES, **given)
    assert (kept.status, kept.row_count, kept.series_count) == (DatasetStatus.READY, 5_000_000, 70)
    assert len(desk.service.panel(ANN, draft.dataset_id)) == 72
    assert desk.service.keep_sample(ANN, draft.dataset_id, options, ROLES, **given) == kept
    with pytest.raises(InvalidInput, match="holds all of its rows"):
        desk.service.keep_sample(ANN, desk.receive().dataset_id, options, ROLES, **given)


def test_every_public_call_is_checked_for_ownership() -> None:
    takes_no_dataset = {
        "receive", "receive_sample", "receive_table", "samples", "list", "options", "roles", "remove_old_drafts",
        "keep_sample",  # for tables only: above
    }  # fmt: skip
    public = {name for name in vars(DatasetService) if not name.startswith("_")}
    assert public - takes_no_dataset == set(EVERY_CALL)


def test_lists_hold_ones_own_only(desk: Desk) -> None:
    desk.receive(user=BOB)
    mine = desk.receive()
    assert desk.service.list(ANN) == (mine,)


def test_a_draft_has_no_panel_yet(desk: Desk) -> None:
    draft = desk.receive()
    with pytest.raises(NotFound):
        desk.service.panel(ANN, draft.dataset_id)
    with pytest.raises(NotFound):
        desk.service.get(ANN, DatasetId("nope"))
    with pytest.raises(NotFound):
        desk.service.receive_sample(ANN, "nope")


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.key)
def test_samples_are_real_whole_and_openly_licensed(desk: Desk, sample: Sample) -> None:
    assert sample.path.stat().st_size < 1_000_000
    assert sample.licence
    assert sample.licence_url.startswith("https://creativecommons.org/")
    assert sample.source_url.startswith("https://")
    draft = desk.service.receive_sample(ANN, sample.key)
    result = desk.service.check(ANN, draft.dataset_id, desk.service.options(draft), sample.roles)
    assert [finding.code for finding in result.findings if finding.severity != "info"] == []
    assert desk.service.suggest_roles(ANN, draft.dataset_id, desk.service.options(draft)).roles() == sample.roles


def test_the_sample_with_covariates_holds_a_future_without_its_outcome() -> None:
    sample = SAMPLES[1]
    table = read_table(sample.path, sniff(sample.path, sample.filename))
    future = table.tail(28)
    assert table["rentals"].notna().sum() == 703
    assert future[["rentals", "weather", "temperature"]].isna().all(axis=None)
    assert future[["holiday", "working_day"]].notna().all(axis=None)
