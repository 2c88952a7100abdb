"""What the words of a compute platform say of how a run ended, where its codes are silent.

Platforms add codes and put the essence into a message; these are the phrases that Databricks, Spark, Python
and the clouds are known to use. Pure: text in, cause or remedy out.
"""

from __future__ import annotations

import re
from typing import Final

from services.domain.failure import Cause

_PHRASES: Final[tuple[tuple[Cause, str], ...]] = (
    # The order decides: a preempted machine also "became unreachable" or was "evicted", a killed process is "lost".
    (
        Cause.SPOT_LOSS,
        r"spot[ _-]?instance|spot_(?:loss|terminat|preempt)|preempt(?:ed|ion|ible)|spot vm|spot eviction",
    ),
    (
        Cause.OUT_OF_MEMORY,
        r"out[ _-]?of[ _-]?memory|\boom\b|oomkilled|exit code 137|java heap space|gc overhead limit|memoryerror"
        r"|cannot allocate memory|python kernel is unresponsive",
    ),
    (Cause.EVICTED, r"\bevicted\b|\beviction\b"),
    (Cause.TIME_LIMIT, r"timed out after|run timed out|exceeded.{0,30}(?:timeout|maximum run duration)"),
    (
        Cause.PERMANENT,
        r"permission_denied|unauthorized|not authorized|does not have [A-Z_ ]+ (?:on|permission)|access denied"
        r"|insufficient (?:permissions|privileges)|forbidden|quota|limit exceeded for|vcpulimit|budget policy",
    ),
    (
        Cause.TRANSIENT,
        r"request_limit|rate limit|too many requests|temporarily unavailable|try again later"
        r"|insufficient.{0,20}capacity|stockout|no capacity|connection (?:reset|refused)|cloud_provider_launch",
    ),
    (
        Cause.LOST,
        r"driver.{0,40}(?:stopped unexpectedly|unreachable|unresponsive|lost|not healthy)|driver_un"
        r"|cluster.{0,60}(?:unreachable|terminated|became unusable)|lost communication|executor lost",
    ),
)
_COMPILED: Final = tuple((cause, re.compile(pattern, re.IGNORECASE | re.DOTALL)) for cause, pattern in _PHRASES)

_USER_LACKS: Final = re.compile(
    r"does not have (?:the )?(?P<grant>[A-Z][A-Z_ ]*[A-Z])(?: permission| privilege)?s? "
    r"(?:on|for) (?P<what>[\w ]*?)\s*['`\"](?P<name>[^'`\"]+)['`\"]"
)
_CAN_LACKS: Final = re.compile(r"\b(?P<grant>CAN_[A-Z_]+|Can [A-Z][a-z]+)\b.{0,40}?\bon (?P<what>[\w -]+)", re.DOTALL)
_OWNER_OF: Final = {
    "volume": "the volume's or schema's owner",
    "schema": "the schema's owner",
    "table": "the table's or schema's owner",
    "catalog": "the catalog's owner",
}
_BY_ADMIN: Final = "a workspace admin"


def cause_of(text: str) -> Cause | None:
    """The cause that a message names; ``None`` when it names none."""
    for cause, pattern in _COMPILED:
        if pattern.search(text):
            return cause
    return None


def missing_grant(text: str, whom: str = "the app's service principal") -> str:
    """Which grant ``whom`` lacks and who can give it, as a sentence; empty when the message names no grant."""
    if lacks := _USER_LACKS.search(text):
        what = " ".join(f"{lacks['what']} {lacks['name']}".split())
        kind = lacks["what"].strip().lower()
        return (
            f"Missing grant: {lacks['grant'].strip()} on {what}, for {whom}. "
            f"{_capital(_OWNER_OF.get(kind, _BY_ADMIN))} can give it."
        )
    if lacks := _CAN_LACKS.search(text):
        grant = lacks["grant"].upper().replace(" ", "_")
        return f"Missing grant: {grant} on {lacks['what'].strip()}, for {whom}. {_capital(_BY_ADMIN)} can give it."
    lowered = text.lower()
    if "not authorized to create" in lowered and "cluster" in lowered:
        return (
            "Missing grant: CAN_USE on a cluster policy (set CLUSTER_POLICY_ID), or the entitlement to create "
            f"clusters, for {whom}. A workspace admin can give it."
        )
    return ""


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]
