"""``python -m tools.bundle``: check the bundle; with ``--write-permissions`` put the table of them into the page."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from tools.bundle.access import PAGE, table, table_on_page, write_table
from tools.bundle.rules import RULES, VARIANTS, problems, variants
from tools.bundle.types import SCHEMA

ROOT: Final = Path(__file__).resolve().parents[2]


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Print what is wrong; 1 when something is."""
    parser = argparse.ArgumentParser(prog="python -m tools.bundle", description="Check the deployment bundle.")
    parser.add_argument("--write-permissions", action="store_true", help=f"renew the table in {PAGE}")
    options = parser.parse_args(arguments)
    found = [f"{problem} [{rule}]" for rule, problem in problems(root)]
    if not found and options.write_permissions:
        write_table(root, list(variants(root).values()))
    elif not found and table_on_page((root / PAGE).read_text(encoding="utf-8")) != table(variants(root).values()):
        found = [f"{PAGE}: the table of permissions is not that of the bundle. Run make permissions. [permissions]"]
    for line in found:
        print(line, file=sys.stderr)
    schema = os.environ.get(SCHEMA) or f"not asked, {SCHEMA} names none"
    count = f"{len(found)} problems" if found else "nothing is wrong"
    print(f"bundle: {len(RULES)} rules, {len(VARIANTS)} ways to deploy, schema {schema}: {count}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
