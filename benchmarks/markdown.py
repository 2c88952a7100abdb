"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is left-aligned, the others right."""
    align = [":--", *["--:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, align, *rows))


def signed_percent(share: float) -> str:
    """``+1.3 %`` with a true minus sign."""
    return f"{share:+.1%}".replace("-", "−").replace("%", " %")


def percent(share: float) -> str:
    """``81.3``, for columns whose head says percent."""
    return f"{100 * share:.1f}"


def seconds(value: float) -> str:
    """Seconds to three figures."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def mib(n_bytes: float) -> str:
    """Mebibytes."""
    return f"{n_bytes / 2**20:,.0f}"
