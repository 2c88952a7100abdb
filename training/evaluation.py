"""Rolling-origin backtest: its cutoffs, its metrics, and which model wins.

Cutoffs are counted from each series' own end and are the same for every model. Metrics are those of
``utilsforecast.losses`` (Hyndman & Koehler 2006 for MASE), taken over all windows of a series together
and over observed values only: a value that was filled in is never an actual. All are shares, not
percentages, and sMAPE lies between 0 and 1. Where a metric has no meaning it is missing: MAPE with an
actual of zero, WAPE with nothing but zeros, MASE of a series whose past never changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from utilsforecast import losses

from training.artifacts import ID, MEAN, METRICS, MODEL, TARGET
from training.spec import Metric, ModelName, Selection

WINDOW: Final = "window"  # 0 is the latest
OBSERVED: Final = "observed"
SCALE: Final = "scale"  # mean absolute (seasonal) difference of a series before a cutoff
MIN_TRAIN: Final = 3
_ALL: Final = "all"


def plan_windows(sizes: pd.Series, *, h: int, step: int, n_windows: int, season_length: int) -> pd.DataFrame:
    """The backtest windows of each series, ``unique_id, window, train_size``; window 0 is the latest.

    A window needs a season and a few rows before its cutoff. A series too short for that keeps its latest
    window down to three rows, and one too short even for that has none.

    Args:
        sizes: rows of history by ``unique_id``.
        h: rows in a window.
        step: rows between cutoffs.
        n_windows: most windows a series may have.
        season_length: rows in a season.
    """
    windows = np.arange(n_windows)
    train = sizes.to_numpy()[:, None] - h - step * windows[None, :]
    enough = train >= season_length + MIN_TRAIN
    enough[:, 0] |= train[:, 0] >= MIN_TRAIN
    rows, columns = np.nonzero(enough)
    return pd.DataFrame(
        {ID: sizes.index.to_numpy()[rows], WINDOW: windows[columns], "train_size": train[rows, columns]}
    )


def share_actuals(one: ArrayLike, other: ArrayLike, *, h: int, step: int) -> NDArray[np.bool_]:
    """Whether windows of these numbers hold some of the same actuals, as each does with itself.

    What is fitted on one says nothing honest about the other.
    """
    return np.asarray(np.abs(np.subtract(one, other)) * step < h)


def cut(history: pd.DataFrame, windows: pd.DataFrame, h: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training rows and the ``h`` rows after the cutoff, for one window a series.

    A gap that reaches over the cutoff was filled with knowledge of both sides; up to the cutoff it is
    filled again from the last value before it.
    """
    size = history[ID].map(windows.set_index(ID)["train_size"])
    position = history.groupby(ID, observed=True, sort=False).cumcount()
    train = history[position < size]
    test = history[(position >= size) & (position < size + h)]
    if not train[OBSERVED].all():
        known = train[TARGET].where(train[OBSERVED]).groupby(train[ID], observed=True, sort=False)
        nothing_after = known.bfill().isna()
        train = train.assign(**{TARGET: train[TARGET].mask(nothing_after, known.ffill())})
    return train.reset_index(drop=True), test.reset_index(drop=True)


def naive_scale(history: pd.DataFrame, season_length: int) -> pd.Series:
    """Mean absolute seasonal difference by ``unique_id``, of consecutive values for series within one season.

    Zero where nothing ever changed, missing below two rows.
    """
    groups = history.groupby(ID, observed=True, sort=False)[TARGET]
    seasonal = (history[TARGET] - groups.shift(season_length)).abs()
    plain = (history[TARGET] - groups.shift(1)).abs()
    by = history[ID]
    seasonal_mean = seasonal.groupby(by, observed=True, sort=False).mean()
    return seasonal_mean.fillna(plain.groupby(by, observed=True, sort=False).mean()).rename(SCALE)


def score(backtest: pd.DataFrame, mase_scale: pd.Series) -> pd.DataFrame:
    """Metrics by ``unique_id, model``.

    Args:
        backtest: ``unique_id, model, ds, cutoff, y, mean, observed`` of all windows.
        mase_scale: by ``unique_id``, from the rows before the series' first cutoff.
    """
    actual = backtest[backtest[OBSERVED].astype(bool)]
    return _metrics(actual, mase_scale)


def score_panel(backtest: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Metrics by ``model`` over the panel: over all rows together, relative ones averaged over series.

    MAE, RMSE, WAPE and bias are taken over all rows, so large series weigh more; MAPE, sMAPE and MASE are
    means over the series that have them.
    """
    actual = backtest[backtest[OBSERVED].astype(bool)]
    pooled = _metrics(actual.assign(**{ID: _ALL}), None).set_index(MODEL)
    means = scores.groupby(MODEL, observed=True, sort=False)[["mape", "smape", "mase"]].mean()
    for name in means:
        pooled[name] = means[name]
    return pooled[list(METRICS)]


def _metrics(rows: pd.DataFrame, mase_scale: pd.Series | None) -> pd.DataFrame:
    parts = []
    for model, part in rows.groupby(MODEL, observed=True, sort=False):
        frame = part[[ID, TARGET, MEAN]]
        out = pd.DataFrame(
            {
                name: getattr(losses, name)(frame, models=[MEAN]).set_index(ID)[MEAN]
                for name in METRICS
                if name != "mase"
            }
        )
        has_zero = (frame[TARGET] == 0).groupby(frame[ID], observed=True).any()
        out["mape"] = out["mape"].mask(has_zero.reindex(out.index))
        scale = None if mase_scale is None else mase_scale.reindex(out.index).replace(0.0, np.nan)
        out["mase"] = np.nan if scale is None else out["mae"] / scale
        parts.append(out.reset_index().assign(**{MODEL: model}))
    if not parts:
        return pd.DataFrame(columns=[ID, MODEL, *METRICS])
    table = pd.concat(parts, ignore_index=True)[[ID, MODEL, *METRICS]]
    return table.replace([np.inf, -np.inf], np.nan)


def with_stand_in(backtest: pd.DataFrame, yardstick: ModelName = ModelName.SEASONAL_NAIVE) -> pd.DataFrame:
    """The backtest with the yardstick's rows wherever a model has none: what using that model would mean.

    Models are compared on this, so that one can't win by failing on the difficult series.
    """
    base = backtest[backtest[MODEL] == yardstick]
    parts = [base]
    for model, rows in backtest[backtest[MODEL] != yardstick].groupby(MODEL, observed=True, sort=False):
        missing = base[~base[ID].isin(rows[ID].unique())]
        parts += [rows, missing.assign(**{MODEL: model})]
    return pd.concat(parts, ignore_index=True)


def rank_models(panel: pd.DataFrame, metric: Metric, order: Sequence[ModelName]) -> list[str]:
    """Models from best to worst over the panel; ties and missing scores keep the given order.

    A metric that has no meaning here (WAPE of zeros) gives way to MAE.
    """
    values = panel[metric] if panel[metric].notna().all() else panel["mae"]
    known = [name for name in order if name in values.index]
    return sorted((str(name) for name in known), key=lambda name: float(values[name]))


def best_by_series(scores: pd.DataFrame, metric: Metric, order: Sequence[ModelName]) -> pd.Series:
    """The model with the lowest error by ``unique_id``; ties keep the given order.

    On one series, MAE ranks as WAPE and MASE do, so it decides where those have no meaning.
    """
    error = scores[metric].fillna(scores["mae"])
    rank = {str(name): i for i, name in enumerate(order)}
    ordered = scores.assign(_error=error, _order=scores[MODEL].map(rank)).dropna(subset=["_error"])
    ordered = ordered.sort_values([ID, "_error", "_order"])
    return ordered.drop_duplicates(ID).set_index(ID)[MODEL]


def compare(
    backtest: pd.DataFrame, scores: pd.DataFrame, mase_scale: pd.Series, metric: Metric, order: Sequence[ModelName]
) -> tuple[list[str], pd.Series]:
    """Models from best to worst over the panel, and the best model of each scored series.

    Args:
        backtest: ``unique_id, model, y, mean, observed``.
        scores: ``score`` of this backtest.
        mase_scale: naive scale of each series before its first cutoff.
        metric: by which to compare.
        order: of the models, for ties.
    """
    stood_in = with_stand_in(backtest)
    complete = score(stood_in, mase_scale) if len(stood_in) > len(backtest) else scores
    return rank_models(score_panel(stood_in, complete), metric, order), best_by_series(scores, metric, order)


def select(best: pd.Series, ranked: Sequence[str], forecasts: pd.DataFrame, selection: Selection) -> pd.Series:
    """The model whose forecast each series gets, by ``unique_id``, for every series that has a forecast.

    Series without a score get the best model over the panel, and where the chosen model has no forecast the
    next one that has.

    Args:
        best: the best model of each scored series.
        ranked: models from best to worst over the panel.
        forecasts: ``unique_id, model`` of every forecast there is.
        selection: per series or overall.
    """
    has = forecasts.drop_duplicates([ID, MODEL])
    place = has[MODEL].map({name: i for i, name in enumerate(ranked)}).astype(float)
    place = place.fillna(float(len(ranked)))
    if selection is Selection.PER_SERIES:
        place = place.mask(has[MODEL].to_numpy() == has[ID].map(best).to_numpy(), -1.0)
    chosen = has.assign(_place=place).sort_values([ID, "_place"], kind="stable").drop_duplicates(ID)
    return chosen.set_index(ID)[MODEL]
