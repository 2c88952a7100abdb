"""The report's tables of errors, of intervals and of what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from benchmarks import published, store
from benchmarks.accuracy import CHOSEN, PEER, RUN
from benchmarks.markdown import percent, seconds, signed_percent, table
from benchmarks.metrics import LEVELS, NAIVE2, Accuracy
from benchmarks.subsets import SUBSETS, half
from training.spec import ModelName, Preset

_ENSEMBLE: Final = str(ModelName.ENSEMBLE)
_BOOTSTRAPS: Final = 400
_PARTS: Final[Mapping[str, Callable[[str], bool]]] = {
    "half B, not used for tuning": lambda name: half(name) == "B",
    "all series": lambda _: True,
}
_PEER_WORDS: Final = {
    "comb": "own Comb",
    "statsforecast-median": "statsforecast median",
    "prophet-loop": "stock Prophet loop",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A method's scores on one subset.

    Attributes:
        column: its name in ``accuracy``.
        n_series: it was run on.
    """

    accuracy: Accuracy
    column: str
    n_series: int

    def ids(self, part: Callable[[str], bool]) -> list[str]:
        """Its series that belong to a part."""
        return [name for name in self.accuracy.smape.index if part(name)]


Table = dict[str, dict[str, Scored]]
"""Scores by method and subset."""


def results(part: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Kept results by subset and preset or task; of several, the one on the most series."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for result in store.every(part):
        at = (result["subset"], result.get("preset") or result.get("task") or "")
        if at not in found or found[at]["n_series"] < result["n_series"]:
            found[at] = result
    return found


def forecasts() -> Table:
    """What a user gets from each preset, and what others give."""
    rows: Table = {}
    for preset in Preset:
        for (subset, name), result in results(RUN).items():
            if name != preset:
                continue
            scores = Accuracy.from_json(result["accuracy"])
            for column, words in ((CHOSEN, f"{preset}, chosen"), (_ENSEMBLE, f"{preset}, Ensemble")):
                if column in scores.smape:
                    rows.setdefault(words, {})[subset] = _scored(result, scores, column)
    for part in (PEER, "published"):
        for (subset, _), result in results(part).items():
            scores = Accuracy.from_json(result["accuracy"])
            for column in scores.smape.columns.drop(NAIVE2):
                words = _PEER_WORDS.get(column, f"{column} (published)")
                rows.setdefault(words, {})[subset] = _scored(result, scores, column)
    return rows


def single_models(preset: str) -> Table:
    """Each model of a preset alone, Naive2 last."""
    rows: Table = {}
    for (subset, name), result in results(RUN).items():
        if name == preset:
            scores = Accuracy.from_json(result["accuracy"])
            for column in scores.smape.columns.drop([CHOSEN, _ENSEMBLE], errors="ignore"):
                rows.setdefault(column, {})[subset] = _scored(result, scores, column)
    order = {str(model): i for i, model in enumerate(ModelName)}
    return {name: rows[name] for name in sorted(rows, key=lambda name: order.get(name, len(order)))}


def _scored(result: Mapping[str, Any], scores: Accuracy, column: str) -> Scored:
    return Scored(accuracy=scores, column=column, n_series=result["n_series"])


def accuracy_sections() -> list[str]:
    """OWA, sMAPE and MASE of everything, by part of the series."""
    lines: list[str] = []
    rows = forecasts()
    for words, part in _PARTS.items():
        lines += [f"### Forecasts, {words}", _errors(rows, part)]
    lines += _against(rows)
    for preset in Preset:
        single = single_models(preset)
        for words, part in _PARTS.items():
            if single:
                lines += [f"### Models of `{preset}` alone, {words}", _errors(single, part)]
    lines += _failures()
    return lines


def _errors(rows: Table, part: Callable[[str], bool]) -> str:
    names = _subsets(rows)
    body = []
    for method, by_subset in rows.items():
        owas, cells = [], []
        for subset in names:
            scored = by_subset.get(subset)
            ids = scored.ids(part) if scored else []
            if scored is None or not ids:
                cells.append("")
                continue
            owa = scored.accuracy.owa(scored.column, ids)
            smape = scored.accuracy.smape.loc[ids, scored.column].mean()
            mase = scored.accuracy.mase.loc[ids, scored.column].mean()
            is_full = scored.n_series == _full(rows, subset)
            owas += [owa] if is_full else []
            sampled = "" if is_full else f" (n = {len(ids)})"
            cells.append(f"**{owa:.3f}** {smape:.2f} {mase:.3f}{sampled}")
        mean = f"**{np.mean(owas):.3f}**" if len(owas) == len(names) else ""
        body.append([method, *cells, mean])
    counts = [str(max(len(s[name].ids(part)) for s in rows.values() if name in s)) for name in names]
    return table(["", *names, "mean OWA"], [["series", *counts, ""], *body])


def _full(rows: Table, subset: str) -> int:
    return max(by_subset[subset].n_series for by_subset in rows.values() if subset in by_subset)


def _subsets(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    present = {subset for by_subset in rows.values() for subset in by_subset}
    return [name for name in SUBSETS if name in present]


def _against(rows: Table) -> list[str]:
    """OWA of an ensemble over that of each other method, on the series both have."""
    lines: list[str] = []
    for preset in Preset:
        ours = rows.get(f"{preset}, Ensemble") or rows.get(f"{preset}, chosen")
        if not ours:
            continue
        what = f"{preset}, Ensemble" if f"{preset}, Ensemble" in rows else f"{preset}, chosen"
        names = _subsets({what: ours})
        others = {method: by_subset for method, by_subset in rows.items() if method != what}
        others |= {f"its {method}": by_subset for method, by_subset in single_models(preset).items()}
        for words, part in _PARTS.items():
            body = []
            for method, by_subset in others.items():
                gains = [_compared(ours[name], by_subset.get(name), part) for name in names]
                if not any(gains):
                    continue
                mean = signed_percent(float(np.mean([gain[0] for gain in gains if gain]))) if all(gains) else ""
                body.append([method, *(f"{signed_percent(g[0])} ±{100 * g[1]:.1f}" if g else "" for g in gains), mean])
            if body:
                title = f"### `{what}` against others on the same series, {words}"
                lines += [title, table(["", *names, "mean"], body)]
    return lines


def _compared(ours: Scored, other: Scored | None, part: Callable[[str], bool]) -> tuple[float, float] | None:
    """How much lower our OWA is, as a negative share, and the half-width of its 95 % interval."""
    if other is None:
        return None
    ids = [name for name in ours.ids(part) if name in other.accuracy.smape.index]
    if len(ids) < 2:
        return None
    errors = np.column_stack(
        [
            frame.loc[ids, column]
            for scored in (ours, other)
            for frame, column in ((scored.accuracy.smape, scored.column), (scored.accuracy.mase, scored.column))
        ]
        + [ours.accuracy.smape.loc[ids, NAIVE2], ours.accuracy.mase.loc[ids, NAIVE2]]
    )
    rng = np.random.default_rng(1)
    draws = [_gain(errors[rng.integers(len(ids), size=len(ids))]) for _ in range(_BOOTSTRAPS)]
    return _gain(errors), 1.96 * float(np.std(draws))


def _gain(errors: np.ndarray) -> float:
    ours_smape, ours_mase, smape, mase, base_smape, base_mase = np.nanmean(errors, axis=0)
    ours = ours_smape / base_smape + ours_mase / base_mase
    return float(ours / (smape / base_smape + mase / base_mase) - 1)


def _failures() -> list[str]:
    body = []
    for part in (RUN, PEER):
        for (subset, name), result in results(part).items():
            failed = {m: n for m, n in result["accuracy"]["stood_in"].items() if n}
            body += [[subset, name, method, str(n), str(result["n_series"])] for method, n in failed.items()]
    if not body:
        return []
    head = ["subset", "run", "method", "series without a forecast", "of"]
    return ["### Series that a method could not forecast, scored with Naive2's forecast", table(head, body)]


def published_averages() -> str:
    """sMAPE as printed in the literature, over all series of a subset."""
    names = [name for name in SUBSETS if name.startswith("M3")]
    body = [
        [method, *(f"{by_subset[name]:.2f}" if name in by_subset else "" for name in names)]
        for method, by_subset in published.AVERAGES.items()
    ]
    return table(["sMAPE, all series", *names], body)


def cost_sections() -> list[str]:
    """CPU milliseconds a series of whole runs and of others, and what each model takes of a run."""
    runs, peers = results(RUN), results(PEER)
    names = [name for name in SUBSETS if any(at[0] == name for at in [*runs, *peers])]
    base = {
        name: 1000 * run["cpu_s"] / run["n_series"] for name in names if (run := runs.get((name, str(Preset.BALANCED))))
    }
    rows: dict[str, dict[str, str]] = {}
    for preset in Preset:
        for (subset, name), result in runs.items():
            if name == preset:
                cell = _cost(1000 * result["cpu_s"], result, base.get(subset))
                rows.setdefault(f"{preset}, whole run ({result['n_windows']} windows)", {})[subset] = cell
    for (subset, task), result in peers.items():
        cell = _cost(1000 * result["loop_cpu_s"], result, base.get(subset))
        rows.setdefault(f"{_PEER_WORDS[task]}, one forecast", {})[subset] = cell
    lines = [table(["CPU ms a series", *names], [[row, *(rows[row].get(name, "") for name in names)] for row in rows])]
    by_model: dict[str, dict[str, str]] = {}
    for preset in Preset:
        for (subset, name), result in runs.items():
            if name == preset:
                for model, spent in result["seconds"].items():
                    cell = seconds(1000 * spent / result["n_series"])
                    by_model.setdefault(f"{preset}: {model}", {})[subset] = cell
    if by_model:
        body = [[row, *(by_model[row].get(name, "") for name in names)] for row in by_model]
        lines += [
            "Wall milliseconds a series that each model takes of a run, all windows and the forecast together:",
            table(["wall ms a series", *names], body),
        ]
    return lines


def _cost(milliseconds: float, result: Mapping[str, Any], base: float | None) -> str:
    each = milliseconds / result["n_series"]
    ratio = "" if base is None else f"{each / base:.2g} ×, "
    return f"{seconds(each)} ({ratio}n = {result['n_series']})"


def coverage_sections() -> list[str]:
    """Coverage and MSIS on the test periods, by preset and part of the series."""
    lines: list[str] = []
    for preset in Preset:
        runs = {subset: result["intervals"] for (subset, name), result in results(RUN).items() if name == preset}
        for words, part in _PARTS.items():
            if runs:
                lines += [f"### `{preset}`, {words}", _coverage(runs, part)]
    return lines


def _coverage(runs: Mapping[str, Mapping[str, Any]], part: Callable[[str], bool]) -> str:
    names = [name for name in SUBSETS if name in runs]
    methods = sorted(
        dict.fromkeys(method for found in runs.values() for method in found),
        key=lambda method: (method != CHOSEN, method != _ENSEMBLE),
    )
    body = []
    for method in methods:
        values = {name: _interval_means(runs[name].get(method), part) for name in names}
        cells = [
            f"{percent(v[0])} / {percent(v[1])} / {v[2]:.1f}" if (v := values[name]) is not None else ""
            for name in names
        ]
        known = [v for v in values.values() if v is not None]
        mean = _mean_cell(known) if len(known) == len(names) else ["", ""]
        body.append([method, *cells, *mean])
    return table(["80 % / 95 % / MSIS", *names, "mean", "mean miss, points"], body)


def _mean_cell(values: Sequence[tuple[float, float, float]]) -> list[str]:
    at80, at95, msis = np.mean(values, axis=0)
    misses = [np.mean([abs(100 * v[i] - level) for v in values]) for i, level in enumerate(LEVELS)]
    return [
        f"{percent(at80)} / {percent(at95)} / {msis:.1f}",
        " / ".join(f"{miss:.1f}" for miss in misses),
    ]


def _interval_means(
    found: Mapping[str, Iterable[Any]] | None, part: Callable[[str], bool]
) -> tuple[float, float, float] | None:
    if found is None:
        return None
    frame = pd.DataFrame(found).set_index("ids").astype(float)
    frame = frame[[part(name) for name in frame.index]]
    if frame.empty:
        return None
    mean = frame.mean()
    return float(mean["coverage-80"]), float(mean["coverage-95"]), float(mean["msis"])
