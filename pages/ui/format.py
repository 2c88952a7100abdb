"""Values as people read them: durations, times, numbers, statuses, and text that is not ours."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta, tzinfo
from typing import Final, Literal, NamedTuple

import pandas as pd

from services.domain.compute import ComputeMode, ComputePlan
from services.domain.job import Job, JobStatus
from services.domain.stage import Stage
from training.frequency import Frequency
from training.spec import Metric

# Everything that Streamlit's Markdown gives a meaning: emphasis, links, code, HTML, LaTeX, :directives: and lists; the
# period and the at sign too, or bare addresses become links.
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:^=&@])")

STATUS_ICONS: Final[dict[JobStatus, str]] = {
    JobStatus.PENDING: ":material/schedule:",
    JobStatus.SUBMITTING: ":material/outbox:",
    JobStatus.RUNNING: ":material/autorenew:",
    JobStatus.CANCELLING: ":material/pause_circle:",
    JobStatus.CANCELLED: ":material/block:",
    JobStatus.COMPLETED: ":material/check_circle:",
    JobStatus.FAILED: ":material/error:",
}
Color = Literal["gray", "blue", "orange", "green", "red"]
STATUS_COLORS: Final[dict[JobStatus, Color]] = {
    JobStatus.PENDING: "gray",
    JobStatus.SUBMITTING: "blue",
    JobStatus.RUNNING: "blue",
    JobStatus.CANCELLING: "orange",
    JobStatus.CANCELLED: "gray",
    JobStatus.COMPLETED: "green",
    JobStatus.FAILED: "red",
}
STATUS_TEXTS: Final[dict[JobStatus, str]] = {
    JobStatus.PENDING: "Not started",
    JobStatus.SUBMITTING: "Sending",
    JobStatus.RUNNING: "Running",
    JobStatus.CANCELLING: "Cancelling",
    JobStatus.CANCELLED: "Cancelled",
    JobStatus.COMPLETED: "Completed",
    JobStatus.FAILED: "Failed",
}
# Table cells show no Markdown; these glyphs stand for the icons there.
STATUS_GLYPHS: Final[dict[JobStatus, str]] = {
    JobStatus.PENDING: "○",
    JobStatus.SUBMITTING: "◔",
    JobStatus.RUNNING: "◑",
    JobStatus.CANCELLING: "◒",
    JobStatus.CANCELLED: "⊘",
    JobStatus.COMPLETED: "✓",
    JobStatus.FAILED: "✕",
}


class Badge(NamedTuple):
    """How a job's state is shown: in words, as icon or as glyph."""

    text: str
    icon: str
    glyph: str
    color: Color


STATUS_BADGES: Final = {
    status: Badge(STATUS_TEXTS[status], STATUS_ICONS[status], STATUS_GLYPHS[status], STATUS_COLORS[status])
    for status in JobStatus
}
# A run that the executor has taken and not begun is RUNNING to the state machine; to its owner it waits.
QUEUED: Final = Badge("Queued", ":material/hourglass_empty:", "◌", "gray")
STARTING: Final = Badge("Starting", ":material/power_settings_new:", "◔", "blue")  # its machines are made ready
METRIC_TEXTS: Final[dict[str, str]] = {
    "wape": "WAPE", "mase": "MASE", "rmse": "RMSE", "mae": "MAE", "smape": "sMAPE", "mape": "MAPE", "bias": "Bias",
}  # fmt: skip
_SHARES: Final = frozenset({"wape", "mape", "smape"})


def escape(text: str) -> str:
    """A user's words for a place that renders Markdown: shown letter by letter, on one line."""
    one_line = " ".join(text.split())
    return _MARKDOWN.sub(r"\\\1", one_line)


def shorten(text: str, length: int = 40) -> str:
    """The text, or its beginning and end with an ellipsis where it is longer than ``length``."""
    if len(text) <= length:
        return text
    tail = length // 3
    return f"{text[: length - tail - 1]}…{text[-tail:]}"


def duration(span: timedelta | float | None) -> str:
    """``8 s``, ``2 min 05 s``, ``1 h 04 min``; an en dash for nothing. Numbers are seconds."""
    if span is None:
        return "–"
    seconds = span.total_seconds() if isinstance(span, timedelta) else float(span)
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s" if minutes < 10 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def about(seconds: float) -> str:
    """An estimate in the few digits that it has: ``under 10 s``, ``about 3 min``."""
    if seconds < 10:
        return "under 10 s"
    if seconds < 90:
        return f"about {math.ceil(seconds / 10) * 10} s"
    minutes = seconds / 60
    return f"about {minutes:.0f} min" if minutes < 90 else f"about {minutes / 60:.1f} h"


def is_waiting(job: Job) -> bool:
    """Whether the latest attempt was asked for and nothing of it has been computed yet."""
    return job.is_active and job.attempt is not None and job.attempt.started_at is None


def badge(job: Job) -> Badge:
    """How the state of a job is shown."""
    if job.status is not JobStatus.RUNNING or not is_waiting(job):
        return STATUS_BADGES[job.status]
    reached = job.attempt.stages[-1].stage if job.attempt and job.attempt.stages else Stage.QUEUED
    return QUEUED if reached is Stage.QUEUED else STARTING


def elapsed(job: Job, now: datetime) -> timedelta | None:
    """How long the latest attempt has been computing, or took; while it waits, how long it has waited."""
    attempt = job.attempt
    since = attempt and (attempt.started_at or attempt.submitted_at)
    return (job.ended_at or now) - since if since else None


def step_text(job: Job, now: datetime) -> str:
    """What is going on with an active job, and since when while its run does not compute yet."""
    reached = job.attempt.stages[-1] if job.attempt and job.attempt.stages else None
    if job.status is not JobStatus.RUNNING or reached is None or reached.began_at is None:
        return job.step
    return job.step if reached.stage is Stage.TRAINING else f"{job.step} · {duration(now - reached.began_at)}"


def moment(at: datetime | None, zone: tzinfo, *, now: datetime | None = None) -> str:
    """A time of ours in the reader's zone: ``14:05:09`` today, ``23 Nov 2026, 14:05`` on other days."""
    if at is None:
        return "–"
    local = at.astimezone(zone)
    if now is not None and local.date() == now.astimezone(zone).date():
        return f"{local:%H:%M:%S}"
    return f"{local.day} {local:%b %Y, %H:%M}"


def ago(at: datetime, now: datetime) -> str:
    """``just now``, ``5 min ago``, ``3 days ago``."""
    seconds = (now - at).total_seconds()
    if seconds < 60:
        return "just now"
    for size, noun in ((86_400, "day"), (3_600, "hour"), (60, "min")):
        n = int(seconds // size)
        if n >= 1:
            return f"{n} {noun}{'s' if n > 1 and noun != 'min' else ''} ago"
    return "just now"


def period(ds: pd.Timestamp, freq: str) -> str:
    """A timestamp of the data as its frequency is spoken of: ``Nov 2026``, ``2026 Q3``, ``23 Nov 2026``."""
    ds = pd.Timestamp(ds)
    match Frequency.parse(freq).rule:
        case "YS" | "YE" if ds.month in (1, 12):
            return f"{ds:%Y}"
        case "QS" | "QE" if ds.month % 3 in (0, 1):
            return f"{ds.year} Q{ds.quarter}"
        case "MS" | "ME" | "BMS" | "BME" | "QS" | "QE" | "YS" | "YE":
            return f"{ds:%b %Y}"
        case "D" | "B" | "W":
            return f"{ds.day} {ds:%b %Y}"
        case _:
            return f"{ds.day} {ds:%b %Y, %H:%M}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share of one as ``7.2 %``, ``under 0.1 %`` rather than a false zero; an en dash for nothing."""
    if share is None or not math.isfinite(share):
        return "–"
    smallest = 10.0 ** -(digits + 2)
    if 0 < share < smallest / 2:
        return f"under {100 * smallest:.{digits}f} %"
    return f"{100 * share:.{digits}f} %"


def number(value: float | None) -> str:
    """A number in about four digits with thousands separated; an en dash for nothing."""
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:,.1f}"
    return f"{value:.3g}" if size < 1 else f"{value:.2f}"


def score(value: float | None, metric: str | Metric) -> str:
    """A score by its metric: shares as percentages, the rest as numbers."""
    return percent(value) if str(metric) in _SHARES else number(value)


def metric_text(metric: str | Metric) -> str:
    """``WAPE``, ``sMAPE``."""
    return METRIC_TEXTS.get(str(metric), str(metric))


def sentence(text: str) -> str:
    """A reason as a sentence: with a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def count(n: int, noun: str, plural: str | None = None) -> str:
    """``1 row``, ``1,204 rows``."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def size(size_bytes: int) -> str:
    """``640 kB``, ``12.4 MB``."""
    if size_bytes < 1_000_000:
        return f"{max(1, round(size_bytes / 1000)):,} kB"
    return f"{size_bytes / 1_000_000:,.1f} MB"


def compute_text(plan: ComputePlan | None) -> str:
    """What a run computes on, in a line: ``M · 1 × m5d.2xlarge``, ``L · 5 × m5d.2xlarge, spot``; "" for no plan."""
    if plan is None:
        return ""
    match plan.mode:
        case ComputeMode.SERVERLESS:
            return "Serverless"
        case ComputeMode.DEDICATED:
            return "Dedicated cluster"
        case ComputeMode.JOB_CLUSTER:
            spot = ", spot" if plan.is_spot else ""
            return f"{plan.size} · {plan.workers + 1} × {plan.node_type or 'machine of the pool'}{spot}"


def usd(amount: float) -> str:
    """An estimated price in the few digits that it has: ``under 0.01 USD``, ``about 0.35 USD``, ``about 12 USD``."""
    if amount < 0.005:
        return "under 0.01 USD"
    return f"about {amount:,.2f} USD" if amount < 10 else f"about {amount:,.0f} USD"
