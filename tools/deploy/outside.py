"""``resources/outside/grants.yml``: what the app needs of things that the bundle does not own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tools.bundle.access import OUTSIDE
from tools.bundle.tree import Node, Unreadable, read

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
        Unreadable: it can't be read, or names a reference that is not known; says where.
    """

    def filled(node: Node) -> Node:
        missing = [name for name in _REFERENCE.findall(str(node.value)) if name not in known]
        if missing:
            raise Unreadable(f"{node.place}: ${{{missing[0]}}} is none of {', '.join(sorted(known))}")
        return replace(node, value=_REFERENCE.sub(lambda found: known[found[1]], str(node.value)))

    listed = read(root / OUTSIDE, root).mapped(filled)
    return Outside(
        grants=tuple((e.text("securable"), e.text("name"), e.text("privilege")) for e in listed.elements("grants")),
        entitlements=tuple(e.text("entitlement") for e in listed.elements("entitlements")),
    )
