"""LargeTables: a table that stays where it is. The app counts and samples it; a run reads all of it by itself.

The run reads as the app's service principal, so three things keep it from becoming a way around a person's rights:
only tables that look the same to everybody are taken, the person's own right is asked for when the dataset is kept and
again at each start, and the version is the one the person saw.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

import pandas as pd

from services.dataset_check import Checked, check_table, panel_of, unreadable
from services.datasets import DatasetService
from services.domain.access import User
from services.domain.dataset import Dataset
from services.domain.errors import InvalidInput, LoginRefused, TableRefused
from services.domain.job import DatasetId
from services.domain.login import APP_LOGIN, Login
from services.domain.table import Origin, SeriesColumns, TableFacts, TableName, TableTotals
from services.ports import TableSource
from training.errors import DataError
from training.findings import Finding, Severity
from training.quality import Profile
from training.spec import ColumnRoles
from training.tables import ReadOptions, plain_table

logger = logging.getLogger(__name__)

SAMPLE_ROWS: Final = 200_000
_SAMPLE_SERIES: Final = 200


class LargeTables:
    """What is asked of a table that a dataset only refers to. Errors are those of ``TableSource``."""

    def __init__(self, *, source: TableSource, datasets: DatasetService) -> None:
        self._source = source
        self._datasets = datasets

    def check(
        self, user: User, login: Login, dataset_id: DatasetId, options: ReadOptions, roles: ColumnRoles
    ) -> Checked:
        """Everything that speaks for and against keeping it so: all series counted, some of them judged whole."""
        return self._surveyed(login, self._datasets.get(user, dataset_id), options, roles)[0]

    def keep(
        self, user: User, login: Login, dataset_id: DatasetId, options: ReadOptions, roles: ColumnRoles
    ) -> Dataset:
        """Make the draft READY, with some series as its panel.

        Raises:
            InvalidInput: a finding blocks it.
            TableRefused: the person or the app's service principal may not read the table.
        """
        dataset = self._datasets.get(user, dataset_id)
        self.require_app(_origin(dataset))
        checked, table = self._surveyed(login, dataset, options, roles)
        profile = checked.profile
        if profile is None or not profile.is_usable:
            blocking = checked.findings[0]
            raise InvalidInput(blocking.message, remedy=blocking.remedy, field=blocking.column)
        panel = panel_of(table, options, roles)
        return self._datasets.keep_sample(user, dataset_id, options, roles, panel=panel, profile=profile)

    def require_app(self, origin: Origin) -> None:
        """Let a table be kept where it is.

        Raises:
            TableRefused: the app's service principal, as which runs read it, may not.
        """
        self._require(origin, APP_LOGIN)

    def require_readable(self, user: User, dataset: Dataset, login: Login | None) -> None:
        """Let a run of the dataset begin; harmless for data that the app holds itself.

        Raises:
            TableRefused: who asks is not the owner, or may not read the table any more, or no login came along.
        """
        if dataset.origin is None or not dataset.origin.is_in_place:
            return
        if user.name != dataset.owner:
            raise TableRefused(
                f"The run reads {dataset.name} by the right of {dataset.owner}, so only {dataset.owner} can start it.",
                remedy="Ask them, or use the table yourself and make a job of your own.",
            )
        if login is None:
            raise LoginRefused(
                f"The run reads {dataset.name} by your right, and your sign-in to Databricks did not come along.",
                remedy="Start it in the app, after a reload of the page.",
            )
        self._require(dataset.origin, login)

    def _require(self, origin: Origin, login: Login) -> TableFacts:
        """The table as it is now, once ``login`` has read a row of it at its version."""
        facts = self._source.describe(login, TableName.parse(origin.table))
        if not facts.has_versions:
            raise not_in_place(facts)
        for _ in self._source.rows(login, facts, origin.columns[:1], version=origin.version, limit=1):
            pass
        return facts

    def _surveyed(
        self, login: Login, dataset: Dataset, options: ReadOptions, roles: ColumnRoles
    ) -> tuple[Checked, pd.DataFrame]:
        origin = _origin(dataset)
        facts = self._require(origin, login)
        series = SeriesColumns(time=roles.time, target=roles.target, series=roles.series)
        totals = self._source.totals(login, facts, series, version=origin.version)
        if totals.longest > SAMPLE_ROWS:
            return unreadable(_too_long(facts, totals)), pd.DataFrame()
        rows = self._source.whole_series(
            login, facts, origin.columns, series, version=origin.version,
            n_series=min(_SAMPLE_SERIES, max(1, SAMPLE_ROWS // max(1, totals.longest))),
        )  # fmt: skip
        table = plain_table(rows, keys=roles.series)
        found = check_table(table, options, roles, as_of=dataset.taken_on)
        if found.profile is None:
            return found, table
        note = _by_sample(found.profile, totals)
        findings = (*found.findings, *_repeated(found.profile, totals), note)
        profile = _of_all(found.profile, totals).model_copy(update={"findings": findings})
        return replace(found, findings=findings, profile=profile), table


def not_in_place(facts: TableFacts) -> TableRefused:
    """Why a table is not read on the cluster."""
    if not facts.is_same_for_all:
        reason = "people see different rows or values of it, and the run would read those of the app"
    elif not facts.is_delta:
        reason = f"it is a {facts.kind} and has no version to hold on to"
    else:
        reason = "its version can't be told"
    return TableRefused(
        f"{facts.name} can't be read on the cluster: {reason}.",
        remedy="Make a table of the rows you need, with as many as can be copied.",
    )


def _origin(dataset: Dataset) -> Origin:
    origin = dataset.origin
    if origin is None or not origin.is_in_place:
        raise InvalidInput(f"{dataset.name!r} holds all of its rows.", remedy="Keep it as it is.")
    return origin


def _too_long(facts: TableFacts, totals: TableTotals) -> DataError:
    return DataError(
        f"A series of {facts.name} has {totals.longest:,} rows; up to {SAMPLE_ROWS:,} can be looked at.",
        remedy="Choose the columns that tell its series apart, or sum it up to the frequency you forecast.",
    )


def _of_all(sample: Profile, totals: TableTotals) -> Profile:
    """The profile of some series with the numbers of all, where those are known."""
    return sample.model_copy(
        update={
            "n_rows": totals.n_rows,
            "n_series": totals.n_series,
            "n_observations": totals.n_observations,
            "n_duplicates": max(sample.n_duplicates, totals.n_repeated),
            "length_min": totals.length_min,
            "length_median": totals.length_median,
            "length_max": totals.length_max,
            "first_ds": totals.first or sample.first_ds,
            "last_ds": totals.last or sample.last_ds,
        }
    )


def _by_sample(sample: Profile, totals: TableTotals) -> Finding:
    return Finding(
        code="judged_by_sample",
        severity=Severity.INFO,
        message=f"Rows, series, lengths and dates are counted over the whole table; everything else is judged by "
        f"{sample.n_series:,} of its {totals.n_series:,} series.",
        remedy="The run reads and judges all of them, and ends with the reason where something blocks a forecast.",
        count=sample.n_series,
    )


def _repeated(sample: Profile, totals: TableTotals) -> list[Finding]:
    """Say that rows repeat a time, where the series looked at happen to have none that do."""
    if not totals.n_repeated or sample.n_duplicates:
        return []
    return [
        Finding(
            code="duplicates_elsewhere",
            severity=Severity.WARNING,
            message=f"{totals.n_repeated:,} rows of the table repeat a timestamp of their series.",
            remedy="Choose on the Configure screen what is done with them, or add the column that tells them apart.",
            count=totals.n_repeated,
        )
    ]
