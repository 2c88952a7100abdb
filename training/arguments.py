"""The command line: what can be said there, and the ForecastSpec it means."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from datetime import date
from enum import StrEnum
from pathlib import Path
from textwrap import wrap
from typing import Any, Final, TypeVar

import pandas as pd
from pydantic import ValidationError

from training.artifacts import TARGET
from training.backends import Place
from training.errors import ConfigError
from training.findings import INTERMITTENT
from training.frequency import OFFERED, guess_frequency
from training.spec import (
    PRESETS,
    Aggregation,
    ColumnRoles,
    Covariate,
    CovariateKind,
    DuplicatePolicy,
    ForecastSpec,
    GapPolicy,
    IncompletePolicy,
    Metric,
    ModelName,
    Preset,
    Selection,
    describe,
    preset_models,
)

_T = TypeVar("_T")
_E = TypeVar("_E", bound=StrEnum)


_DESCRIPTION: Final = """\
Forecast a table of history: backtest the models, combine them, choose the best, and write forecasts with
intervals, scores and everything behind them into a folder."""

_SEASONS: Final = {
    "no season (years)": 1,
    "a short one (days, quarters)": 4,
    "a long one (hours, weeks, months)": 12,
}
"""Periods in a season, by which presets choose their models, as ``--help`` tells them."""

_EPILOG: Final = """\
presets (a choice of --models or --windows takes precedence); their models depend on the data:
{presets}

examples:
  python -m training.main --data sales.csv --time-col month --target-col sales --series-cols region product \\
      --horizon 12 --output out
  python -m training.main --data sales.csv --spec spec.json --output out
"""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line; exits with status 2 and a message when it can't be understood."""
    parser = _parser()
    args = parser.parse_args(argv)
    args.is_job = args.panel is not None or (args.table is not None and args.mlflow_run_id is not None)
    if sum(given is not None for given in (args.data, args.table, args.panel)) > 1:
        parser.error("give one of --data, --table and --panel")
    if args.is_job:
        needed: tuple[str, ...] = ("spec", "mlflow_run_id", "tracking_uri", "checkpoints")
    elif args.data is not None or args.table is not None:
        needed = ("output",) if args.spec else ("output", "time_col", "target_col", "horizon")
    else:
        parser.error("give --data FILE or --table NAME, or --panel FILE for a run that the app started")
    missing = [f"--{name.replace('_', '-')}" for name in needed if getattr(args, name) is None]
    if missing:
        parser.error(f"also needed here: {', '.join(missing)}")
    return args


def roles_of(args: argparse.Namespace, base: ForecastSpec | None) -> ColumnRoles:
    """Column roles from the command line, over those of a spec file.

    Raises:
        ConfigError: a column has two roles.
    """
    given = base.roles if base else None
    covariates = [
        Covariate(name=name, kind=kind)
        for kind in CovariateKind
        for name in getattr(args, f"{kind}_covariates") or (given.covariates_of(kind) if given else ())
    ]
    return _checked(
        lambda: ColumnRoles(
            time=args.time_col or (given.time if given else ""),
            target=args.target_col or (given.target if given else ""),
            series=tuple(args.series_cols or (given.series if given else ())),
            covariates=tuple(covariates),
        )
    )


def spec_of(
    args: argparse.Namespace, base: ForecastSpec | None, roles: ColumnRoles, panel: pd.DataFrame
) -> ForecastSpec:
    """The spec a command line means: its own words, over a spec file, over the preset; frequency from the data.

    Raises:
        ConfigError: a value is not possible, or the frequency can't be told from the dates.
    """
    preset = args.preset or (base.preset if base else Preset.BALANCED)
    values: dict[str, Any] = base.model_dump(exclude={"roles"}) if base else {"n_windows": PRESETS[preset].n_windows}
    said = {
        "freq": args.freq, "horizon": args.horizon, "models": args.models, "n_windows": args.windows,
        "step_size": args.step_size, "metric": args.metric, "selection": args.selection, "levels": args.level,
        "holidays_country": args.holidays, "gaps": args.gaps, "duplicates": args.duplicates,
        "incomplete_last": args.incomplete_last, "aggregation": args.aggregation, "seed": args.seed,
        "non_negative": args.non_negative or None, "time_limit_s": args.time_limit,
    }  # fmt: skip
    values |= {name: value for name, value in said.items() if value is not None}
    values |= {"roles": roles, "preset": preset}
    if "freq" not in values:
        values["freq"] = _guessed(panel)
    spec = _checked(lambda: ForecastSpec(**values))
    if "models" in values:
        return spec
    zero_share = (panel[TARGET].dropna() == 0).mean()  # as the profile has it, from which the app takes its defaults
    models = preset_models(preset, spec.frequency.season_length, intermittent=bool(zero_share >= INTERMITTENT))
    return spec.model_copy(update={"models": models})


def _guessed(panel: pd.DataFrame) -> str:
    guess = guess_frequency(panel)
    if guess.frequency is None:
        raise ConfigError(
            "The frequency can't be told from the dates.", remedy=f"Give --freq, one of {', '.join(OFFERED)}."
        )
    return guess.frequency.alias


def _checked(make: Callable[[], _T]) -> _T:
    try:
        return make()
    except ValidationError as exc:
        raise ConfigError(f"This can't be forecast: {describe(exc)}.", remedy="See --help.") from exc


def _model(text: str) -> tuple[ModelName, ...]:
    by_name = {str(model).lower(): model for model in ModelName}
    chosen = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        if word.lower() not in by_name:
            raise argparse.ArgumentTypeError(f"{word!r} is not one of {', '.join(ModelName)}")
        chosen.append(by_name[word.lower()])
    return tuple(chosen)


def _one_of(choices: type[_E]) -> Callable[[str], _E]:
    """For ``argparse``, whose own message for a word that is no member names neither the members nor their kind."""

    def member(text: str) -> _E:
        try:
            return choices(text)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(choices)}") from exc

    return member


def _levels(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is not a percentage such as 80") from exc


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date such as 2024-12-31") from exc


class _Extend(argparse.Action):
    """Collects tuples of values over repetitions of an option."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        del parser, option_string
        so_far = getattr(namespace, self.dest) or ()
        setattr(namespace, self.dest, (*so_far, *(item for part in values for item in part)))


def _preset_lines(preset: Preset) -> list[str]:
    """What a preset stands for, by the seasons that make a difference to it."""
    by_models: dict[tuple[ModelName, ...], list[str]] = {}
    for words, season_length in _SEASONS.items():
        by_models.setdefault(preset_models(preset, season_length), []).append(words)
    lines = [f"{preset:<9} {PRESETS[preset].words}"]
    for models, seasons in by_models.items():
        when = "always" if len(seasons) == len(_SEASONS) else ", ".join(seasons)
        lines += wrap(f"{when}: {', '.join(models)}", 100, initial_indent="  ", subsequent_indent="      ")
    usual = preset_models(preset, 1)
    extra = [model for model in preset_models(preset, 1, intermittent=True) if model not in usual]
    return [*lines, f"  mostly zeros: also {', '.join(extra)}"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.main",
        description=_DESCRIPTION,
        epilog=_EPILOG.format(presets="\n".join(f"  {line}" for preset in Preset for line in _preset_lines(preset))),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data = parser.add_argument_group("data")
    data.add_argument("--data", type=Path, metavar="FILE", help="CSV, Parquet or Excel file with the history")
    data.add_argument("--table", metavar="NAME", help="table with the history instead, read by the Spark of this place")
    data.add_argument("--table-version", type=int, metavar="N", help="of a Delta table; the latest if not given")
    data.add_argument(
        "--date-format", metavar="FORMAT", help="of a table's time column, where it is text; told from it if not given"
    )
    data.add_argument(
        "--day-first", action="store_true", help="of a table: read 01/02/2024 as 1 February where nothing else tells"
    )
    data.add_argument("--time-col", metavar="COLUMN", help="column of dates or times")
    data.add_argument("--target-col", metavar="COLUMN", help="column to forecast")
    data.add_argument(
        "--series-cols", nargs="+", action="extend", metavar="COLUMN", help="columns that tell series apart; repeatable"
    )
    data.add_argument(
        "--future-covariates", nargs="+", action="extend", metavar="COLUMN",
        help="columns whose values over the horizon are in the file, in rows with an empty target; repeatable",
    )  # fmt: skip
    data.add_argument(
        "--past-covariates", nargs="+", action="extend", metavar="COLUMN", help="columns known up to the last row only"
    )
    data.add_argument(
        "--static-covariates", nargs="+", action="extend", metavar="COLUMN", help="columns with one value per series"
    )
    data.add_argument("--output", type=Path, metavar="DIR", help="folder for the results; made when missing")
    data.add_argument("--spec", type=Path, metavar="FILE", help="a ForecastSpec; other options override its values")
    data.add_argument(
        "--as-of", type=_day, metavar="DATE", help="day the data was taken, today if not given; its period is not over"
    )

    what = parser.add_argument_group("forecast")
    what.add_argument("--horizon", type=int, metavar="N", help="periods to forecast")
    what.add_argument(
        "--freq", metavar="ALIAS", help=f"such as {', '.join(OFFERED[4:8])}, MS; told from the dates if not given"
    )
    what.add_argument(
        "--models", type=_model, nargs="+", action=_Extend, metavar="NAME",
        help=f"of {', '.join(ModelName)}; comma-separated or repeated; seasonal naive is always fitted",
    )  # fmt: skip
    what.add_argument("--preset", type=_one_of(Preset), metavar="NAME", help="fast, balanced or thorough")
    what.add_argument("--windows", type=int, metavar="N", help="backtest windows")
    what.add_argument("--step-size", type=int, metavar="N", help="periods between cutoffs; the horizon if not given")
    what.add_argument("--metric", type=_one_of(Metric), metavar="NAME", help=f"of {', '.join(Metric)}")
    what.add_argument("--selection", type=_one_of(Selection), metavar="SCOPE", help="per_series or overall")
    what.add_argument(
        "--level", type=_levels, nargs="+", action=_Extend, metavar="PERCENT", help="interval levels; 80 and 95"
    )
    what.add_argument("--holidays", metavar="COUNTRY", help="two-letter code, such as US, of public holidays to use")
    what.add_argument("--non-negative", action="store_true", help="never forecast below zero")
    what.add_argument("--seed", type=int, metavar="N")
    what.add_argument("--time-limit", type=int, metavar="SECONDS")

    clean = parser.add_argument_group("what to do with imperfect data")
    for name, choices in (
        ("gaps", GapPolicy), ("duplicates", DuplicatePolicy), ("incomplete-last", IncompletePolicy),
        ("aggregation", Aggregation),
    ):  # fmt: skip
        clean.add_argument(f"--{name}", type=_one_of(choices), metavar="HOW", help=f"one of {', '.join(choices)}")

    machine = parser.add_argument_group("machine")
    machine.add_argument("--cores", type=int, metavar="N", help="processes at once; all cores if not given")
    machine.add_argument(
        "--engine", type=_one_of(Place), default=Place.AUTO, metavar="WHERE",
        help="auto (Spark in a job on Databricks), local or spark; the numbers are the same",
    )  # fmt: skip
    machine.add_argument("--checkpoints", type=Path, metavar="DIR", help="where finished parts are kept")
    machine.add_argument("--verbose", action="store_true", help="log what happens to standard error")

    job = parser.add_argument_group("a run that the app started")
    job.add_argument("--panel", type=Path, metavar="FILE", help="a prepared panel in Parquet")
    job.add_argument("--mlflow-run-id", metavar="ID")
    job.add_argument("--tracking-uri", metavar="URI")
    return parser
