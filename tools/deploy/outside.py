"""``resources/outside/grants.yml``: what the app needs of things that the bundle does not own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

FILE: Final = Path("resources/outside/grants.yml")
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
    listed = yaml.safe_load((root / FILE).read_text(encoding="utf-8"))

    def text(entry: Mapping[str, Any], key: str) -> str:
        return _REFERENCE.sub(lambda found: known[found[1]], entry[key])

    return Outside(
        grants=tuple((text(e, "securable"), text(e, "name"), text(e, "privilege")) for e in listed.get("grants", ())),
        entitlements=tuple(text(e, "entitlement") for e in listed.get("entitlements", ())),
    )
