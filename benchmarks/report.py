"""``docs/benchmarks.md`` from the results that are there."""

from __future__ import annotations

from typing import Any, Final

from benchmarks import published, store
from benchmarks.accuracy import PEER, RUN
from benchmarks.markdown import mib, percent, seconds, table
from benchmarks.report_accuracy import accuracy_sections, cost_sections, coverage_sections, published_averages

_PARTS: Final = (RUN, PEER, "published", "prophet", "scaling", "startup", "delegation")

_HEAD: Final = """\
# Benchmarks

Rendered by `python -m benchmarks report`; do not edit. `make bench` measures everything again, `python -m benchmarks
--help` lists the parts, and each takes part of the series (`accuracy --subsets M3-yearly --presets fast --limit 100`).

M3 and Tourism series, test periods withheld, horizons as in the competitions. All histories of a subset are one panel
in one run. A fixed hash of its name puts each series into half A, on which settings may be tuned, or half B, which is
only reported. Errors follow the M4 competition: sMAPE in percent, MASE, and OWA, the mean of both relative to Naive2
on the same series; below 1 is better than Naive2. CPU is that of the process and all it starts, and on a machine that
others use it may be off by a third: compare what stands side by side.

How strict the halves are: what the ensemble does was settled on half A. The settings of XGBoost, AutoETS and AutoARIMA
were settled on a half of the series too, but by a hash of the names without the competition's prefix, so about half of
B took part in those; and the pool of the presets comes from an earlier study (`docs/research/combining-models.md`)
in which B had been seen when the quarterly pool was chosen.
"""

_ACCURACY: Final = """\
## Accuracy

Cells are **OWA** sMAPE MASE. `chosen` is the forecast a user gets without choosing anything but the preset. "n" marks
methods run on a fixed sample, whose figures compare with others only in the tables "on the same series": there, minus
means that our OWA is lower, and ± is the half-width of a 95 % interval from a bootstrap over series. A preset of
ours with an "n" was given the sample alone, so its XGBoost and its ensemble learned from fewer series than those of
the others.
"""

_COST: Final = """\
## Cost

Of our presets: everything from start to written artifacts, with backtests of all models. Of the others: one forecast
without backtest or imports, on the sample in brackets; multiply by the number of series for a whole subset. "×" is
the ratio to a whole `balanced` run.
"""

_COVERAGE: Final = """\
## Intervals

Share of the test period's values inside the 80 and 95 % intervals, in percent, and MSIS at 95 %, each the mean over
series. "Mean miss" is the mean over subsets of the distance from the promise.
"""

_SCALING: Final = """\
## Scaling

Monthly series of 48 to 115 points, made from those of M3 by drawing from their remainders; horizon 12. Memory is the
highest sampled sum of proportional set sizes over all processes. Wall time and what follows from it mean something on
an otherwise idle machine only.
"""

_PROPHET: Final = """\
## Prophet

Ours beside the stock loop (`Prophet().fit`, `make_future_dataframe`, `predict`) on the same monthly series, one
forecast each. Deviation is that of point forecasts, relative to the stock's, mean of a series first.
"""

_STARTUP: Final = """\
## Start-up

Wall time from starting the process to the first finished fit of a model on ten series, and of importing a module in a
new process. Medians of three.
"""

_DELEGATION: Final = """\
## Delegation

What the app asks of a workspace in an interval (`JOB_POLL_INTERVAL_SECONDS`, 5), while jobs run and people look at the
Jobs page, which refreshes every 3 seconds: calls of the REST API, SQL statements, MLflow calls. Each list page is a
question of its own, two where it has to be counted. Jobs that have moved cost one statement more in an interval,
however many they are, and two more each with a line in its timeline; one that has not moved is written every 30
seconds. Reruns are those that one core could do.
"""

_WAITING: Final = """\
From the click on Start to a job with a run id, each REST call and each SQL statement taking 100 ms longer, and a rerun
of the Jobs page by how many jobs are stored. Medians; the store on loopback, so that only what the app does is in it.
"""


def render() -> str:
    """The whole page; a part without results is left out."""
    lines = [_HEAD, *_conditions()]
    if any(store.every(RUN)) or any(store.every(PEER)):
        lines += [_ACCURACY, *accuracy_sections()]
        lines += [f"Published averages over all series ({published.SOURCE}):", published_averages()]
        lines += [_COST, *cost_sections()]
    if any(store.every(RUN)):
        lines += [_COVERAGE, *coverage_sections()]
    lines += _scaling() + _prophet() + _startup() + _delegation()
    return "\n\n".join(line.strip("\n") for line in lines) + "\n"


def _conditions() -> list[str]:
    """One row for each set of conditions under which results were measured."""
    found: dict[tuple[str, ...], set[str]] = {}
    for part in _PARTS:
        for result in store.every(part):
            machine = result["machine"]
            at = (
                result["date"],
                f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}",
                ", ".join(f"{name} {number}" for name, number in result["versions"].items()),
            )
            found.setdefault(at, set()).add(part)
    rows = [[*at, ", ".join(sorted(parts))] for at, parts in sorted(found.items())]
    return [table(["date", "machine", "versions", "parts"], rows)] if rows else ["No results yet."]


def _scaling() -> list[str]:
    results = list(store.every("scaling"))
    if not results:
        return []
    return [_SCALING, table(
        ["engine, preset", "series", "cores", "wall s", "CPU ms a series", "series a second and core", "peak MiB",
         "forecast"],
        [_scaling_row(result) for result in sorted(results, key=lambda r: (r["engine"], r["preset"], r["n_series"]))],
    )]  # fmt: skip


def _scaling_row(result: dict[str, Any]) -> list[str]:
    n, wall, cores = result["n_series"], result["wall_s"], result["cores"]
    return [
        f"{result['engine']}, {result['preset']}",
        f"{n:,}",
        str(cores),
        seconds(wall),
        seconds(1000 * result["cpu_s"] / n),
        seconds(n / wall / cores),
        mib(result["peak_bytes"]),
        f"{result['n_forecast']:,}",
    ]


def _prophet() -> list[str]:
    rows = [
        [
            r["kind"],
            str(r["n_series"]),
            seconds(1000 * r["stock_cpu_s"] / r["n_series"]),
            seconds(1000 * r["our_cpu_s"] / r["n_series"]),
            f"{r['stock_cpu_s'] / r['our_cpu_s']:.1f}",
            percent(r["mean_deviation"]),
            percent(r["median_deviation"]),
        ]
        for r in store.every("prophet")
    ]
    head = ["panel", "series", "stock CPU ms a series", "ours", "stock / ours", "mean deviation %", "median %"]
    return [_PROPHET, table(head, rows)] if rows else []


def _startup() -> list[str]:
    result = store.load("startup", "all")
    if result is None:
        return []
    rows = [[f"first fit: {name}", seconds(value)] for name, value in result["first_fit_s"].items()]
    rows += [[f"import {name}", seconds(value)] for name, value in result["import_s"].items()]
    return [_STARTUP, table(["", "seconds"], rows)]


def _delegation() -> list[str]:
    result = store.load("delegation", "all")
    if result is None:
        return []
    calls = [
        [str(row["jobs"]), str(row["viewers"]), *(f"{row[kind]:.1f}" for kind in ("reruns", "rest", "sql", "mlflow"))]
        for row in result["calls"]
    ]
    clicks = sorted(result["click_s"])
    waits = [["click to run id", seconds(clicks[len(clicks) // 2])], ["the slowest", seconds(clicks[-1])]]
    for kind, by_size in result["rerun_s"].items():
        (few, took), (many, took_longer) = ((int(n), value) for n, value in by_size.items())
        waits += [[f"rerun, {kind}, {few:,} jobs", seconds(took)]]
        waits += [[f"rerun, {kind}, {many:,} jobs", f"{seconds(took_longer)} (×{took_longer / took:.2f})"]]
    return [
        _DELEGATION,
        table(["jobs", "viewers", "reruns", "REST", "SQL", "MLflow"], calls),
        _WAITING,
        table(["", "seconds"], waits),
    ]
