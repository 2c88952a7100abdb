"""The command line: ``python -m benchmarks PART``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.subsets import SUBSETS
from training.spec import ModelName, Preset

PEERS: Final = ("comb", "statsforecast-median", "prophet-loop")
SIZES: Final = (100, 1_000, 10_000, 100_000)
ENGINES: Final = ("local", "spark")
THOROUGH_LIMIT: Final = 150  # its ARIMA and Prophet would take hours on all of a subset
PAGE: Final = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the parts asked for; returns the exit status."""
    args = _parser().parse_args(argv)
    args.run(args)
    return 0


def _accuracy(args: argparse.Namespace) -> None:
    from benchmarks import accuracy

    for subset in args.subsets:
        for task in args.peers:
            _say(f"{subset}: {task}")
            accuracy.run_peer(subset, task, limit=args.limit)
        if args.published:
            accuracy.run_published(subset, args.published)
    _presets(args, again=True)


def _coverage(args: argparse.Namespace) -> None:
    _presets(args, again=args.again)


def _presets(args: argparse.Namespace, *, again: bool) -> None:
    from benchmarks import accuracy, store

    for subset in args.subsets:
        for preset in args.presets:
            limit = args.limit or (args.thorough_limit or None if preset is Preset.THOROUGH else None)
            if not again and store.load(accuracy.RUN, accuracy.key(subset, preset, limit)):
                continue
            _say(f"{subset}: {preset}" + (f", {limit} series" if limit else ""))
            accuracy.run_preset(subset, preset, models=args.models, limit=limit)


def _scaling(args: argparse.Namespace) -> None:
    from benchmarks import scaling

    for n in args.sizes:
        for engine in args.engines:
            _say(f"{n:,} series, {engine}")
            scaling.run(n, engine, preset=args.preset, models=args.models, cores=args.cores)


def _prophet(args: argparse.Namespace) -> None:
    from benchmarks import prophet

    _say("Prophet")
    prophet.run(args.series)


def _startup(args: argparse.Namespace) -> None:
    from benchmarks import startup

    _say("start-up")
    startup.run(tuple(args.models) if args.models else None)


def _delegation(args: argparse.Namespace) -> None:  # noqa: ARG001  every part takes them
    from benchmarks import delegation

    _say("delegation")
    delegation.run()


def _members(args: argparse.Namespace) -> None:
    from benchmarks import members

    for subset in args.subsets:
        models = [m for m in args.models or members.default_models(SUBSETS[subset].m) if m not in args.without]
        print(members.dump(subset, models, preset=args.preset, limit=args.limit))


def _report(args: argparse.Namespace) -> None:
    from benchmarks import report

    args.output.write_text(report.render(), encoding="utf-8")
    print(args.output)


def _all(args: argparse.Namespace) -> None:
    for part in (_startup, _delegation, _prophet, _accuracy, _scaling, _report):
        part(args)


def _say(what: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S}  {what}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Accuracy, interval coverage and cost of the forecasts, beside those of others.",
    )
    parts = parser.add_subparsers(required=True, metavar="PART")

    some = _options()
    some.add_argument("--subsets", type=_names(SUBSETS), default=list(SUBSETS), help=", ".join(SUBSETS))
    some.add_argument("--limit", type=int, help="only this many series of each subset, the same ones every time")
    models = _options()
    models.add_argument("--models", type=_models, help="instead of those of the preset")
    presets = _options()
    presets.add_argument(
        "--presets", type=_presets_of, default=list(Preset), help=f"{', '.join(Preset)}; empty for none"
    )
    presets.add_argument(
        "--thorough-limit", type=int, default=THOROUGH_LIMIT, metavar="N",
        help="series of each subset for the costly preset, 0 for all; %(default)s if not given",
    )  # fmt: skip
    others = _options()
    others.add_argument(
        "--peers", type=_names(PEERS), default=list(PEERS),
        help=f"{', '.join(PEERS)}; empty for none",
    )  # fmt: skip
    others.add_argument(
        "--published", type=Path, metavar="DIR",
        help="CSV files with forecasts of the M3 competition: method, series, 1, 2, … 18",
    )  # fmt: skip
    sizes = _options()
    sizes.add_argument("--sizes", type=_integers, default=list(SIZES), help="numbers of series, such as 100,1000")
    sizes.add_argument("--engines", type=_names(ENGINES), default=["local"], help=", ".join(ENGINES))
    sizes.add_argument("--preset", type=Preset, default=Preset.BALANCED, choices=list(Preset))
    sizes.add_argument("--cores", type=int, help="for each run; all if not given")
    prophet = _options()
    prophet.add_argument("--series", type=int, default=60, help="to compare Prophet on")
    output = _options()
    output.add_argument("--output", type=Path, default=PAGE, metavar="FILE")

    def add(
        name: str, run: Callable[[argparse.Namespace], None], words: str, *parents: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        part = parts.add_parser(name, parents=list(parents), help=words)
        part.set_defaults(run=run)
        return part

    add("accuracy", _accuracy, "presets, peers and published forecasts", some, models, presets, others)
    coverage = add("coverage", _coverage, "presets only; runs that are there are used", some, models, presets)
    coverage.add_argument("--again", action="store_true", help="run what is there again")
    add("scaling", _scaling, "cost from a hundred series to a hundred thousand", sizes, models)
    add("prophet", _prophet, "our Prophet beside the stock loop", prophet)
    add("startup", _startup, "time to the first fit", models)
    add("delegation", _delegation, "what the app asks of a workspace, and how long it takes to answer")
    add("all", _all, "every part, and the report", some, models, presets, others, sizes, prophet, output)
    add("report", _report, "render docs/benchmarks.md from the results that are there", output)
    part = add("members", _members, "arrays of every model's backtest, for tuning ensembles", some, models)
    part.add_argument("--preset", type=Preset, default=Preset.BALANCED, choices=list(Preset))
    part.add_argument("--without", type=_models, default=[], help="models to leave out")
    return parser


def _options() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(add_help=False)


def _integers(text: str) -> list[int]:
    return [int(part.replace("_", "")) for part in text.split(",")]


def _presets_of(text: str) -> list[Preset]:
    return [Preset(name) for name in _names(list(Preset))(text)]


def _names(known: Collection[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(known)}")
        return names

    return parse


def _models(text: str) -> list[ModelName]:
    return [ModelName(name) for name in _names(list(ModelName))(text)]


if __name__ == "__main__":
    sys.exit(main())
