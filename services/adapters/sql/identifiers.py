"""Names of catalogs, schemas, tables and columns in statements: all of them pass through ``quoted``."""

from __future__ import annotations


def quoted(*parts: str) -> str:
    """A name of one or more parts in backticks; a backtick inside a part is doubled.

    Raises:
        ValueError: a part is empty or holds a character that no identifier may have.
    """
    for part in parts:
        if not part or not part.isprintable():
            raise ValueError(f"{part!r} can't be the name of a catalog, schema, table or column.")
    return ".".join(f"`{part.replace('`', '``')}`" for part in parts)
