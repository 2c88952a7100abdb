"""The widgets of a draft: how the file is read, and what its columns are.

Values live under the widgets' keys. Every change is saved in the draft at once, so that a refresh, a restart
or another tab finds it; what is on screen is filled from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import streamlit as st

from pages.ui.errors import guarded
from pages.ui.format import escape
from pages.ui.session import runtime
from services.dataset_check import TablePreview
from services.domain.access import User
from services.domain.dataset import Dataset
from training.spec import ColumnRoles, Covariate, CovariateKind
from training.tables import DATE_FORMATS, ReadOptions, TableFormat

_FORM: Final = "_upload_form"  # id of the dataset whose values the widgets hold
_COVARIATES: Final = {
    "future_covariates": CovariateKind.FUTURE,
    "past_covariates": CovariateKind.PAST,
    "static_covariates": CovariateKind.STATIC,
}
_MANY: Final = ("series_cols", *_COVARIATES)
_READING: Final = ("encoding", "separator", "decimal", "thousands", "header_row", "sheet", "date_format")
_FORMATS: Final = {TableFormat.CSV: "CSV text", TableFormat.PARQUET: "Parquet", TableFormat.EXCEL: "Excel"}
_SEPARATORS: Final = {",": "Comma ,", ";": "Semicolon ;", "\t": "Tab", "|": "Bar |", " ": "Space", ":": "Colon :"}
_DECIMALS: Final = {".": "Point 1.5", ",": "Comma 1,5"}
_THOUSANDS: Final = {"": "Nothing", ",": "Comma 1,000", ".": "Point 1.000", " ": "Space 1 000", "'": "Apostrophe 1'000"}
_ENCODINGS: Final = ("utf-8", "utf-16", "cp1252", "iso8859-1", "cp1250", "cp1251", "shift_jis", "gb18030")
_BY_COLUMN: Final = ""  # no format of its own: a select box shows None as nothing chosen
_EXAMPLES: Final = {
    "%Y": "2024", "%y": "24", "%m": "01", "%d": "31", "%b": "Jan", "%B": "January", "%H": "23", "%I": "11",
    "%M": "59", "%S": "00", "%p": "PM",
}  # fmt: skip
_NAMED_FORMATS: Final = {
    "ISO8601": "2024-01-31 (ISO)", "quarter": "2024 Q1", "ISO week": "2024-W05", "Excel serial": "45322 (Excel)",
}  # fmt: skip


def fill_form(user: User, dataset: Dataset, options: ReadOptions, roles: ColumnRoles | None) -> None:
    """Set the widgets from the draft when it comes on screen; without roles, from what can be guessed."""
    state = st.session_state
    if state.get(_FORM) == dataset.dataset_id and "read_date_format" in state:
        return
    state[_FORM] = dataset.dataset_id
    _put_options(options)
    _put_roles(roles)
    if roles is None:
        guess = runtime().datasets.suggest_roles(user, dataset.dataset_id, options)
        state["time_col"], state["target_col"] = guess.time, guess.target


def _put_options(options: ReadOptions) -> None:
    for name in _READING:
        st.session_state[f"read_{name}"] = getattr(options, name)
    st.session_state["read_date_format"] = options.date_format or _BY_COLUMN


def _put_roles(roles: ColumnRoles | None) -> None:
    state = st.session_state
    state["time_col"] = roles.time if roles else None
    state["target_col"] = roles.target if roles else None
    state["series_cols"] = list(roles.series) if roles else []
    for key, kind in _COVARIATES.items():
        state[key] = list(roles.covariates_of(kind)) if roles else []


def roles_on_screen() -> ColumnRoles | None:
    """The roles chosen; ``None`` without a time or a target."""
    state = st.session_state
    if not state.get("time_col") or not state.get("target_col"):
        return None
    covariates = tuple(Covariate(name=name, kind=kind) for key, kind in _COVARIATES.items() for name in state[key])
    return ColumnRoles(
        time=state["time_col"], target=state["target_col"], series=tuple(state["series_cols"]), covariates=covariates
    )


def columns_form(user: User, dataset: Dataset, preview: TablePreview) -> None:
    """What each column is."""
    _forget_absent(preview.columns)
    st.subheader("Columns")
    state = st.session_state
    for key, label, text in (
        ("time_col", "Time", "The date or period of each row."),
        ("target_col", "Target", "The number to forecast."),
    ):
        st.selectbox(
            label, preview.columns, key=key, index=None, placeholder="Choose a column", help=text,
            on_change=_roles_changed, args=(user, dataset, key),
        )  # fmt: skip
    used = {state["time_col"], state["target_col"]}
    _several(
        user, dataset, "series_cols", "Series", [name for name in preview.columns if name not in used],
        "The columns that together name a series, such as store and product. None for a single series.",
    )  # fmt: skip
    used |= set(state["series_cols"])
    free = [name for name in preview.columns if name not in used]
    if free:
        chosen = [name for key in _COVARIATES for name in state[key]]
        with st.expander("Covariates", expanded=bool(chosen), key="covariates", icon=":material/add_chart:"):
            for key, label, text in (
                ("future_covariates", "Known in the future", "A calendar, a price list, a plan: add rows with these "
                 "columns filled and the target empty for the periods to forecast."),
                ("past_covariates", "Known in the past only", "The weather, a competitor's price: known up to the "
                 "last observation."),
                ("static_covariates", "Fixed for a series", "A region, a category: one value for each series."),
            ):  # fmt: skip
                elsewhere = {name for other in _COVARIATES if other != key for name in state[other]}
                _several(user, dataset, key, label, [name for name in free if name not in elsewhere], text)
    for name in preview.repeated:
        st.caption(f"The file repeats a column name; one of them is shown as {escape(name)}.")


def _several(user: User, dataset: Dataset, key: str, label: str, names: Sequence[str], text: str) -> None:
    st.multiselect(
        label, names, key=key, help=text, placeholder="None", on_change=_roles_changed, args=(user, dataset, key)
    )


def _forget_absent(columns: Sequence[str]) -> None:
    """Drop chosen columns that the table, read anew, does not have."""
    state = st.session_state
    for key in ("time_col", "target_col"):
        if state[key] not in columns:
            state[key] = None
    for key in _MANY:
        state[key] = [name for name in state[key] if name in columns]


@guarded("the columns")
def _roles_changed(user: User, dataset: Dataset, key: str) -> None:
    """Give a column one role, the newest; save; and read the dates of another time column in its own format."""
    state = st.session_state
    taken = {state[key]} if isinstance(state[key], str) else set(state[key] or ())
    for other in ("time_col", "target_col"):
        if other != key and state[other] in taken:
            state[other] = None
    for other in _MANY:
        if other != key:
            state[other] = [name for name in state[other] if name not in taken]
    service = runtime().datasets
    roles = roles_on_screen()
    if key == "time_col" and state["time_col"]:
        options = service.dated(user, dataset.dataset_id, service.options(dataset), state["time_col"])
        _put_options(options)
        service.save_draft(user, dataset.dataset_id, options=options, roles=roles)
    elif roles:
        service.save_draft(user, dataset.dataset_id, roles=roles)


def reading_form(user: User, dataset: Dataset, options: ReadOptions, *, is_open: bool) -> None:
    """What was guessed of the file, and widgets to change it."""
    change = {"on_change": _options_changed, "args": (user, dataset)}
    with st.expander("How the file is read", expanded=is_open, key="reading", icon=":material/plagiarism:"):
        st.caption(f"Found: {_summary(options)}. Change what is wrong.")
        if options.format is TableFormat.CSV:
            left, right = st.columns(2)
            left.selectbox(
                "Separator", _with(_SEPARATORS, options.separator), key="read_separator",
                format_func=lambda sign: _SEPARATORS.get(sign, sign), **change,
            )  # fmt: skip
            right.selectbox(
                "Encoding", _with(_ENCODINGS, options.encoding), key="read_encoding", accept_new_options=True, **change
            )
        if options.format is TableFormat.EXCEL:
            sheets = runtime().datasets.sheets(user, dataset.dataset_id)
            st.selectbox("Worksheet", _with(sheets, options.sheet), key="read_sheet", **change)
        if options.format is not TableFormat.PARQUET:
            left, right = st.columns(2)
            left.selectbox(
                "Decimal sign", list(_DECIMALS), key="read_decimal", format_func=lambda sign: _DECIMALS[sign], **change
            )
            right.selectbox(
                "Thousands", list(_THOUSANDS), key="read_thousands", format_func=lambda sign: _THOUSANDS[sign],
                **change,
            )  # fmt: skip
            st.number_input(
                "Header row", min_value=0, max_value=1_000, step=1, key="read_header_row",
                help="The row that names the columns, counted without empty rows; 0 when there is none.", **change,
            )  # fmt: skip
        formats = _with((_BY_COLUMN, *DATE_FORMATS), options.date_format or _BY_COLUMN)
        st.selectbox(
            "Date format", formats, key="read_date_format",
            format_func=_date_label, help="Of the time column.", **change,
        )  # fmt: skip


def _with(values: Sequence[object] | dict[str, str], current: object) -> list[object]:
    """The values offered, and the present one when it is none of them."""
    return list(values) if current in values else [current, *values]


def _date_label(name: str) -> str:
    """A format as it looks: ``31/01/2024 (day first)``."""
    if name == _BY_COLUMN:
        return "Worked out from the column"
    if name in _NAMED_FORMATS:
        return _NAMED_FORMATS[name]
    shown = name
    for sign, example in _EXAMPLES.items():
        shown = shown.replace(sign, example)
    if name.startswith(("%d", "%m")) and "%d" in name:
        shown += " (day first)" if name.startswith("%d") else " (month first)"
    return shown


def _summary(options: ReadOptions) -> str:
    parts = [_FORMATS[options.format]]
    if options.format is TableFormat.CSV:
        name = _SEPARATORS.get(options.separator, options.separator).split(" ")[0].lower()
        parts += [f"encoding {options.encoding}", f"separated by {name}"]
    if options.format is not TableFormat.PARQUET:
        parts.append("decimal point" if options.decimal == "." else "decimal comma")
    if options.date_format:
        parts.append(f"dates like {_date_label(options.date_format)}")
    return escape(", ".join(parts))


@guarded("the reading options")
def _options_changed(user: User, dataset: Dataset) -> None:
    """Save the options, and let roles and date format follow what the table is now."""
    state, service = st.session_state, runtime().datasets
    before = service.options(dataset)
    changed = {name: state.get(f"read_{name}", getattr(before, name)) for name in _READING}
    date_format = changed["date_format"] = changed["date_format"] or None
    if date_format and date_format.startswith(("%d", "%m")):
        changed["day_first"] = date_format.startswith("%d")
    after = service.reread(user, dataset.dataset_id, ReadOptions.model_validate(before.model_dump() | changed))
    _put_options(service.options(after))
    _put_roles(service.roles(after))
