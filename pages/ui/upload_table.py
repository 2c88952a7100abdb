"""A Unity Catalog table as the source: found by browsing or by name (``?table=``), looked at, and used.

Everything is read with the login of the person in front of the browser. What is listed is cached for a minute under
that person's name; the login itself is part of no key and no value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pandas as pd
import streamlit as st

from pages.ui.errors import error_boundary, explain, guarded
from pages.ui.format import count, escape
from pages.ui.session import current_login, runtime
from services.dataset_check import Checked
from services.domain.access import User
from services.domain.errors import ForecastAppError, TableRefused, Unavailable
from services.domain.job import DatasetId
from services.domain.login import Login
from services.domain.table import TableColumn, TableFacts, TableName
from services.large_tables import LargeTables
from services.tables import MANY_COLUMNS, TableLook, TableService
from training.spec import ColumnRoles
from training.tables import ReadOptions

BROWSE: Final = "browse"
"""Value of ``?table=`` while none is chosen; no table has a name of one part."""
_QUERY: Final = "table"
_PARTS: Final = ("table_catalog", "table_schema", "table_name")
_LABELS: Final = ("Catalog", "Schema", "Table or view")
_TTL_S: Final = 60
_SURVEY_TTL_S: Final = 600
_HASHES: Final = {
    User: lambda user: user.name,
    ReadOptions: lambda options: options.model_dump_json(),
    ColumnRoles: lambda roles: roles.model_dump_json(),
}


def table_card() -> None:
    """The way to the tables, among the other sources."""
    st.subheader("A Unity Catalog table")
    st.caption("Browse to a table or view, or paste its name. It is read in your name: you find what you may read.")
    if st.button("Choose a table", key="choose_table", icon=":material/database:"):
        st.query_params[_QUERY] = BROWSE
        st.rerun()


def table_view(user: User, wanted: str) -> None:
    """Browse, look, use.

    Args:
        user: who is looking.
        wanted: value of ``?table=``.
    """
    st.title("Upload")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("**A Unity Catalog table**", width="stretch")
        if st.button("Another source", key="table_back", icon=":material/arrow_back:", type="tertiary"):
            st.query_params.clear()
            st.rerun()
    with error_boundary("the tables"):
        login = current_login()
        _fill(wanted)
        _browse(user, login)
        _name_field()
        if (name := _name_on_screen()) is not None:
            _chosen(user, login, name)


def _fill(wanted: str) -> None:
    """Set the widgets from the address when they come on screen."""
    state = st.session_state
    if _PARTS[0] in state:
        return
    parts: tuple[str | None, ...] = (None, None, None)
    if wanted != BROWSE:
        parts = TableName.parse(wanted).parts
    for key, part in zip(_PARTS, parts, strict=True):
        state[key] = part


def _browse(user: User, login: Login) -> None:
    """A box for each part of the name; what keeps a list from being shown is said unless a whole name is there."""
    parts = [st.session_state[key] for key in _PARTS]
    trouble: ForecastAppError | None = None
    empty = ""
    for place, box in enumerate(st.columns(3)):
        above = tuple(parts[:place])
        names: tuple[str, ...] = ()
        if all(above):
            try:
                names = _listed(user, above, login)
            except ForecastAppError as exc:
                trouble = trouble or exc
            else:
                empty = empty or ("" if names else _nothing_in(above))
        with box:
            _select(place, names)
    if all(parts):
        return
    if trouble is not None:
        st.error(explain(trouble, "browsing tables"), icon=":material/error:")
    elif empty:
        st.info(empty, icon=":material/search_off:")


def _nothing_in(above: tuple[str, ...]) -> str:
    """What to say of an empty list."""
    noun, grant = (("catalog", "USE CATALOG"), ("schema", "USE SCHEMA"), ("table", "SELECT"))[len(above)]
    place = f" in {escape('.'.join(above))}" if above else ""
    return f"There is no {noun}{place} that you may use. Its owner can give you {grant}."


def _select(place: int, names: tuple[str, ...]) -> None:
    """A box of names; the one chosen is among them even where its list leaves it out."""
    key, label = _PARTS[place], _LABELS[place]
    current = st.session_state[key]
    offered = names if current is None or current in names else (current, *names)
    st.selectbox(
        label, offered, key=key, index=None, placeholder="Choose" if offered else "—", disabled=not offered,
        on_change=_part_changed, args=(key,),
    )  # fmt: skip


def _part_changed(key: str) -> None:
    """Another catalog has other schemas, another schema other tables."""
    for below in _PARTS[_PARTS.index(key) + 1 :]:
        st.session_state[below] = None
    name = _name_on_screen()
    st.query_params[_QUERY] = BROWSE if name is None else str(name)
    st.session_state["table_full_name"] = "" if name is None else str(name)


def _name_field() -> None:
    if "table_full_name" not in st.session_state:
        name = _name_on_screen()
        st.session_state["table_full_name"] = "" if name is None else str(name)
    st.text_input(
        "Or its full name", key="table_full_name", placeholder="catalog.schema.table", on_change=_name_entered,
    )  # fmt: skip


@guarded("the table's name")
def _name_entered() -> None:
    text = st.session_state["table_full_name"]
    if not text.strip():
        return
    name = TableName.parse(text)
    for key, part in zip(_PARTS, name.parts, strict=True):
        st.session_state[key] = part
    st.query_params[_QUERY] = str(name)


def _name_on_screen() -> TableName | None:
    catalog, schema, name = (st.session_state[key] for key in _PARTS)
    return TableName(catalog=catalog, schema=schema, name=name) if catalog and schema and name else None


def _chosen(user: User, login: Login, name: TableName) -> None:
    """The table, and the way on; a warehouse that starts can be asked again."""
    try:
        look = _looked_at(user, str(name), login)
    except Unavailable as exc:
        st.error(explain(exc, "a table"), icon=":material/error:")
        st.button("Try again", key="table_again", icon=":material/refresh:")
        return
    _facts(look)
    columns = _columns_field(look.facts)
    _use(user, login, look, columns)
    left, right = st.columns([2, 3], gap="large")
    with left:
        st.subheader("Columns")
        st.dataframe(_columns_table(look.facts), key="table_columns", hide_index=True, height=300)
    with right:
        st.subheader("First rows")
        st.dataframe(look.head, key="table_head", hide_index=True, height=300)


def _facts(look: TableLook) -> None:
    facts = look.facts
    parts = [facts.kind.capitalize(), count(len(facts.columns), "column")]
    if look.n_rows is not None:
        parts.insert(1, count(look.n_rows, "row"))
    st.markdown(f"**{escape(str(facts.name))}** · {' · '.join(parts)}")
    if facts.comment:
        st.caption(escape(facts.comment))
    if facts.left_out:
        names = ", ".join(escape(f"{column.name} ({column.type_text})") for column in facts.left_out[:5])
        more = f" and {len(facts.left_out) - 5} more" if len(facts.left_out) > 5 else ""
        st.caption(f"Left out, because their values are no plain ones: {names}{more}.")
    if not facts.is_same_for_all:
        st.caption("Its owner hides rows or values from some people; you forecast from what you see.")


def _columns_field(facts: TableFacts) -> list[str]:
    """Which columns are read: those that are wanted as time, target, series and covariates."""
    offered = list(facts.plain)
    is_wide = len(offered) > MANY_COLUMNS
    with st.expander("Columns to read", expanded=is_wide, key="table_columns_choice", icon=":material/view_column:"):
        st.caption(
            f"It has {len(offered)}; the first {MANY_COLUMNS} are chosen. Take out what no forecast needs, and add "
            "what is missing."
            if is_wide
            else "All are read. Take out what no forecast needs."
        )
        return st.multiselect(
            "Columns", offered, default=offered[:MANY_COLUMNS], key=f"table_columns_of_{facts.name}",
            label_visibility="collapsed",
        )  # fmt: skip


def _use(user: User, login: Login, look: TableLook, columns: list[str]) -> None:
    service = _service()
    is_long = look.n_rows is not None and look.n_rows > service.max_rows
    if is_long and service.large is not None:
        st.info(
            f"It has more than {service.max_rows:,} rows, so it stays where it is: the app counts and samples it, and "
            "the run reads it on the cluster.",
            icon=":material/data_table:",
        )
    elif is_long:
        st.warning(
            f"It has more than {service.max_rows:,} rows, which is the limit. Make a view that sums it up to the "
            "frequency you forecast, or keeps fewer series, and use that.",
            icon=":material/data_table:",
        )
    is_refused = is_long and service.large is None
    if st.button("Use this table", key="use_table", type="primary", icon=":material/check:", disabled=is_refused):
        with error_boundary("using a table"):
            with st.spinner("Reading the table…"):
                dataset = service.use(user, login, look.facts.name, columns)
            st.query_params.clear()
            st.query_params["dataset"] = dataset.dataset_id
            st.rerun()


def _columns_table(facts: TableFacts) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Name": [column.name for column in facts.columns],
            "Type": [column.type_text for column in facts.columns],
            "Comment": [_remark(column) for column in facts.columns],
        }
    )


def _remark(column: TableColumn) -> str:
    notes = [column.comment]
    if column.is_masked:
        notes.append("Masked for some people.")
    if not column.is_plain:
        notes.append("Left out.")
    return " ".join(filter(None, notes))


def _service() -> TableService:
    service = runtime().tables
    assert service is not None, "the page asks before"
    return service


def large_tables() -> LargeTables:
    """For datasets that only refer to a table.

    Raises:
        TableRefused: the app is set up now so that its runs can't read them.
    """
    service = runtime().tables
    if service is None or service.large is None:
        raise TableRefused(
            "This app can't read tables on a cluster as it is set up now.", remedy="Ask whoever runs it."
        )
    return service.large


@st.cache_data(ttl=_SURVEY_TTL_S, max_entries=50, show_spinner="Counting and sampling the table…", hash_funcs=_HASHES)
def surveyed(user: User, dataset_id: DatasetId, options: ReadOptions, roles: ColumnRoles, _login: Login) -> Checked:
    """The check of a draft that refers to a table, cached for this person, dataset, options and roles."""
    return large_tables().check(user, _login, dataset_id, options, roles)


@st.cache_data(ttl=_TTL_S, max_entries=500, show_spinner="Asking Databricks…", hash_funcs=_HASHES)
def _listed(user: User, above: tuple[str, ...], _login: Login) -> tuple[str, ...]:
    """Names of what the person finds in a catalog or schema, or of the catalogs; cached for this person."""
    del user  # tells one cached answer from another
    service = _service()
    ways: tuple[Callable[..., tuple[str, ...]], ...] = (service.catalogs, service.schemas, service.tables)
    return ways[len(above)](_login, *above)


@st.cache_data(ttl=_TTL_S, max_entries=100, show_spinner="Looking at the table…", hash_funcs=_HASHES)
def _looked_at(user: User, name: str, _login: Login) -> TableLook:
    """A table as this person sees it, cached for this person."""
    del user  # tells one cached answer from another
    return _service().look(_login, TableName.parse(name))
