"""``resources/outside/grants.yml``: what the app needs of things that the bundle does not own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tools.bundle.access import OUTSIDE
from tools.bundle.tree import read

_REFERENCE: Final = re.compile(r"\$\{([^}]+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Grants and entitlements, with every reference replaced.

    Attributes:
        grants: kind of securable, its name, privilege.
        entitlements: of the app's service principal.
    """

    grants: tuple[tuple[str, str, str], ...]
    entitlements: tuple[str, ...]


def read_outside(root: Path, known: Mapping[str, str]) -> Outside:
    """The list, for one deployment.

    Args:
        root: of the project.
        known: values of references such as ``var.catalog``.

    Raises:
        KeyError: the list names a reference that is not known.
    """
    listed = read(root / OUTSIDE, root).mapped(
        lambda node: replace(node, value=_REFERENCE.sub(lambda found: known[found[1]], str(node.value)))
    )
    return Outside(
        grants=tuple((e.text("securable"), e.text("name"), e.text("privilege")) for e in listed.elements("grants")),
        entitlements=tuple(e.text("entitlement") for e in listed.elements("entitlements")),
    )
