"""YAML that remembers where each value was written, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import yaml

_WHY: Final = "# why:"
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # seven times faster where it is built


class Unreadable(Exception):
    """A file that is no YAML, or names a key twice; says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A value with its origin.

    Attributes:
        value: a scalar, a list of nodes, or a dict of them by key.
        place: file and line, as ``app.yaml:3``.
        why: the ``# why:`` comment above it; empty for none.
    """

    value: Any
    place: str
    why: str = ""

    def get(self, *path: str) -> Node | None:
        """What is under these keys."""
        found: Node | None = self
        for key in path:
            found = found.value.get(key) if found is not None and isinstance(found.value, dict) else None
        return found

    def items(self, *path: str) -> list[tuple[str, Node]]:
        """The entries of the mapping under these keys; none where there is none."""
        found = self.get(*path)
        return list(found.value.items()) if found is not None and isinstance(found.value, dict) else []

    def elements(self, *path: str) -> list[Node]:
        """The elements of the list under these keys; none where there is none."""
        found = self.get(*path)
        return list(found.value) if found is not None and isinstance(found.value, list) else []

    def text(self, *path: str) -> str:
        """The scalar under these keys as text; empty where there is none."""
        found = self.get(*path)
        return "" if found is None or isinstance(found.value, dict | list) or found.value is None else str(found.value)

    def plain(self) -> Any:
        """Without the origins."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def walk(self, path: str = "") -> Iterator[tuple[str, Node]]:
        """Every scalar below, with its path, such as ``resources.apps.forecast.config.env[0].name``."""
        if isinstance(self.value, dict):
            for key, node in self.value.items():
                yield from node.walk(f"{path}.{key}" if path else key)
        elif isinstance(self.value, list):
            for index, node in enumerate(self.value):
                yield from node.walk(f"{path}[{index}]")
        else:
            yield path, self

    def mapped(self, change: Callable[[Node], Node]) -> Node:
        """With every scalar changed; what takes its place may be a list or a mapping."""
        if isinstance(self.value, dict):
            return replace(self, value={key: node.mapped(change) for key, node in self.value.items()})
        if isinstance(self.value, list):
            return replace(self, value=[node.mapped(change) for node in self.value])
        return change(self)


def read(path: Path, root: Path) -> Node:
    """A file as nodes.

    Raises:
        Unreadable: it is missing, no YAML, or has a key twice.
    """
    name = path.relative_to(root).as_posix()
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=_LOADER)
    except OSError as exc:
        raise Unreadable(f"{name}: can't be read: {exc.strerror}") from exc
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else 1
        raise Unreadable(f"{name}:{line}: is no YAML: {exc.problem}") from exc
    return _Reader(name, text.splitlines()).node(node) if node is not None else Node(value={}, place=f"{name}:1")


class _Reader:
    def __init__(self, name: str, lines: list[str]) -> None:
        self._name = name
        self._lines = lines
        self._scalars = yaml.SafeLoader("")

    def node(self, node: yaml.Node) -> Node:
        line: int = node.start_mark.line
        place = f"{self._name}:{line + 1}"
        value: Any
        if isinstance(node, yaml.MappingNode):
            value = {}
            for key, entry in node.value:
                if key.value in value:
                    raise Unreadable(f"{self._name}:{key.start_mark.line + 1}: {key.value!r} is given twice")
                value[key.value] = self.node(entry)
        elif isinstance(node, yaml.SequenceNode):
            value = [self.node(entry) for entry in node.value]
        else:
            value = self._scalars.construct_object(node)
        return Node(value=value, place=place, why=self._why(line))

    def _why(self, line: int) -> str:
        above = self._lines[line - 1].strip() if line else ""
        return above.removeprefix(_WHY).strip() if above.startswith(_WHY) else ""


def merged(first: Node, second: Node) -> Node:
    """As the CLI merges: mappings key by key, lists one after the other, of scalars the second."""
    if isinstance(first.value, dict) and isinstance(second.value, dict):
        both = {key: merged(first.value[key], node) for key, node in second.value.items() if key in first.value}
        return replace(first, value={**first.value, **second.value, **both})
    if isinstance(first.value, list) and isinstance(second.value, list):
        return replace(first, value=[*first.value, *second.value])
    return second
