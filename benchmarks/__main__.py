"""The command line: ``python -m benchmarks PART``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks.subsets import SUBSETS
from training.spec import ModelName, Preset


def main(argv: Sequence[str] | None = None) -> int:
    """Run the parts asked for; returns the exit status."""
    args = _parser().parse_args(argv)
    args.run(args)
    return 0


def _members(args: argparse.Namespace) -> None:
    from benchmarks import members

    for subset in args.subsets:
        models = [m for m in args.models or members.default_models(SUBSETS[subset].m) if m not in args.without]
        print(members.dump(subset, models, preset=args.preset, limit=args.limit))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parts = parser.add_subparsers(required=True, metavar="PART")

    some = argparse.ArgumentParser(add_help=False)
    some.add_argument("--subsets", type=_names(SUBSETS), default=list(SUBSETS), help=", ".join(SUBSETS))
    some.add_argument("--limit", type=int, help="only this many series of each subset, the same ones every time")
    some.add_argument("--models", type=_models, help="instead of those of the preset")

    part = parts.add_parser("members", parents=[some], help="arrays of every model's backtest, for tuning ensembles")
    part.add_argument("--preset", type=Preset, default=Preset.BALANCED, choices=list(Preset))
    part.add_argument("--without", type=_models, default=[], help="models to leave out")
    part.set_defaults(run=_members)
    return parser


def _names(known):
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(known)}")
        return names

    return parse


def _models(text: str) -> list[ModelName]:
    return [ModelName(name) for name in _names(list(ModelName))(text)]


if __name__ == "__main__":
    sys.exit(main())
