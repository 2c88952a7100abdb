"""What the Delta adapter says to a warehouse: every statement is Spark's own SQL, and holds no value."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.adapters.delta.database import MigrationStatements, steps
from services.adapters.delta.datasets import DatasetStatements
from services.adapters.delta.job_statements import JobStatements
from services.adapters.delta.outbox import table_row
from services.adapters.delta.tables import Tables
from services.adapters.sql.identifiers import quoted
from services.adapters.sql.statements import Statement
from services.domain.job import DatasetId, EventKind, JobEvent, JobId, JobStatus
from services.ports import JobFilter
from tests.support import spark
from tests.support.fakes import START

VALUE = "x'; DROP TABLE jobs; --"
TABLES = Tables(catalog="main`; DROP", schema="forecast-prod")
FULL = JobFilter(
    owner=VALUE, statuses=frozenset(JobStatus), dataset_id=DatasetId(VALUE), text=VALUE, created_from=START,
    created_to=START,
)  # fmt: skip


def every_statement() -> Iterator[Statement]:
    jobs = JobStatements(TABLES)
    for fixed in (MigrationStatements(TABLES), jobs, DatasetStatements(TABLES)):
        yield from (value for value in vars(fixed).values() if isinstance(value, Statement))
    yield from (step.statement for step in steps(TABLES))
    for where in (JobFilter(), FULL):
        yield jobs.page(where, limit=5, offset=10)[0]
        yield jobs.count(where)[0]
        yield jobs.usage(where, START)[0]
    yield jobs.known([VALUE])[0]
    for owner in (None, VALUE):
        yield jobs.counts(owner)[0]
    event = table_row(VALUE, JobEvent(job_id=JobId(VALUE), at=START, kind=EventKind.CREATED, actor=VALUE))
    yield jobs.append_events([event, event])[0]


def test_every_statement_is_understood_by_spark() -> None:
    parser = spark.parser()
    for statement in every_statement():
        parser.parsePlan(statement.text)


def test_the_parser_would_notice() -> None:
    with pytest.raises(Exception, match="PARSE_SYNTAX_ERROR"):
        spark.parser().parsePlan("UPDATE jobs SET WHERE x = :y")


def test_no_statement_holds_a_value() -> None:
    names = set()
    for statement in every_statement():
        assert VALUE not in statement.text
        assert "`main``; DROP`.`forecast-prod`." in statement.text
        names.add(statement.name)
    assert len(names) > 20


def test_a_step_of_the_schema_is_one_statement_that_may_be_run_again() -> None:
    numbers = [step.number for step in steps(TABLES)]
    assert numbers == list(range(1, len(numbers) + 1))
    for step in steps(TABLES):
        text = step.statement.text
        assert "IF NOT EXISTS" in text or " ADD COLUMNS " in text, "a column that is there already is no error"


@pytest.mark.parametrize(("parts", "name"), [(("a", "b"), "`a`.`b`"), (("a`b",), "`a``b`"), (("ö-1 x",), "`ö-1 x`")])
def test_names_are_quoted(parts: tuple[str, ...], name: str) -> None:
    assert quoted(*parts) == name


@pytest.mark.parametrize("part", ["", "a\nb", "a\0"])
def test_what_can_be_no_name_is_refused(part: str) -> None:
    with pytest.raises(ValueError, match="can't be the name"):
        quoted("main", part)
