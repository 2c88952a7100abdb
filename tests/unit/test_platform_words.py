"""Causes and missing grants in the words of the platform."""

from __future__ import annotations

import pytest

from services.domain.failure import Cause
from services.domain.platform_words import cause_of, missing_grant


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("AWS_EC2: instance was preempted", Cause.SPOT_LOSS),
        ("ExecutorLostFailure: spot instance i-1 reclaimed", Cause.SPOT_LOSS),
        ("MemoryError", Cause.OUT_OF_MEMORY),
        ("Fatal error: The Python kernel is unresponsive.", Cause.OUT_OF_MEMORY),
        ("Container killed, OOM", Cause.OUT_OF_MEMORY),
        ("the zoom level is wrong", None),
        ("Run timed out after 3600 seconds", Cause.TIME_LIMIT),
        ("User x is not authorized to create clusters", Cause.PERMANENT),
        ("The run was evicted by a run of higher priority", Cause.EVICTED),
        ("Azure spot eviction of the machine", Cause.SPOT_LOSS),
        ("VcpuLimitExceeded", Cause.PERMANENT),
        ("REQUEST_LIMIT_EXCEEDED", Cause.TRANSIENT),
        ("ZONE_RESOURCE_POOL_EXHAUSTED STOCKOUT", Cause.TRANSIENT),
        ("The Spark driver is unresponsive", Cause.LOST),
        ("KeyError: 'sales'", None),
        ("", None),
    ],
)
def test_known_phrases_name_a_cause(text: str, cause: Cause | None) -> None:
    assert cause_of(text) is cause


@pytest.mark.parametrize(
    ("text", "grant", "who"),
    [
        ("User does not have READ VOLUME on Volume 'a.b.c'.", "READ VOLUME on Volume a.b.c", "schema's owner"),
        ("User does not have USE SCHEMA on Schema 'a.b'.", "USE SCHEMA on Schema a.b", "schema's owner"),
        ("User does not have USE CATALOG on Catalog `a`", "USE CATALOG on Catalog a", "catalog's owner"),
        ("6f1c does not have CAN_USE permission on cluster policy ABC", "CAN_USE on cluster policy", "workspace admin"),
        ("User is not authorized to create clusters.", "CAN_USE on a cluster policy", "admin"),
    ],
)  # fmt: skip
def test_a_missing_grant_is_named_with_who_can_give_it(text: str, grant: str, who: str) -> None:
    said = missing_grant(text)
    assert f"Missing grant: {grant}" in said
    assert who in said


def test_other_words_name_no_grant() -> None:
    assert missing_grant("Cluster became unreachable") == ""
