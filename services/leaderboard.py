"""The leaderboard of a run as ``leaderboard.json`` holds it; what older runs did not write has a default."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ModelEntry(_Read):
    """One model over all series, in backtest.

    Attributes:
        score: by the leaderboard's metric; ``None`` when it could not be scored.
        skill_vs_seasonal_naive: share by which its error is below seasonal naive's; negative when worse.
        share_won: share of the series whose forecast is this model's.
        coverage: level -> share of backtest rows inside that interval.
        n_fallback: series on which a simpler variant stood in.
        seconds: what fitting it took.
        dropped: why it was left out early, after which its other numbers compare with nobody's; empty when it
            was not.
    """

    model: str
    rank: int | None = None
    score: float | None = None
    metrics: dict[str, float | None] = Field(default_factory=dict)
    skill_vs_seasonal_naive: float | None = None
    share_won: float | None = None
    coverage: dict[str, float | None] = Field(default_factory=dict)
    n_series: int = 0
    n_failed: int = 0
    n_unscored: int = 0
    n_fallback: int = 0
    commonest_reason: str | None = None
    seconds: float | None = None
    dropped: str = ""


class Choice(_Read):
    """What forecasts chosen in one way are worth, measured on windows that took no part in the choice.

    Attributes:
        score, skill_vs_seasonal_naive, coverage: as of a ``ModelEntry``.
    """

    score: float | None = None
    metrics: dict[str, float | None] = Field(default_factory=dict)
    skill_vs_seasonal_naive: float | None = None
    coverage: dict[str, float | None] = Field(default_factory=dict)


class EnsembleEntry(_Read):
    """What the ensemble is made of, over all series.

    Attributes:
        weights: model -> mean of its weights.
        words: how the weights come about.
    """

    weights: dict[str, float] = Field(default_factory=dict)
    words: str = ""

    @property
    def members(self) -> tuple[tuple[str, float], ...]:
        """Models with a weight, the weightiest first."""
        return tuple(sorted(((m, w) for m, w in self.weights.items() if w > 0), key=lambda pair: -pair[1]))


class CovariateEntry(_Read):
    """What a covariate known in future is worth to XGBoost, on the latest backtest window.

    Attributes:
        error_with: with it as the only such covariate; mean absolute, in units of the naive error of each series.
        error_without: with none of them, in the same units.
        gain: share by which it lowers the error; negative when it raises it.
        gain_together: share by which all covariates known in future lower it; given where none is suspicious alone,
            but all together are, and this one is worth most.
        is_suspicious: it lowers the error more than something known beforehand plausibly could.
    """

    name: str
    error_with: float | None = None
    error_without: float | None = None
    gain: float | None = None
    gain_together: float | None = None
    is_suspicious: bool = False


class Leaderboard(_Read):
    """Every model of a run, best first.

    Attributes:
        why: why the winner is not the model with the lowest error; empty where it is.
        preferred: the model that one for all series would use; older runs don't say.
        n_windows: most backtest windows a series has.
        expected: what the forecasts of this run are worth.
        is_held_out: ``expected`` was measured on windows that took no part in choosing each series' model; it is the
            winner's entry otherwise.
        choices: the same by selection, ``per_series`` and ``overall``; empty with a single backtest window.
        ensemble: what the ensemble is made of; ``None`` without one.
        covariates: what each is worth, where that was measured.
    """

    metric: str
    selection: str
    winner: str | None = None
    why: str = ""
    preferred: str | None = None
    n_windows: int = 0
    expected: Choice = Choice()
    is_held_out: bool = False
    choices: dict[str, Choice] = Field(default_factory=dict)
    ensemble: EnsembleEntry | None = None
    covariates: tuple[CovariateEntry, ...] = ()
    models: tuple[ModelEntry, ...] = ()

    @property
    def first(self) -> ModelEntry | None:
        """The entry of the model that one for all series would use."""
        scored = [entry for entry in self.models if entry.score is not None and not entry.dropped]
        return next((entry for entry in scored if entry.model == self.preferred), scored[0] if scored else None)

    @property
    def suspicious(self) -> tuple[CovariateEntry, ...]:
        """Covariates that may hold the answer itself."""
        return tuple(covariate for covariate in self.covariates if covariate.is_suspicious)

    @property
    def has_shap(self) -> bool:
        """Whether importances are SHAP shares; runs from before covariates were judged counted splits."""
        return "covariates" in self.model_fields_set

    @property
    def best(self) -> ModelEntry | None:
        """The winner's entry."""
        return next((entry for entry in self.models if entry.model == self.winner), None)
