"""A bundle as it would be deployed: files merged, a target chosen, variables put in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tools.bundle.tree import Node, Unreadable, merged, read

BUNDLE_FILE: Final = "databricks.yml"
APP_FILE: Final = "app.yaml"
REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][\w.\-\[\]]*)\}")
_DEPTH: Final = 10  # of variables in variables
_GLOB: Final = re.compile(r"[*?\[]")
_OF_THE_TARGET: Final = ("resources", "workspace", "sync", "permissions", "presets")
_WORKSPACE: Final = {
    # Known to the CLI only: what a workspace would answer, so that names have their real form.
    "workspace.current_user.userName": "ann@example.com",
    "workspace.current_user.short_name": "ann",
    "workspace.host": "https://example.cloud.databricks.com",
    "workspace.file_path": "/Workspace/Users/ann@example.com/.bundle/files",
    "workspace.root_path": "/Workspace/Users/ann@example.com/.bundle",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something to change.

    Attributes:
        place: file and line.
        what: what is wrong, with the key.
        remedy: what to do.
    """

    place: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what} {self.remedy}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """All files of a bundle.

    Attributes:
        root: the folder of ``databricks.yml``.
        raw: the merged files, targets not applied.
        app_file: ``app.yaml``.
        options: optional files that are included beyond those of ``databricks.yml``'s own choice.
    """

    root: Path
    raw: Node
    app_file: Node
    options: tuple[str, ...] = ()

    def targets(self) -> list[str]:
        """Their names."""
        return [name for name, _ in self.raw.items("targets")]

    def deployment(self, target: str) -> Deployment:
        """The bundle as deployed to a target."""
        chosen = self.raw.get("targets", target)
        assert chosen is not None, "one of targets()"
        config = self.raw
        for part in _OF_THE_TARGET:
            addition = chosen.get(part)
            if addition is not None:
                config = merged(config, Node(value={part: addition}, place=addition.place))
        values = {name: node.get("default") for name, node in self.raw.items("variables")}
        values |= {name: node.get("default") or node for name, node in chosen.items("variables")}
        known = {f"var.{name}": node for name, node in values.items() if node is not None}
        names = {**_WORKSPACE, "bundle.name": self.raw.text("bundle", "name"), "bundle.target": target}
        known |= {name: Node(value=value, place=BUNDLE_FILE) for name, value in names.items()}
        resolved = Node(value={key: node for key, node in config.items() if key != "targets"}, place=config.place)
        return Deployment(
            bundle=self,
            target=target,
            mode=chosen.text("mode"),
            unresolved=resolved,
            config=_substituted(resolved, known),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A bundle and a target.

    Attributes:
        mode: ``development`` or ``production``.
        unresolved: before variables are put in.
        config: after; references to resources remain.
    """

    bundle: Bundle
    target: str
    mode: str
    unresolved: Node
    config: Node

    def resources(self, kind: str) -> list[tuple[str, Node]]:
        """Those of a kind, by key."""
        return self.config.items("resources", kind)

    def all_resources(self) -> list[tuple[str, str, Node]]:
        """Kind, key and definition of each."""
        kinds = self.config.items("resources")
        return [(kind, key, node) for kind, of_kind in kinds for key, node in of_kind.items()]

    def known_value(self, text: str) -> str:
        """A text with references to what the files say of resources put in; ids remain references."""

        def value(match: re.Match[str]) -> str:
            node = self.config.get(*match[1].split("."))
            return self.known_value(str(node.value)) if node is not None and isinstance(node.value, str) else match[0]

        return REFERENCE.sub(value, text)


def load(root: Path, options: Sequence[str] | None = None) -> Bundle:
    """Read a bundle.

    Args:
        root: the folder of ``databricks.yml``.
        options: included files below ``resources/``'s folders instead of those that ``databricks.yml`` names.

    Raises:
        Unreadable: a file is missing or no YAML, or a resource is defined twice.
    """
    main = read(root / BUNDLE_FILE, root)
    raw = main
    owners: dict[str, str] = {}
    seen = {root / BUNDLE_FILE}
    _claim(main, owners)
    for include, place in _includes(main, options):
        files = sorted(root.glob(include))
        if not files and not _GLOB.search(include):
            raise Unreadable(f"{place}: include {include!r} matches no file; correct its name or take it out.")
        for file in files:
            if file in seen:
                continue
            seen.add(file)
            part = read(file, root)
            _claim(part, owners)
            raw = merged(raw, part)
    return Bundle(root=root, raw=raw, app_file=read(root / APP_FILE, root), options=tuple(options or ()))


def _includes(main: Node, options: Sequence[str] | None) -> list[tuple[str, str]]:
    named = [(str(node.value), node.place) for node in main.elements("include")]
    if options is None:
        return named
    return [(path, place) for path, place in named if _GLOB.search(path)] + [(path, BUNDLE_FILE) for path in options]


def _claim(part: Node, owners: dict[str, str]) -> None:
    """Keys are unique over all kinds, since the CLI's commands name a resource by its key alone."""
    for kind, resources in part.items("resources"):
        for key, node in resources.items():
            if key in owners:
                raise Unreadable(
                    f"{node.place}: resources.{kind}.{key} has the key of the resource at {owners[key]}; "
                    "give one of them another key."
                )
            owners[key] = node.place


def _substituted(node: Node, known: Mapping[str, Node]) -> Node:
    def change(scalar: Node) -> Node:
        for _ in range(_DEPTH):
            if not isinstance(scalar.value, str):
                return scalar
            whole = REFERENCE.fullmatch(scalar.value)
            if whole and whole[1] in known:
                found = known[whole[1]]
                if isinstance(found.value, dict | list):
                    return replace(found.mapped(change), why=scalar.why)
                scalar = replace(scalar, value=found.value)
                continue
            text = REFERENCE.sub(lambda match: _text(known, match), scalar.value)
            if text == scalar.value:
                return scalar
            scalar = replace(scalar, value=text)
        return scalar

    return node.mapped(change)


def _text(known: Mapping[str, Node], match: re.Match[str]) -> str:
    node = known.get(match[1])
    return match[0] if node is None or isinstance(node.value, dict | list) else _scalar(node.value)


def _scalar(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
