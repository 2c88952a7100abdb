"""What an exit code of training means for the job."""

from __future__ import annotations

from services.adapters.local import endings
from services.adapters.local.rundir import Exit, Order
from services.domain.failure import Cause, RetryPolicy
from services.domain.job import RunId
from services.ports import RunState
from training.main import EXIT_NOT_LOGGED

ORDER = Order(command=(), working_dir="", environment={}, timeout_s=60, places=1, ticket="1", accepted_at=1.0)


def test_a_run_that_could_not_tell_mlflow_is_tried_again() -> None:
    end = endings.ended(RunId("r"), Exit(code=EXIT_NOT_LOGGED, at=2.0, began_at=1.0), ORDER)
    assert (end.state, end.cause) == (RunState.FAILED, Cause.TRANSIENT)
    assert "MLflow" in end.detail
    assert RetryPolicy().wait(Cause.TRANSIENT, 0, 0.0) is not None
