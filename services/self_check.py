"""Whether the installation can do its work: each thing it depends on is tried, and what is missing is named."""

from __future__ import annotations

import io
import logging
import secrets
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from services.domain.access import User
from services.domain.dataset import Dataset, DatasetStatus
from services.domain.errors import ForecastAppError, SetupProblem, StaleDataset, StaleJob
from services.domain.job import DatasetId, Job, JobId, JobStatus
from services.ports import Clock, DatasetStore, FileStore, JobStore, Probe

logger = logging.getLogger(__name__)

STORE: Final = "Jobs and datasets"
_AT_ONCE: Final = 4
_ROOM_BYTES: Final = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of one probe.

    Attributes:
        subject: what was tried.
        text: what was found, a sentence.
        remedy: the grant or setting that mends it, and who can; empty where all is well or the text says it.
    """

    subject: str
    is_well: bool
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All findings, in the order of the probes.

    Attributes:
        at: when they were made, aware UTC.
    """

    findings: tuple[Finding, ...]
    at: datetime

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What is not well."""
        return tuple(finding for finding in self.findings if not finding.is_well)


class SelfCheck:
    """Runs the probes at start and whenever an admin asks, several at a time.

    Args:
        probes: by the name of what they try.
        clock: for the time of a report.
    """

    def __init__(self, probes: Mapping[str, Probe], clock: Clock) -> None:
        self._probes = dict(probes)
        self._clock = clock
        self._last: Report | None = None

    @property
    def last(self) -> Report | None:
        """The newest report; ``None`` before the first is ready. Names no secret, but paths: for admins."""
        return self._last

    def failed_at(self, subject: str) -> datetime | None:
        """When this was last found wrong; ``None`` where the newest report does not say so."""
        if self._last is None or all(problem.subject != subject for problem in self._last.problems):
            return None
        return self._last.at

    def run(self, user: User) -> Report:
        """Try everything now; takes seconds.

        Raises:
            NotAllowed: the user is no admin.
        """
        user.require_admin("check the installation")
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="self-check") as pool:
            findings = tuple(pool.map(_try, self._probes.items()))
        self._last = Report(findings=findings, at=self._clock.now())
        for problem in self._last.problems:
            logger.warning("Self-check, %s: %s %s", problem.subject, problem.text, problem.remedy)
        if not self._last.problems:
            logger.info("Self-check: %d of %d well", len(findings), len(findings))
        return self._last


def _try(named: tuple[str, Probe]) -> Finding:
    subject, probe = named
    try:
        return Finding(subject=subject, is_well=True, text=probe())
    except SetupProblem as exc:
        return Finding(subject=subject, is_well=False, text=exc.message, remedy=exc.remedy)
    except ForecastAppError as exc:
        return Finding(subject=subject, is_well=False, text=str(exc), remedy=exc.remedy)
    except Exception as exc:  # one defect must not leave everybody with a check that never ends
        logger.exception("Self-check, %s", subject)
        text = f"It could not be tried: {type(exc).__name__}."
        return Finding(subject=subject, is_well=False, text=text, remedy="This is a defect; the log has the details.")


def stores_work(jobs: JobStore, datasets: DatasetStore, clock: Clock, place: str) -> str:
    """Both can be read and written: a write over a version that no row has needs the rights, and changes nothing."""
    n_jobs = sum(jobs.counts().values())
    name, now = secrets.token_hex(8), clock.now()
    job = Job(
        job_id=JobId(name), owner="", name="", dataset_id=DatasetId(name), dataset_name="", spec_json="{}",
        status=JobStatus.PENDING, version=0, created_at=now, updated_at=now,
    )  # fmt: skip
    dataset = Dataset(
        dataset_id=DatasetId(name), owner="", name="", source="file", suffix=".csv", size_bytes=0,
        status=DatasetStatus.DRAFT, created_at=now, updated_at=now,
    )  # fmt: skip
    for write, refusal in ((partial(jobs.save, job), StaleJob), (partial(datasets.save, dataset), StaleDataset)):
        try:
            write()
        except refusal:
            continue
        raise AssertionError(f"{place} wrote over a row that is not there")
    return f"{n_jobs:,} jobs can be read and written in {place}."


def files_work(files: FileStore, place: str) -> str:
    """A file can be written, read again and removed."""
    folder = f"selfcheck/{secrets.token_hex(8)}"
    key, content = f"{folder}/probe.txt", b"Finance Forecast was here, and removes this at once."
    try:
        files.write(key, io.BytesIO(content))
        try:
            found = files.local_path(key).read_bytes()
        except FileNotFoundError:
            found = b""
        if found != content:
            raise SetupProblem(
                f"A file written to {place} reads otherwise than it was written.",
                remedy="Look whether something else writes there, or the disk is full.",
            )
    finally:
        files.delete_all(folder)
    return f"Files can be written, read and removed in {place}."


def disk_has_room(folder: Path) -> str:
    """This machine's disk is not about to be full."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    room = f"{free / 1024**3:,.1f} GB are free in {folder}."
    if free < _ROOM_BYTES:
        raise SetupProblem(
            f"Only {room}", remedy="Delete old jobs and datasets, or set FORECAST_HOME to a larger disk."
        )
    return room
