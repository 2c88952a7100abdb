"""Text to numbers and dates, a whole column at a time.

People write ``1.234,56``, ``(1,200)``, ``€ 5``, ``2024Q1`` and ``01/02/2024``. A column has one style,
found here from its values and used for all of them; a value that does not fit stays visible as one
that could not be read, and is never half understood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from training.frequency import Frequency, guess_alias

MISSING: Final = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", "–", "—", ".", "..", "?"})
"""What stands for an absent number, in lower case. In text only the empty cell is absent: NA is also Namibia."""

_CURRENCY_CODES: Final = (
    "AED|ARS|AUD|BDT|BGN|BRL|CAD|CHF|CLP|CNY|COP|CZK|DKK|EGP|EUR|GBP|HKD|HUF|IDR|ILS|INR|ISK|JPY|KES|KRW|LKR|MXN|"
    "MYR|NGN|NOK|NZD|PEN|PHP|PKR|PLN|RON|RUB|SAR|SEK|SGD|THB|TRY|TWD|UAH|USD|VND|ZAR"
)
_CURRENCY: Final = rf"(?:[$€£¥₹₽₩]|{_CURRENCY_CODES}|kr\.?|zł)?"
_IDENTIFIER: Final = r"^(?:0\d+|\d{16,}|[A-Z]{3}\d+)$"
"""A code: 007, a number that a float can't hold, and EUR1, which is an amount only where the user says so."""
_THOUSANDS: Final = {" ": "[ \u00a0\u202f]", "'": "['’]", ",": ",", ".": r"\.", "": ""}
_PROBE: Final = 500  # values looked at before the whole column is
_STYLE_COLUMNS: Final = 40  # whose style decides for the table
_MIN_SHARE: Final = 0.9  # of a column's values that a date format must read for it to be the column's format

ISO: Final = "ISO8601"
QUARTER: Final = "quarter"
ISO_WEEK: Final = "ISO week"
EXCEL_SERIAL: Final = "Excel serial"
_EXCEL_EPOCH: Final = pd.Timestamp("1899-12-30")  # makes serial 60 and later right, as Excel counts a 29 February 1900
_EXCEL_RANGE: Final = (20_000, 60_000)  # 1954 to 2064

_DAYS_FIRST: Final = ("%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%d/%m/%y", "%d.%m.%y", "%d-%m-%y")
_MONTHS_FIRST: Final = ("%m/%d/%Y", "%m.%d.%Y", "%m-%d-%Y", "%m/%d/%y", "%m.%d.%y", "%m-%d-%y")
_DATES: Final = (
    "%Y/%m/%d", "%Y.%m.%d", *_DAYS_FIRST, *_MONTHS_FIRST,
    "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y",
)  # fmt: skip
_TIMES: Final = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_PERIODS: Final = (
    "%Y/%m", "%m/%Y", "%m-%Y", "%m.%Y", "%YM%m", "%b %Y", "%B %Y", "%b-%Y", "%b-%y", "%Y %b", "%Y-%b", "%Y %B",
)  # fmt: skip
_COMPACT: Final = ("%Y%m%d", "%Y%m", "%Y")
DATE_FORMATS: Final = (
    ISO, *(date + time for time in _TIMES for date in _DATES), *_PERIODS, QUARTER, ISO_WEEK, *_COMPACT, EXCEL_SERIAL,
)  # fmt: skip
"""Formats a time column can have, in the order they are tried: ``strptime`` patterns and four names."""

_EXAMPLE_DATE: Final = pd.Timestamp("2024-01-31 17:45")  # tells day from month, and 17 from 5 o'clock

_PARTS: Final = {
    "%Y": r"(?:1[6-9]|2[0-2])\d\d", "%y": r"\d\d", "%m": r"\d{1,2}", "%d": r"\d{1,2}", "%b": "[A-Za-z]{3}",
    "%B": "[A-Za-z]{3,9}", "%H": r"\d{1,2}", "%I": r"\d{1,2}", "%M": r"\d\d", "%S": r"\d\d", "%p": "[AaPp][Mm]",
}  # fmt: skip
_ISO_SHAPE: Final = r"\d{4}-\d{2}(?:-\d{2}(?:[T ]\d{2}(?::?\d{2}(?::?\d{2}(?:[.,]\d+)?)?)?)?)?"
_OFFSET: Final = r"(?<=\d)\s*(?:Z|UTC|[+-]\d{2}:?\d{2})$"
_QUARTER_SHAPE: Final = r"(?:(?P<year>\d{4})[ -]?[Qq](?P<quarter>[1-4])|[Qq](?P<quarter2>[1-4])[ -/]?(?P<year2>\d{4}))"
_WEEK_SHAPE: Final = r"(?P<year>\d{4})[ -]?[Ww](?P<week>\d{1,2})"


@dataclass(frozen=True, slots=True)
class NumberStyle:
    """How numbers are written: the decimal sign, and what separates thousands (empty for nothing)."""

    decimal: str = "."
    thousands: str = ""


STYLES: Final = (
    NumberStyle(".", ""), NumberStyle(".", ","), NumberStyle(",", ""), NumberStyle(",", "."), NumberStyle(",", " "),
    NumberStyle(".", " "), NumberStyle(".", "'"), NumberStyle(",", "'"),
)  # fmt: skip


def as_text(column: pd.Series) -> pa.ChunkedArray:
    """A column of Python objects as arrow strings, absent values as nulls."""
    cells = [None if value is None else str(value) for value in _cells(column)]
    return pa.chunked_array([pa.array(cells, pa.string())])


def _cells(column: pd.Series) -> np.ndarray:
    return np.asarray(column.astype(object).where(column.notna(), None), dtype=object)


def read_numbers(text: Any, style: NumberStyle) -> tuple[np.ndarray, np.ndarray]:
    """Arrow strings as floats, and which of them (a mask) are text that is no number in this style.

    Absent values are NaN and not in the mask. Currency signs and codes, per cent signs, thousands
    separators, accounting parentheses and a trailing minus are understood; ``5%`` is 5.
    """
    trimmed = pc.utf8_trim_whitespace(text)
    missing = pc.or_(pc.is_null(trimmed), pc.is_in(pc.utf8_lower(trimmed), value_set=pa.array(sorted(MISSING))))
    match = pc.extract_regex(trimmed, _pattern(style))
    bad = pc.and_(pc.invert(missing), pc.is_null(match))
    body = pc.struct_field(match, "body")
    if style.thousands:
        body = pc.replace_substring_regex(body, _THOUSANDS[style.thousands], "")
    if style.decimal == ",":
        body = pc.replace_substring(body, ",", ".")
    parts = [pc.fill_null(pc.struct_field(match, name), "") for name in ("open", "sign", "sign2", "tail")]
    minus = pc.match_substring_regex(pc.binary_join_element_wise(*parts, ""), "[(−-]")
    usable = pc.and_(pc.invert(missing), pc.invert(bad))
    numbers = _floats(pc.cast(pc.if_else(usable, body, None), pa.float64()))
    return np.where(_mask(minus), -numbers, numbers), _mask(bad)


@lru_cache(maxsize=32)
def _pattern(style: NumberStyle) -> str:
    decimal, group = re.escape(style.decimal), _THOUSANDS[style.thousands]
    grouped = rf"\d{{1,3}}(?:{group}\d{{2,3}})*{group}\d{{3}}(?:{decimal}\d*)?|" if group else ""
    body = rf"{grouped}(?:\d+{decimal}?\d*|{decimal}\d+)(?:[eE][-+]?\d+)?"
    return (
        rf"^(?P<open>\(?)\s*(?P<sign>[-+−]?)\s*{_CURRENCY}\s*(?P<sign2>[-+−]?)(?P<body>{body})"
        rf"\s*(?:{_CURRENCY}|%)(?P<tail>-?)\s*\)?$"
    )


def narrow(text: Any, style: NumberStyle) -> np.ndarray | pd.Series:
    """Arrow strings as what they are: int64, float64, booleans, or text (objects, ``None`` when empty).

    A column is numeric only when every value is; one word in it leaves it text, so that whoever needs
    numbers can name the row.
    """
    if _is_text(_filled(_head(text)), style):  # seen at once in most text, without touching the rest
        return objects(text)
    filled = _filled(text)
    plain = _plain_numbers(filled, style)
    if plain is None and _is_true_false(filled):
        return pd.Series(pc.equal(pc.utf8_lower(filled), "true").to_pandas()).astype("boolean")
    if pc.any(pc.match_substring_regex(filled, _IDENTIFIER)).as_py():
        return objects(text)
    if plain is not None:
        return plain
    numbers, bad = read_numbers(filled, style)
    return objects(text) if bad.any() else numbers


def _filled(text: Any) -> Any:
    trimmed = pc.utf8_trim_whitespace(text)
    return pc.if_else(pc.equal(trimmed, ""), None, trimmed)


def _is_text(head: Any, style: NumberStyle) -> bool:
    if _plain_numbers(head, style) is not None or _is_true_false(head):
        return False
    return bool(read_numbers(head, style)[1].any())


def _plain_numbers(filled: Any, style: NumberStyle) -> np.ndarray | None:
    """Numbers as a computer writes them, as most are, in one fast pass; ``None`` when some are not."""
    if style.decimal != ".":
        return None
    for kind in (pa.int64(), pa.float64()):
        try:
            cast = pc.cast(filled, kind)
        except pa.ArrowInvalid:
            continue
        return _floats(cast) if cast.null_count or kind == pa.float64() else np.asarray(cast.to_numpy())
    return None


def _head(text: Any) -> Any:
    return pc.drop_null(text[: _PROBE * 4])[:_PROBE]


def _is_true_false(filled: Any) -> bool:
    words = {"true", "false"}
    if not {str(value).lower() for value in pc.unique(_head(filled)).to_pylist()} <= words:
        return False
    values = {str(value).lower() for value in pc.unique(pc.drop_null(filled)).to_pylist()}
    return bool(values) and values <= words


def objects(text: Any) -> pd.Series:
    """Arrow strings letter for letter as Python objects, ``None`` where empty."""
    return pd.Series(pc.if_else(pc.equal(text, ""), None, text).to_pandas().to_numpy(dtype=object))


def _floats(array: Any) -> np.ndarray:
    return np.asarray(array.to_pandas(), dtype=np.float64)


def _mask(array: Any) -> np.ndarray:
    return np.asarray(pc.fill_null(array, False).to_pandas(), dtype=bool)


def guess_style(columns: list[Any], *, prefers_comma: bool) -> NumberStyle:
    """The style in which most of these columns (arrow strings) are numbers.

    ``1,234`` alone can be read two ways; ``prefers_comma`` says that a comma is rather a decimal sign
    here, as in files separated by semicolons.
    """
    order = sorted(STYLES, key=lambda style: style == NumberStyle(".", ",")) if prefers_comma else STYLES
    probes = (_head(column) for column in columns)
    telling = (probe for probe in probes if pc.any(pc.match_substring_regex(probe, r"\d[^\d]+\d")).as_py())
    deciding = list(islice(telling, _STYLE_COLUMNS))
    scores = [sum(not read_numbers(probe, style)[1].any() for probe in deciding) for style in order]
    return order[int(np.argmax(scores))] if deciding else STYLES[0]


def numeric_share(column: pd.Series) -> float:
    """Share of a column's filled cells that are numbers in the style that suits them best; codes are none."""
    if column.dtype != object:
        return float(pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column))
    head = _head(as_text(column.dropna().head(_PROBE)))
    if not len(head) or pc.any(pc.match_substring_regex(head, _IDENTIFIER)).as_py():
        return 0.0
    return 1 - float(min(read_numbers(head, style)[1].mean() for style in STYLES))


@dataclass(frozen=True, slots=True)
class DateGuess:
    """How a column writes its dates.

    Attributes:
        date_format: one of ``DATE_FORMATS``.
        is_ambiguous: the values can also be read with day and month exchanged, and nothing speaks clearly
            for one of the two.
    """

    date_format: str
    day_first: bool
    is_ambiguous: bool = False


def guess_dates(column: pd.Series, *, prefers_day_first: bool = False, by_name: bool = False) -> DateGuess | None:
    """The date format of a column; ``None`` when it holds no dates.

    ``by_name`` says that the column is known to hold dates, so that bare years and Excel serial numbers are
    believed too. Numbers of seconds since an epoch are never guessed.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        return DateGuess(ISO, prefers_day_first)
    if pd.api.types.is_bool_dtype(column):
        return None
    values = column.dropna().drop_duplicates()
    values = pd.concat([values.head(_PROBE), values.tail(_PROBE)]).drop_duplicates()
    if values.empty:
        return None
    numeric = pd.api.types.is_numeric_dtype(column)
    if numeric and not values.between(1_000, 99_999_999).all():  # neither years nor days as digits
        return None
    texts = _plain(values)
    formats = [name for name in (*_COMPACT, EXCEL_SERIAL) if numeric] or list(DATE_FORMATS)
    if not by_name:
        formats = [name for name in formats if name not in {"%Y", EXCEL_SERIAL}]
    # A column known to hold dates is still one when up to half of its cells are at fault: they get named.
    enough = _MIN_SHARE / 2 if by_name else _MIN_SHARE
    best: tuple[float, str, pd.Series] | None = None
    for name in formats:
        if texts.str.fullmatch(_shape(name)).mean() < enough:  # a cheap test before the dear one
            continue
        parsed = _parse(texts, name)
        share = float(parsed.notna().mean())
        if share >= enough and (best is None or share > best[0]):
            best = share, name, parsed
        if share >= _MIN_SHARE:
            break
    return _settle_order(best[1], texts, best[2], prefers_day_first) if best else None


def _settle_order(name: str, texts: pd.Series, parsed: pd.Series, prefers_day_first: bool) -> DateGuess:
    """Choose between day first and month first where both read the values about equally well."""
    if "%d" not in name or "%m" not in name or name.startswith("%Y"):
        return DateGuess(name, prefers_day_first)
    other = name.replace("%d", "%%").replace("%m", "%d").replace("%%", "%m")
    exchanged = _parse(texts, other)
    if exchanged.notna().mean() < parsed.notna().mean():
        return DateGuess(name, name.startswith("%d"))
    if exchanged.notna().mean() > parsed.notna().mean():
        return DateGuess(other, other.startswith("%d"))
    ours, theirs = _regularity(parsed), _regularity(exchanged)
    if abs(ours - theirs) > 0.1:
        best = name if ours > theirs else other
        return DateGuess(best, best.startswith("%d"))
    day_first = prefers_day_first or "." in name
    best = name if name.startswith("%d") == day_first else other
    return DateGuess(best, day_first, is_ambiguous=bool((parsed != exchanged).any()))


def _regularity(stamps: pd.Series) -> float:
    """Share of a regular calendar between the first and the last stamp that is filled, 0-1."""
    ds = pd.DatetimeIndex(stamps.dropna().unique()).sort_values()
    alias = guess_alias(ds)
    if alias is None:
        return 0.0
    calendar = Frequency.parse(alias).between(ds[0], ds[-1])
    return len(ds.intersection(calendar)) / max(len(ds), len(calendar))


def read_dates(column: pd.Series, date_format: str | None = None, *, day_first: bool = False) -> pd.Series:
    """A column as naive timestamps in its own zone; what can't be read, and what is absent, is NaT.

    UTC offsets are dropped and the wall clock kept. Periods become their first day. Without a format it
    is guessed from the column, which the caller says is a time column.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        naive = column.dt.tz_localize(None) if isinstance(column.dtype, pd.DatetimeTZDtype) else column
        return naive.astype("datetime64[ns]")
    if date_format is None:
        guess = guess_dates(column, prefers_day_first=day_first, by_name=True)
        if guess is None:
            return pd.Series(pd.NaT, index=column.index, dtype="datetime64[ns]")
        date_format = guess.date_format
    codes, uniques = pd.factorize(_cells(column))
    parsed = _parse(_plain(pd.Series(uniques, dtype=object)), date_format).to_numpy(dtype="datetime64[ns]")
    padded = np.append(parsed, np.datetime64("NaT"))  # code -1, an absent value, takes the last one
    return pd.Series(padded[codes], index=column.index)


def dates_like(date_format: str) -> str:
    """Dates in one of ``DATE_FORMATS``, in words and by example: ``dates such as 31/01/2024``."""
    match date_format:
        case "ISO8601":
            return "year-month-day dates such as 2024-01-31"
        case "quarter":
            return "quarters such as 2024 Q1"
        case "ISO week":
            return "weeks such as 2024-W05"
        case "Excel serial":
            return "Excel day numbers such as 45322"
        case _:
            return f"dates such as {_EXAMPLE_DATE.strftime(date_format)}"


def key_text(value: object) -> str:
    """What a key is called: text letter for letter, a number without needless zeros, a day without its midnight."""
    match value:
        case Decimal():
            text = f"{value:f}"  # normalize() would round to 28 digits
            return text.rstrip("0").rstrip(".") if "." in text else text
        case float() | np.floating() if float(value).is_integer():
            return str(int(value))
        case datetime():
            return value.isoformat().removesuffix("T00:00:00")
        case _:
            return str(value)


def _plain(values: pd.Series) -> pd.Series:
    """Values as trimmed text; 202401.0 as 202401, and objects that are dates as ISO text."""
    return pd.Series([_plain_one(value) for value in values], index=values.index, dtype=object)


def _plain_one(value: object) -> str:
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return str(value).strip()


@lru_cache(maxsize=256)
def _shape(name: str) -> str:
    match name:
        case "ISO8601":
            return _ISO_SHAPE + r"\s*(?:Z|UTC|[+-]\d{2}:?\d{2})?"
        case "quarter":
            return re.sub(r"\?P<\w+>", "?:", _QUARTER_SHAPE)
        case "ISO week":
            return re.sub(r"\?P<\w+>", "?:", _WEEK_SHAPE)
        case "Excel serial":
            return r"\d{5}(?:\.\d+)?"
        case _:
            pieces = re.split(r"(%[A-Za-z])", name)
            return "".join(_PARTS[piece] if piece in _PARTS else re.escape(piece) for piece in pieces)


def _parse(texts: pd.Series, name: str) -> pd.Series:
    """Unique texts in one format as timestamps, NaT where they are not in it."""
    match name:
        case "ISO8601":
            local = texts.str.replace(_OFFSET, "", regex=True).where(texts.str.fullmatch(_shape(ISO)))
            return pd.to_datetime(local, format="ISO8601", errors="coerce")
        case "quarter":
            found = texts.str.extract(f"^{_QUARTER_SHAPE}$")
            year = pd.to_numeric(found["year"].fillna(found["year2"]))
            month = pd.to_numeric(found["quarter"].fillna(found["quarter2"])) * 3 - 2
            return pd.to_datetime(pd.DataFrame({"year": year, "month": month, "day": 1}), errors="coerce")
        case "ISO week":
            found = texts.str.extract(f"^{_WEEK_SHAPE}$")
            monday = found["year"] + "-W" + found["week"].str.zfill(2) + "-1"
            return pd.to_datetime(monday, format="%G-W%V-%u", errors="coerce")
        case "Excel serial":
            serial = pd.to_numeric(texts, errors="coerce")
            serial = serial.where(serial.between(*_EXCEL_RANGE))
            return _EXCEL_EPOCH + pd.to_timedelta((serial * 86_400).round(), unit="s")
        case _:
            return pd.to_datetime(texts.where(texts.str.fullmatch(_shape(name))), format=name, errors="coerce")
