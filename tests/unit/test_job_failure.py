"""Causes of a bad end, and what follows from them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.failure import CAUSE_OF_KIND, Cause, RetryPolicy, classify
from training.errors import FailureKind, TrainingFailure

POLICY = RetryPolicy(max_retries=3, delay=timedelta(seconds=30), jitter=0.2)


def test_every_kind_of_training_failure_has_a_cause() -> None:
    assert CAUSE_OF_KIND.keys() == set(FailureKind)


def test_what_training_wrote_wins_over_what_was_seen() -> None:
    written = TrainingFailure(kind=FailureKind.DATA, message="Column y has text.", remedy="Clean it.")
    failure = classify(written, Cause.INTERNAL, "exit code 2")
    assert (failure.cause, failure.message) == (Cause.DATA, "Column y has text. Clean it.")


def test_without_a_word_from_training_the_executor_is_believed() -> None:
    assert classify(None, Cause.LOST, "gone").cause is Cause.LOST
    nothing_known = classify(None, None, "")
    assert nothing_known.cause is Cause.INTERNAL
    assert nothing_known.message


def test_delays_double() -> None:
    waits = [POLICY.wait(Cause.TRANSIENT, n, 0.0) for n in range(4)]
    assert waits == [timedelta(seconds=30), timedelta(seconds=60), timedelta(seconds=120), None]


@pytest.mark.parametrize("cause", Cause)
def test_only_what_passes_by_itself_is_retried(cause: Cause) -> None:
    passes = {Cause.TRANSIENT, Cause.LOST, Cause.EVICTED, Cause.SKIPPED, Cause.PLATFORM}
    assert (POLICY.wait(cause, 0, 0.0) is not None) == (cause in passes)


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 2))
def test_jitter_adds_a_fifth_at_most(share: float, retries: int) -> None:
    wait = POLICY.wait(Cause.LOST, retries, share)
    assert wait is not None
    assert 1 <= wait / (POLICY.delay * 2**retries) <= 1.2
