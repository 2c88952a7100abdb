"""The entry point of a training run, for a job, a local process and a shell alike.

Exit status: 0 when the results are written, 2 when data or configuration or models are at fault (the
message says how), 1 on a defect of ours, 75 when MLflow could not be told how the run ended (its parts are
kept, another attempt takes them up), 143 when told to end.
"""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # started as a file: import our package by its name, not its modules as top-level ones
    # A Databricks job executes the compiled text of a file, without ``__file__``; the code still knows its origin.
    sys.path[0] = str(Path((lambda: None).__code__.co_filename).resolve().parents[1])

import argparse
import logging
import os
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from importlib.util import find_spec
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from training import artifacts
from training.arguments import parse, roles_of, spec_of
from training.errors import ConfigError, DataError, FailureKind, TrainingError, TrainingFailure
from training.findings import Severity
from training.progress import ConsoleSink, Sink
from training.spec import ColumnRoles, ForecastSpec

if TYPE_CHECKING:
    import pandas as pd

    from training.pipeline import Finished
    from training.results import Results
    from training.tracking import MlflowRun

EXIT_DEFECT: Final = 1
EXIT_FAULT: Final = 2
EXIT_NOT_LOGGED: Final = 75  # EX_TEMPFAIL of sysexits.h: what is wrong may pass, try again
EXIT_INTERRUPTED: Final = 128 + signal.SIGINT
EXIT_TERMINATED: Final = 128 + signal.SIGTERM
_LAST_WORDS_S: Final = 4.0  # how long an ending run may take to tell MLflow

logger = logging.getLogger("training")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a forecast from a command line; returns the exit status."""
    args = parse(argv)
    _set_up(verbose=args.verbose or args.is_job)
    return _job(args) if args.is_job else _shell(args)


def _set_up(*, verbose: bool) -> None:
    # Read when the first library with OpenMP is loaded: threads that spin while they wait starve other processes.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(
        level=logging.INFO if verbose else logging.ERROR,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    warnings.filterwarnings("ignore", category=FutureWarning)  # of the libraries, to the libraries


def _end_on_sigterm(last_words: Callable[[], int], clean_up: Callable[[], None] = lambda: None) -> None:
    """From now on SIGTERM ends the process, with the status ``last_words`` returns, or 143 if that takes too long.

    Nothing is raised into the computation: a library may swallow it. Worker processes end with this one.
    No other code of this process runs to its end, so what must not be left behind goes into ``clean_up``.
    """
    said: list[int] = []

    def end() -> None:
        speaker = threading.Thread(target=lambda: said.append(last_words()), daemon=True)
        speaker.start()
        speaker.join(_LAST_WORDS_S)
        clean_up()
        os._exit(said[0] if said else EXIT_TERMINATED)

    def on_sigterm(signum: int, stack: FrameType | None) -> None:
        del signum, stack
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        threading.Thread(target=end, daemon=True).start()

    signal.signal(signal.SIGTERM, on_sigterm)


def _shell(args: argparse.Namespace) -> int:
    """Data file in, folder of artifacts out, no MLflow."""
    checkpoints = args.checkpoints or args.output / ".checkpoints"
    sink = ConsoleSink()
    _end_on_sigterm(_say_unfinished)
    try:
        sink.report(0.0, f"Reading {args.table or args.data.name}")
        panel, spec = _read(args)
        done = _run(panel, spec, args, output=args.output, checkpoints=checkpoints, sink=sink)
        done.discard_checkpoints()
        sink.report(100.0, f"Done: {args.output}")
        print(leaderboard_text(done.results))
        for finding in done.profile.findings:
            if finding.severity is not Severity.INFO:
                print(f"Data: {finding.message} {artifacts.PROFILE} says what to do.")
    except TrainingError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return EXIT_FAULT
    except OSError as exc:
        print(f"error: {exc.filename or args.output}: {exc.strerror or exc}", file=sys.stderr)
        return EXIT_FAULT
    except KeyboardInterrupt:
        _say_unfinished()
        return EXIT_INTERRUPTED
    return 0


def _say_unfinished() -> int:
    print("\nEnded before it was done. Started again, it goes on from there.", file=sys.stderr, flush=True)
    return EXIT_TERMINATED


def _job(args: argparse.Namespace) -> int:
    """Panel and spec of the app in, artifacts into its MLflow run."""
    from training.tracking import MlflowRun, RunStatus, TrackingUnavailable

    run = MlflowRun(args.tracking_uri, args.mlflow_run_id)
    scratch = tempfile.TemporaryDirectory(prefix="forecast-", ignore_cleanup_errors=True)
    _end_on_sigterm(lambda: 0 if run.kill() is RunStatus.FINISHED else EXIT_TERMINATED, scratch.cleanup)
    with scratch:
        try:
            return _recorded(args, run, args.output or Path(scratch.name))
        except TrackingUnavailable as exc:
            logger.error("%s", exc)  # noqa: TRY400  each try was logged
            return EXIT_NOT_LOGGED


def _recorded(args: argparse.Namespace, run: MlflowRun, folder: Path) -> int:
    """Run, and tell MLflow how it ended.

    Raises:
        TrackingUnavailable: MLflow could not be told.
    """
    from training.tracking import RunStatus, TrackingUnavailable

    try:
        spec = _spec_file(args.spec)
        sink = _Both(ConsoleSink(), run)
        if args.table is None:
            panel = _panel_file(args.panel)
        else:
            sink.report(0.0, f"Reading {args.table}")
            panel = _panel_of_table(args, spec.roles)
        done = _run(panel, spec, args, output=folder, checkpoints=args.checkpoints, sink=sink)
        status = run.finish(folder, spec, done.results.leaderboard)
    except TrackingUnavailable:
        raise
    except TrainingError as exc:
        logger.error("%s", exc)  # noqa: TRY400  the message is for the user, its traceback says nothing more
        return _failed(run, exc.failure(), EXIT_FAULT)
    except Exception as exc:
        logger.exception("Unexpected failure")
        failure = TrainingFailure(
            kind=FailureKind.INTERNAL,
            message=f"Something unexpected failed ({type(exc).__name__}: {exc}).",
            remedy="Retry; if it fails again, send the log to whoever runs this app.",
        )
        return _failed(run, failure, EXIT_DEFECT)
    if status is not RunStatus.FINISHED:
        return EXIT_TERMINATED
    done.discard_checkpoints()
    return 0


def _failed(run: MlflowRun, failure: TrainingFailure, status: int) -> int:
    """Say it in the log first, as one line of JSON: MLflow may be out of reach."""
    print(f"{artifacts.TAG_ERROR}={failure.model_dump_json()}", file=sys.stderr, flush=True)
    run.fail(failure)
    return status


def _run(
    panel: pd.DataFrame, spec: ForecastSpec, args: argparse.Namespace, *, output: Path, checkpoints: Path, sink: Sink
) -> Finished:
    from training.forkserver import start_fork_server

    cores = args.cores or _cores()
    if cores > 1:
        start_fork_server(spec.fitted)  # first of all: it imports the models' libraries while we import the rest
    from training.pipeline import Resources, run

    deadline = None if spec.time_limit_s is None else time.monotonic() + spec.time_limit_s
    resources = Resources(output=output, checkpoints=checkpoints, cores=cores, deadline=deadline, place=args.engine)
    return run(panel, spec, as_of=_as_of(args), resources=resources, sink=sink)


def _cores() -> int:
    """Cores this process may use, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _read(args: argparse.Namespace) -> tuple[pd.DataFrame, ForecastSpec]:
    from training.panel import build_panel
    from training.tables import read_table, sniff

    base = _spec_file(args.spec) if args.spec else None
    roles = roles_of(args, base)
    if args.table is not None:
        panel = _panel_of_table(args, roles)
        return panel, spec_of(args, base, roles, panel)
    if not args.data.is_file():
        raise DataError(f"There is no file {args.data}.", remedy="Check the path.")
    options = sniff(args.data, args.data.name)
    table = read_table(args.data, options, keys=roles.series)
    panel = build_panel(table, roles, date_format=options.date_format, day_first=options.day_first)
    return panel, spec_of(args, base, roles, panel)


def _panel_of_table(args: argparse.Namespace, roles: ColumnRoles) -> pd.DataFrame:
    if find_spec("pyspark") is None:
        raise ConfigError(
            f"There is no Spark here to read the table {args.table}.", remedy="Run this in a job on Databricks."
        )
    from training.lake import panel_of_table, require_usable

    panel = panel_of_table(
        args.table, roles, version=args.table_version, date_format=args.date_format, day_first=args.day_first
    )
    require_usable(panel, roles, as_of=_as_of(args))
    return panel


def _as_of(args: argparse.Namespace) -> date:
    day: date = args.as_of or datetime.now(UTC).date()
    return day


def _spec_file(path: Path) -> ForecastSpec:
    try:
        return ForecastSpec.from_json(path.read_bytes())
    except OSError as exc:
        raise ConfigError(f"The configuration {path} can't be read: {exc.strerror}.", remedy="Check the path.") from exc


def _panel_file(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as exc:
        raise DataError(
            f"The stored data can't be read ({exc}).", remedy="Upload the file again and create a new job."
        ) from exc


class _Both:
    """A sink over two."""

    def __init__(self, first: Sink, second: MlflowRun) -> None:
        self._first, self._second = first, second

    def report(self, percent: float, step: str) -> None:
        self._first.report(percent, step)
        self._second.report(percent, step)


def leaderboard_text(results: Results) -> str:
    """The leaderboard as a table for a terminal."""
    board: dict[str, Any] = results.leaderboard
    entries = board["models"]
    levels = list(entries[0]["coverage"])
    head = ["", "model", str(board["metric"]), "skill", "chosen", *(f"in {level} %" for level in levels), "failed", "s"]
    lines = [head]
    for entry in entries:
        covered = [_percent(entry["coverage"][level]) for level in levels]
        score = "-" if entry["score"] is None else f"{entry['score']:.4g}"
        lines.append(
            [
                "*" if entry["model"] == board["winner"] else "",
                entry["model"], score, _percent(entry["skill_vs_seasonal_naive"]), _percent(entry["share_won"]),
                *covered, str(entry["n_failed"]), f"{entry['seconds']:.1f}",
            ]
        )  # fmt: skip
    widths = [max(len(row[i]) for row in lines) for i in range(len(head))]
    text = [
        "  ".join(
            cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in lines
    ]
    if board["is_held_out"] and board["expected"]["score"] is not None:
        text.append(
            f"The forecasts, each series by its own model: {board['metric']} {board['expected']['score']:.4g}, "
            "on windows not used to choose"
        )
    reasons = [
        f"{entry['model']}: {_lacking(entry)}: {entry['commonest_reason']}"
        for entry in entries
        if entry["n_failed"] + entry["n_unscored"]
    ]
    suspicions = [_suspicion(entry) for entry in board["covariates"] if entry["is_suspicious"]]
    return "\n".join(["", *text, *reasons, *suspicions])


def _lacking(entry: dict[str, Any]) -> str:
    """Of how many series a model has no forecast, and of how many others no score."""
    failed, unscored = entry["n_failed"], entry["n_unscored"]
    parts = [f"no {what} for {n:,} series" for what, n in (("forecast", failed), ("score", unscored)) if n]
    return " and ".join(parts) + (", for example" if failed + unscored > 1 else "")


def _suspicion(covariate: dict[str, Any]) -> str:
    together = covariate["gain_together"]
    others = "" if together is None else f", and {_percent(together)} together with the others"
    return (
        f"Suspicious: {covariate['name']!r} takes away {_percent(covariate['gain'])} of the error{others}. It may hold "
        "the answer itself; make sure that its values are known before the periods begin."
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


if __name__ == "__main__" and (status := main()):  # to a Databricks job any SystemExit is a failure, one with 0 too
    sys.exit(status)
