"""Artifacts of a finished run as training writes them, on disk, and a result store over them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from services.domain.job import MlflowRunId
from training import artifacts as a
from training.spec import ColumnRoles, ForecastSpec, ModelName

MODELS = ("SeasonalNaive", "XGBoost", "Prophet")
# Mean error of each model, so that the ensemble is best, or else XGBoost; HistoricAverage worst.
_OFF = {
    "SeasonalNaive": 10.0, "XGBoost": 5.0, "Prophet": 20.0, "Ensemble": 4.0, "Theta": 6.0, "CES": 6.5, "MSTL": 7.0,
    "AutoETS": 7.5, "AutoARIMA": 8.0, "Drift": 11.0, "Naive": 12.0, "Croston": 13.0, "TSB": 13.5, "IMAPA": 14.0,
    "HistoricAverage": 45.0,
}  # fmt: skip
MANY = tuple(str(model) for model in ModelName)
DROPPED = "given up after the latest backtest window: its error was more than 2 times that of Theta"
ROLES = ColumnRoles(time="month", target="revenue", series=("region", "product"))
SERIES = ("North / Tea", "North / Coffee", "South / Tea")


def spec(**changes: object) -> ForecastSpec:
    """A monthly configuration over three series."""
    fields: dict[str, object] = {
        "roles": ROLES, "freq": "MS", "horizon": 6, "models": MODELS, "n_windows": 2, "selection": "per_series",
    }  # fmt: skip
    return ForecastSpec.model_validate(fields | changes)


@dataclass
class FolderResults:
    """A result store over ``<root>/<run id>/<artifact>``, which remembers what was read."""

    root: Path
    reads: list[tuple[str, tuple[str, ...] | None]] = field(default_factory=list)

    def frame(
        self,
        run_id: MlflowRunId,
        artifact: str,
        *,
        unique_ids: Iterable[str] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pd.DataFrame | None:
        chosen = None if unique_ids is None else tuple(unique_ids)
        self.reads.append((artifact, chosen))
        path = self.file(run_id, artifact)
        if path is None:
            return None
        frame = pd.read_parquet(path, columns=list(columns) if columns else None)
        return frame if chosen is None else frame[frame[a.ID].isin(chosen)].reset_index(drop=True)

    def document(self, run_id: MlflowRunId, artifact: str) -> object | None:
        path = self.file(run_id, artifact)
        return None if path is None else json.loads(path.read_text())

    def file(self, run_id: MlflowRunId, artifact: str) -> Path | None:
        path = self.root / run_id / artifact
        return path if path.exists() else None


def write_run(
    folder: Path, forecast_spec: ForecastSpec, series: Sequence[str] = SERIES, *, failed: Sequence[str] = ()
) -> None:
    """Write every artifact of a run, with an ensemble where the spec has one; of ``failed`` series no model has a
    forecast."""
    folder.mkdir(parents=True)
    frequency, h = forecast_spec.frequency, forecast_spec.horizon
    best = min(forecast_spec.models, key=_OFF.__getitem__)
    past = frequency.following(pd.Timestamp("2019-12-15"), 48)
    history, forecast, backtest, scores = [], [], [], []
    for i, name in enumerate(sorted(series)):
        y = 100.0 * (i + 1) + np.arange(48) + 10 * np.sin(np.arange(48) * np.pi / 6)
        history.append(pd.DataFrame({a.ID: name, a.TIME: past, a.TARGET: y}))
        for model in forecast_spec.models:
            if name in failed:
                scores.append(_score(name, model, None, selected=False))
                continue
            ahead = frequency.following(past[-1], h)
            forecast.append(_band({a.ID: name, a.TIME: ahead, a.MODEL: model}, np.full(h, y[-1] + _OFF[model])))
            for window in range(forecast_spec.n_windows):
                cut = 48 - h - window * forecast_spec.step
                rows = {a.ID: name, a.CUTOFF: past[cut - 1], a.TIME: past[cut : cut + h], a.MODEL: model}
                actual = y[cut : cut + h]
                backtest.append(_band(rows, actual + _OFF[model]).assign(**{a.TARGET: actual}))
            scores.append(_score(name, model, _OFF[model] * (i + 1) / 100, selected=model == best))
    for artifact, frames in ((a.HISTORY, history), (a.FORECAST, forecast), (a.BACKTEST, backtest)):
        pd.concat(frames, ignore_index=True).sort_values([a.ID], kind="stable").to_parquet(folder / artifact)
    pd.DataFrame(scores).to_parquet(folder / a.SCORES)
    pd.DataFrame({a.MODEL: "XGBoost", "feature": ["lag1", "lag12", "month"], "importance": [0.6, 0.3, 0.1]}).to_parquet(
        folder / a.IMPORTANCE
    )
    scored = [name for name in sorted(series) if name not in failed]
    if "Ensemble" in forecast_spec.models:
        _weights(scored, forecast_spec.fitted).to_parquet(folder / a.WEIGHTS)
    if "MSTL" in forecast_spec.models:
        _decomposition(pd.concat(history, ignore_index=True)).to_parquet(folder / a.DECOMPOSITION)
    documents = {
        a.LEADERBOARD: _leaderboard(forecast_spec, len(series), len(failed)),
        a.PROFILE: {
            "profile": {},
            "changes": [
                {
                    "kind": "gaps",
                    "count": 26,
                    "detail": "missing timestamps, filled by interpolate",
                    "examples": ["North / Tea at 2019-02-01", "North / Tea at 2019-03-01"],
                }
            ],
        },
        a.ENVIRONMENT: {"python": "3.11", "packages": {"pandas": "2.3.3"}},
        a.SPEC: json.loads(forecast_spec.to_json()),
    }
    for artifact, document in documents.items():
        (folder / artifact).write_text(json.dumps(document))


def _weights(series: Sequence[str], models: Sequence[str]) -> pd.DataFrame:
    """Weights that fall with the error."""
    worth = {str(model): 1 / _OFF[model] for model in models}
    rows = [(name, model, weight / sum(worth.values())) for name in series for model, weight in worth.items()]
    return pd.DataFrame(rows, columns=[a.ID, a.MODEL, "weight"])


def _decomposition(history: pd.DataFrame) -> pd.DataFrame:
    """Trend, a season of twelve and a remainder that sum to ``y``."""
    step = history.groupby(a.ID).cumcount()
    trend = history.groupby(a.ID)[a.TARGET].transform("first") + step
    season = 10 * np.sin(step * np.pi / 6)
    parts = {"trend": trend, "season 12": season, "remainder": history[a.TARGET] - trend - season}
    rows = pd.concat(history[[a.ID, a.TIME]].assign(component=name, value=value) for name, value in parts.items())
    return rows.sort_values(a.ID, kind="stable", ignore_index=True)


def edit_leaderboard(folder: Path, **changes: object) -> None:
    """Change what the leaderboard of a written run says."""
    path = folder / a.LEADERBOARD
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_entry(folder: Path, model: str, **changes: object) -> None:
    """Change what the leaderboard of a written run says of a model."""
    models = json.loads((folder / a.LEADERBOARD).read_text())["models"]
    edit_leaderboard(folder, models=[entry | changes if entry["model"] == model else entry for entry in models])


def edit_scores(folder: Path, unique_id: str, model: str, **changes: object) -> None:
    """Change what the scores of a written run say of a model on a series."""
    scores = pd.read_parquet(folder / a.SCORES)
    row = (scores[a.ID] == unique_id) & (scores[a.MODEL] == model)
    scores.loc[row, list(changes)] = list(changes.values())
    scores.to_parquet(folder / a.SCORES)


def _band(rows: dict[str, object], mean: np.ndarray) -> pd.DataFrame:
    bounds = {a.lo(80): mean - 8, a.hi(80): mean + 8, a.lo(95): mean - 15, a.hi(95): mean + 15}
    return pd.DataFrame({**rows, a.MEAN: mean, **bounds})


def _score(name: str, model: str, error: float | None, *, selected: bool) -> dict[str, object]:
    reason = "" if error is not None else "it has 1 observation, a model needs 3"
    return {
        a.ID: name,
        a.MODEL: model,
        **dict.fromkeys(a.METRICS, error),
        a.coverage(80): None if error is None else 0.79,
        a.coverage(95): None if error is None else 0.94,
        a.SELECTED: selected,
        a.REASON: reason,
        a.FALLBACK: "",
    }


def _leaderboard(forecast_spec: ForecastSpec, n_series: int, n_failed: int) -> dict[str, object]:
    entries = [
        {
            "model": model,
            "rank": rank,
            "score": _OFF[model] / 100,
            "metrics": {"wape": _OFF[model] / 100},
            "skill_vs_seasonal_naive": 1 - _OFF[model] / _OFF["SeasonalNaive"],
            "share_won": 1.0 if rank == 1 else 0.0,
            "coverage": {"80": 0.79, "95": 0.94},
            "n_series": n_series,
            "n_failed": n_failed,
            "commonest_reason": "",
            "n_fallback": 0,
            "seconds": 1.5,
            "dropped": "",
        }
        for rank, model in enumerate(sorted(forecast_spec.models, key=_OFF.__getitem__), start=1)
    ]
    has_ensemble = "Ensemble" in forecast_spec.models
    weights = _weights(["any"], forecast_spec.fitted).set_index(a.MODEL)["weight"].to_dict() if has_ensemble else {}
    return {
        "metric": str(forecast_spec.metric),
        "selection": str(forecast_spec.selection),
        "winner": entries[0]["model"],
        "n_windows": forecast_spec.n_windows,
        "expected": {"score": 0.06, "skill_vs_seasonal_naive": 0.4, "coverage": {"80": 0.78, "95": 0.93}},
        "is_held_out": forecast_spec.selection == "per_series",
        "ensemble": {"weights": weights, "words": "half the median of its models, half their average by weight"}
        if has_ensemble
        else None,
        "covariates": [],
        "choices": {
            "per_series": {
                "score": 0.06,
                "metrics": {},
                "skill_vs_seasonal_naive": 0.4,
                "coverage": {"80": 0.78, "95": 0.93},
            },
            "overall": {
                "score": 0.061,
                "metrics": {},
                "skill_vs_seasonal_naive": 0.39,
                "coverage": {"80": 0.77, "95": 0.92},
            },
        },
        "models": entries,
    }
