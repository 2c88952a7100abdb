"""TableService: a person's table becomes a draft like an upload, with that person's rights and no others."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass, field
from itertools import count

import pytest

from services.adapters.files.memory import MemoryFileStore
from services.adapters.memory.stores import MemoryDatasetStore
from services.datasets import DatasetService
from services.domain.access import User
from services.domain.dataset import DatasetStatus
from services.domain.errors import InvalidInput, TableRefused, TablesUnavailable
from services.domain.login import OWN_LOGIN, Login
from services.domain.table import TableName
from services.tables import TableService
from tests.support.fakes import START, FakeClock
from tests.support.tables import MemoryTables
from tests.support.workspace.lakehouse import orders
from training.spec import ColumnRoles
from training.tables import read_table

ANN, ANNS = User(name="ann@example.com"), Login("ann")
BOB, BOBS = User(name="bob@example.com"), Login("bob")
ORDERS = TableName(catalog="main", schema="sales", name="orders")
PLAIN = ("month", "shop", "sales", "promoted", "booked_at", "local")


@dataclass
class Desk:
    """The service over a catalog in memory in which one table is Ann's."""

    max_rows: int = 1_000
    max_mb: int = 1
    source: MemoryTables = field(default_factory=MemoryTables)
    files: MemoryFileStore = field(default_factory=MemoryFileStore)

    def __post_init__(self) -> None:
        ids = count(1)
        self.datasets = DatasetService(
            files=self.files, records=MemoryDatasetStore(), clock=FakeClock(), max_upload_mb=self.max_mb,
            new_id=lambda: f"d{next(ids)}",
        )  # fmt: skip
        self.service = TableService(
            source=self.source, datasets=self.datasets, clock=FakeClock(), max_rows=self.max_rows, max_mb=self.max_mb
        )
        self.source.put("main.sales.orders", orders(), "ann")


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_table_becomes_a_draft_whose_columns_are_guessed(desk: Desk) -> None:
    draft = desk.service.use(ANN, ANNS, ORDERS, PLAIN)
    assert (draft.owner, draft.name, draft.source, draft.suffix) == (ANN.name, "main.sales.orders", "table", ".parquet")
    assert draft.status is DatasetStatus.DRAFT
    roles = desk.datasets.roles(draft)
    assert roles is not None
    assert (roles.target, roles.series) == ("sales", ("shop",))
    kept = desk.datasets.keep(
        ANN, draft.dataset_id, desk.datasets.options(draft), ColumnRoles(time="month", target="sales", series=("shop",))
    )
    assert (kept.row_count, kept.series_count, kept.origin) == (72, 2, draft.origin)


def test_the_copy_holds_the_chosen_columns_in_the_table_s_order(desk: Desk) -> None:
    draft = desk.service.use(ANN, ANNS, ORDERS, ["sales", "booked_at", "month"])
    table = read_table(desk.files.local_path(draft.raw_key), desk.datasets.options(draft))
    assert list(table.columns) == ["month", "sales", "booked_at"]
    assert len(table) == 72, "more than one part"
    assert table["sales"].dtype == float


def test_the_draft_remembers_what_was_read_and_when(desk: Desk) -> None:
    desk.source.put("main.sales.orders", orders(), "ann")
    origin = desk.service.use(ANN, ANNS, ORDERS, ["month", "sales"]).origin
    assert origin is not None
    assert (origin.table, origin.columns, origin.read_at) == ("main.sales.orders", ("month", "sales"), START)
    assert origin.version is not None
    assert (origin.version.number, origin.version.made_at) == (1, START)


def test_a_view_has_no_version_to_remember(desk: Desk) -> None:
    name = desk.source.put("main.sales.view", orders(), "ann", kind="view")
    origin = desk.service.use(ANN, ANNS, name, PLAIN).origin
    assert origin is not None
    assert origin.version is None


def test_nobody_reads_through_the_app_what_they_may_not_read(desk: Desk) -> None:
    for call in (
        lambda: desk.service.look(BOBS, ORDERS),
        lambda: desk.service.use(BOB, BOBS, ORDERS, PLAIN),
        lambda: desk.service.look(OWN_LOGIN, ORDERS),
    ):
        with pytest.raises(TableRefused):
            call()
    assert desk.datasets.list(BOB) == ()


def test_a_look_shows_plain_columns_and_the_size_where_it_is_cheap(desk: Desk) -> None:
    look = desk.service.look(ANNS, ORDERS)
    assert (tuple(look.head.columns), len(look.head), look.n_rows) == (PLAIN, 20, 72)
    assert [column.name for column in look.facts.left_out] == ["lines"]
    view = desk.source.put("main.sales.view", orders(), "ann", kind="view")
    assert desk.service.look(ANNS, view).n_rows is None


@pytest.mark.parametrize("kind", ["table", "view"])
def test_a_table_above_the_limit_is_not_copied(kind: str) -> None:
    desk = Desk(max_rows=50)
    name = desk.source.put("main.sales.big", orders(), "ann", kind=kind)
    with pytest.raises(InvalidInput, match=r"main\.sales\.big has (72|more than 50) rows; up to 50 can be used\. Make"):
        desk.service.use(ANN, ANNS, name, PLAIN)
    assert desk.datasets.list(ANN) == ()


def test_a_table_of_just_the_limit_is_copied() -> None:
    desk = Desk(max_rows=72)
    name = desk.source.put("main.sales.view", orders(), "ann", kind="view")
    assert desk.service.use(ANN, ANNS, name, PLAIN).origin is not None


def test_rows_that_take_too_much_room_are_refused_while_they_are_read() -> None:
    desk = Desk(max_mb=0)
    with pytest.raises(InvalidInput, match=r"take more than 0 MB, the limit\. Choose fewer columns"):
        desk.service.use(ANN, ANNS, ORDERS, PLAIN)
    assert desk.source.closed == 1


@pytest.mark.parametrize(
    ("columns", "words"),
    [(["month"], "1 column of"), (["month", "lines"], "no column 'lines' that can be used"), (["month", "x"], "'x'")],
)
def test_columns_that_make_no_forecast_are_refused(desk: Desk, columns: list[str], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        desk.service.use(ANN, ANNS, ORDERS, columns)


def test_a_table_without_rows_or_plain_columns_is_refused(desk: Desk) -> None:
    empty = desk.source.put("main.sales.empty", orders().slice(0, 0), "ann")
    with pytest.raises(InvalidInput, match="has no rows that you may see"):
        desk.service.use(ANN, ANNS, empty, PLAIN)
    nested = desk.source.put("main.sales.nested", orders().select(["lines"]), "ann")
    with pytest.raises(InvalidInput, match="None of the columns"):
        desk.service.look(ANNS, nested)


def test_trouble_leaves_nothing_behind(desk: Desk) -> None:
    desk.source.fails = TablesUnavailable("The warehouse sleeps.")
    with pytest.raises(TablesUnavailable):
        desk.service.use(ANN, ANNS, ORDERS, PLAIN)
    assert desk.datasets.list(ANN) == ()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("main.sales.orders", ("main", "sales", "orders")),
        (" `main`.`sales 2`.`a``b.c` ", ("main", "sales 2", "a`b.c")),
        ("main.`sales`.orders-2024", ("main", "sales", "orders-2024")),
    ],
)
def test_full_names_are_read_as_people_paste_them(text: str, parts: tuple[str, ...]) -> None:
    name = TableName.parse(text)
    assert name.parts == parts
    assert TableName.parse(str(name)) == name


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (("main", "_s2", "Orders_2024"), "main._s2.Orders_2024"),
        (("our-catalog", "2024", "café"), "`our-catalog`.`2024`.`café`"),
        (("1e5", "a$b", "a`b"), "`1e5`.`a$b`.`a``b`"),
    ],
)
def test_a_full_name_has_backticks_wherever_spark_wants_them(parts: tuple[str, str, str], text: str) -> None:
    catalog, schema, name = parts
    written = TableName(catalog=catalog, schema=schema, name=name)
    assert str(written) == text
    assert TableName.parse(text) == written


@pytest.mark.parametrize("text", ["", "orders", "sales.orders", "a.b.c.d", "a b.c.d", "`a.b.c", "a..c"])
def test_what_is_no_full_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"Write catalog\.schema\.table"):
        TableName.parse(text)


def test_a_login_can_be_shown_copied_and_kept_nowhere() -> None:
    login = Login("secret")
    assert "secret" not in f"{login} {login!r} {[login]}"
    for keep in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="can't be copied or kept"):
            keep(login)
    with pytest.raises(ValueError, match="no token"):
        OWN_LOGIN.reveal()
