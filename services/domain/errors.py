"""Errors of the app.

ForecastAppError           everything we raise on purpose; the text is for the user
├── NotFound               no such job, dataset or result, or not yours: both read the same
├── NotAllowed             an admin's action asked for by someone else
├── InvalidInput           a file or form that can't be used as it is
├── TableRefused           a table, or a list of tables, that the user's own rights do not open
│   └── LoginRefused       no right at all came with the request, or it has run out
├── LimitReached           too many active jobs
├── IllegalTransition      the job is not in a state that allows this
├── StaleJob               somebody else changed the job first: read it again
├── StaleDataset           the same of a dataset
├── SubmissionRefused      a run that can't be made until somebody changes something
├── SetupProblem           something of the installation is missing, or not as it must be
└── Unavailable            something we depend on does not answer
    ├── StoreUnavailable
    ├── ExecutorUnavailable
    ├── TrackingUnavailable
    ├── DirectoryUnavailable
    └── TablesUnavailable
"""

from __future__ import annotations


class ForecastAppError(Exception):
    """Everything the app raises on purpose. ``str(error)`` is written for the user."""

    remedy: str = ""


class NotFound(ForecastAppError):
    """No such thing, or it belongs to someone else: the two must not be told apart."""

    def __init__(self, noun: str, identifier: str) -> None:
        self.noun = noun
        self.identifier = identifier
        super().__init__(f"There is no {noun} {identifier!r}, or it is not yours.")


class NotAllowed(ForecastAppError):
    """An action that needs another role."""

    def __init__(self, action: str, needs: str) -> None:
        self.action = action
        self.needs = needs
        super().__init__(f"Only {needs} can {action}.")


class InvalidInput(ForecastAppError):
    """Input that can't be used as it is; says what, where and what to do."""

    def __init__(self, message: str, *, remedy: str = "", field: str | None = None) -> None:
        self.message = message
        self.remedy = remedy
        self.field = field
        super().__init__(f"{message} {remedy}".strip())


class TableRefused(ForecastAppError):
    """Databricks does not let this person do it; says what is missing and who can give it.

    Args:
        reason: what was refused, a sentence.
        remedy: what to do about it.
    """

    def __init__(self, reason: str, *, remedy: str = "") -> None:
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"{reason} {remedy}".strip())


class LoginRefused(TableRefused):
    """There is no token of the person's, or it is no longer valid."""


class LimitReached(ForecastAppError):
    """More jobs at once than the settings allow."""

    def __init__(self, *, scope: str, limit: int) -> None:
        self.scope = scope
        self.limit = limit
        super().__init__(
            f"{scope} already has {limit} active jobs, which is the limit. Wait for one to end, or cancel one."
        )


class IllegalTransition(ForecastAppError):
    """The job's status does not allow what was asked."""

    def __init__(self, *, job_id: str, status: str, action: str) -> None:
        self.job_id = job_id
        self.status = status
        self.action = action
        super().__init__(f"This job is {status.lower()}; it can't {action} now.")


class StaleJob(ForecastAppError):
    """The row's version is not the one that was read."""

    def __init__(self, *, job_id: str, version: int) -> None:
        self.job_id = job_id
        self.version = version
        super().__init__("This job has just been changed elsewhere. Look at it again, then repeat what you did.")


class StaleDataset(ForecastAppError):
    """The record's version is not the one that was read."""

    def __init__(self, *, dataset_id: str, version: int) -> None:
        self.dataset_id = dataset_id
        self.version = version
        super().__init__("This dataset has just been changed elsewhere. Look at it again, then repeat what you did.")


class SubmissionRefused(ForecastAppError):
    """The executor said no, and would again; no run exists.

    Args:
        reason: in the executor's words.
        remedy: what to change, and who can.
        is_config: the settings of the app are at fault, not a permission or a quota.
    """

    def __init__(self, reason: str, *, remedy: str = "", is_config: bool = False) -> None:
        self.reason = reason
        self.remedy = remedy
        self.is_config = is_config
        super().__init__(f"The run was refused: {reason.rstrip('.')}. {remedy}".strip())


class SetupProblem(ForecastAppError):
    """Something of the installation is missing or wrong; ``remedy`` names the setting or grant that mends it."""

    def __init__(self, message: str, *, remedy: str) -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(f"{message} {remedy}")


class Unavailable(ForecastAppError):
    """Something the app depends on does not answer; trying again later may help."""


class StoreUnavailable(Unavailable):
    """The job store does not answer."""


class ExecutorUnavailable(Unavailable):
    """The place where training runs does not answer."""


class TrackingUnavailable(Unavailable):
    """MLflow does not answer."""


class DirectoryUnavailable(Unavailable):
    """It can't be told now who belongs to a group."""


class TablesUnavailable(Unavailable):
    """The workspace's catalog or its SQL warehouse does not answer."""
