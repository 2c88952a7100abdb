"""What kind of file this is, and how its text is laid out: format, encoding, separator, header row."""

from __future__ import annotations

import codecs
import csv
import io
import re
import zipfile
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Final

from charset_normalizer import from_bytes

from training.errors import DataError

SEPARATORS: Final = ("\t", ";", "|", ",")  # at equal merit the rarer sign in ordinary text wins
HEAD_BYTES: Final = 256 * 1024
_ENCODINGS: Final = ("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "shift_jis", "gb18030", "big5", "euc_kr")
_BOMS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_FOREIGN: Final = (
    (b"\xd0\xcf\x11\xe0", "an Excel file of the old .xls kind", "Save it as .xlsx or as CSV."),
    (b"\x1f\x8b", "a gzip archive", "Unpack it and upload the file inside."),
    (b"%PDF", "a PDF document", "Export the table behind it as CSV or Excel."),
    (b"\x89PNG", "a picture", "Export the table behind it as CSV or Excel."),
    (b"\xff\xd8\xff", "a picture", "Export the table behind it as CSV or Excel."),
)
_NUMBER: Final = re.compile(r"[-+(]?\s*[$€£]?\s*\d[\d\s.,']*\s*[%€$]?\)?")
_DATE: Final = re.compile(r"\d{4}-\d{2}(-\d{2}.*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}.*|\d{4}[/.]\d{1,2}[/.]\d{1,2}.*")


def guess_format(path: Path, filename: str) -> str:
    """``csv``, ``parquet`` or ``excel``, by what is inside; the name only breaks ties.

    Raises:
        DataError: the file is empty, or is none of them.
    """
    with path.open("rb") as file:
        head = file.read(8192)
    if not head.strip(b" \t\r\n\x00"):
        raise DataError(f"The file {filename!r} is empty.", remedy="Upload a file with a header and rows.")
    if head[:4] == b"PAR1":
        return "parquet"
    if head[:4] == b"PK\x03\x04":
        return _inside_zip(path, filename)
    for magic, what, remedy in _FOREIGN:
        if head.startswith(magic):
            raise DataError(f"The file {filename!r} is {what}, which can't be read as a table.", remedy=remedy)
    if b"\x00" in head and not any(head.startswith(bom) for bom, _ in _BOMS) and not _bare_utf16(head):
        raise DataError(
            f"The file {filename!r} holds binary data, not text, whatever its name says.",
            remedy="Upload CSV text, Parquet or Excel (.xlsx).",
        )
    named = Path(filename).suffix.lower()
    if named in {".parquet", ".xlsx", ".xlsm"}:
        raise DataError(
            f"The file {filename!r} is named {named} but is not one, or is damaged.",
            remedy="Export it again, or rename it to .csv if it is text.",
        )
    return "csv"


def _inside_zip(path: Path, filename: str) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as exc:
        raise DataError(
            f"The Excel file {filename!r} is damaged or was not uploaded whole.", remedy="Save it again in Excel."
        ) from exc
    if any(name.startswith("xl/") for name in names):
        return "excel"
    raise DataError(f"The file {filename!r} is a zip archive.", remedy="Unpack it and upload the file inside.")


def guess_encoding(path: Path) -> str:
    """The encoding of a text file: its byte order mark, else UTF-8 if all of it is, else the likeliest."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        for bom, name in _BOMS:
            if head.startswith(bom):
                return name
        if bare := _bare_utf16(head):
            return bare
        foreign = _first_not_utf8(file)
    if foreign is None:
        return "utf-8"
    best = from_bytes(foreign, cp_isolation=list(_ENCODINGS)).best()
    # Western European text often decodes the same under several code pages; the commonest is the honest name.
    return best.encoding if best and "cp1252" not in best.could_be_from_charset else "cp1252"


def _bare_utf16(head: bytes) -> str | None:
    """UTF-16 without its mark shows as every other byte being zero."""
    sample = head[:4096]
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if odd > 0.4 * len(sample) / 2 and even == 0:
        return "utf-16-le"
    if even > 0.4 * len(sample) / 2 and odd == 0:
        return "utf-16-be"
    return None


def _first_not_utf8(file: io.BufferedReader) -> bytes | None:
    """The block around the first bytes that are no UTF-8, or ``None``; reads the file through once."""
    file.seek(0)
    decoder = codecs.getincrementaldecoder("utf-8")()
    while True:
        block = file.read(HEAD_BYTES)
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError:
            return block
        if not block:
            return None


def sample_text(path: Path, encoding: str) -> str:
    """The first 256 KB and, of files in one-byte-safe encodings, some lines from the middle and the end."""
    size = path.stat().st_size
    with path.open("rb") as file:
        blocks = [file.read(HEAD_BYTES)]
        if size > 4 * HEAD_BYTES and not encoding.startswith("utf-16"):
            for start in (size // 2, size - HEAD_BYTES // 4):
                file.seek(start)
                blocks.append(file.read(HEAD_BYTES // 4).partition(b"\n")[2])
    texts = [block.decode(encoding, errors="replace").lstrip("\ufeff") for block in blocks]
    if size > HEAD_BYTES:  # the last line of each block may be cut
        texts = [text.rpartition("\n")[0] or text for text in texts]
    return "\n".join(texts)


def rows_of(text: str, separator: str, limit: int = 2_000) -> list[list[str]]:
    """The non-empty records of some text."""
    rows = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
            if any(cell.strip() for cell in row):
                rows.append(row)
            if len(rows) >= limit:
                break
    except csv.Error:  # a field beyond the csv module's limit: an unbalanced quote; what came before it will do
        pass
    return rows


def lines_of_header(text: str, separator: str, header_row: int) -> int:
    """Physical lines up to the end of the header record, blank ones and line breaks in quotes included."""
    if not header_row:
        return 0
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    filled = (row for row in reader if any(cell.strip() for cell in row))
    for _ in islice(filled, header_row):
        pass
    return reader.line_num


def guess_separator(text: str) -> str:
    """The sign that cuts most lines into the same number of cells, two or more; a comma where none does."""
    head = "\n".join(text.splitlines()[:500])
    best, merit = ",", 0.0
    for separator in SEPARATORS:
        widths = Counter(len(row) for row in rows_of(head, separator))
        if not widths:
            continue
        width, lines = widths.most_common(1)[0]
        share = lines / widths.total() if width > 1 else 0.0
        if share > merit + 0.02:
            best, merit = separator, share
    return best


def guess_header_row(rows: list[list[str]]) -> int:
    """One-based number of the record that names the columns; 0 when the first record is data already.

    Titles and notes above the table are narrower than the table.
    """
    widths = Counter(len(row) for row in rows)
    if not widths:
        return 1
    width = max(widths, key=lambda w: (widths[w], w))
    if all(not row[-1].strip() for row in rows if len(row) == width):  # rows that end with a separator
        width -= 1
    for number, row in enumerate(rows[:50], start=1):
        filled = [cell.strip() for cell in row if cell.strip()]
        if len(row) >= width and len(filled) > len(row) / 2:
            return 0 if number == 1 and _looks_like_data(filled) else number
    return 1


def _looks_like_data(cells: list[str]) -> bool:
    dates = sum(bool(_DATE.fullmatch(cell)) for cell in cells)
    numbers = sum(bool(_NUMBER.fullmatch(cell)) for cell in cells)
    return dates == 1 or numbers == len(cells)  # several dates are the header of a wide table


def unique_names(cells: list[str]) -> list[str]:
    """Column names as written, trimmed; empty ones named by position, repeated ones numbered."""
    taken: set[str] = set()
    seen: Counter[str] = Counter()
    names = []
    for position, cell in enumerate(cells, start=1):
        wanted = cell.strip() or f"column {position}"
        name = wanted
        while name in taken:
            seen[wanted] += 1
            name = f"{wanted} ({seen[wanted] + 1})"
        taken.add(name)
        names.append(name)
    return names
