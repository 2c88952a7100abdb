"""A ForecastSpec as the values of the form's widgets, and back."""

from __future__ import annotations

from typing import Any, Final, Protocol

from services.domain.job import DatasetId
from training.errors import ConfigError
from training.spec import ColumnRoles, Covariate, CovariateKind, ForecastSpec

# Widget key -> field of the spec, where the widget's value is the field's.
_FIELDS: Final = {
    "horizon": "horizon",
    "frequency": "freq",
    "preset": "preset",
    "holidays_country": "holidays_country",
    "n_windows": "n_windows",
    "step_size": "step_size",
    "metric": "metric",
    "selection": "selection",
    "gaps": "gaps",
    "duplicates": "duplicates",
    "incomplete_last": "incomplete_last",
    "aggregation": "aggregation",
    "non_negative": "non_negative",
    "seed": "seed",
    "time_limit_s": "time_limit_s",
}


class State(Protocol):
    """What is used of ``st.session_state``; a dictionary will do."""

    def __setitem__(self, key: str, value: Any, /) -> None: ...

    def get(self, key: str, /) -> Any: ...


LEFT_OUT: Final = "leave_out"
"""Value of a covariate's widget when the forecast does not use it; no value at all could not be shown."""


def covariate_key(position: int) -> str:
    """Key of the widget of the dataset's covariate at this position."""
    return f"covariate_{position}"


def put(state: State, spec: ForecastSpec, roles: ColumnRoles) -> None:
    """Set every widget of the form to the spec; ``roles`` are those of the dataset."""
    for key, field in _FIELDS.items():
        state[key] = getattr(spec, field)
    state["models"] = list(spec.models)
    state["levels"] = list(spec.levels)
    kinds = {covariate.name: covariate.kind for covariate in spec.roles.covariates}
    for position, covariate in enumerate(roles.covariates):
        state[covariate_key(position)] = kinds.get(covariate.name, LEFT_OUT)


def get(state: State, dataset_id: DatasetId, roles: ColumnRoles) -> ForecastSpec:
    """The spec that the widgets describe.

    Raises:
        pydantic.ValidationError: a value is missing or out of range.
    """
    kinds = ((c.name, state.get(covariate_key(i))) for i, c in enumerate(roles.covariates))
    covariates = tuple(Covariate(name=name, kind=CovariateKind(kind)) for name, kind in kinds if kind != LEFT_OUT)
    return ForecastSpec(
        dataset_id=dataset_id,
        roles=roles.model_copy(update={"covariates": covariates}),
        models=tuple(state.get("models") or ()),
        levels=tuple(state.get("levels") or ()),
        **{field: state.get(key) for key, field in _FIELDS.items()},
    )


def adopt(spec: ForecastSpec, roles: ColumnRoles) -> ForecastSpec:
    """A spec made elsewhere, for a dataset with these roles.

    Raises:
        ConfigError: it is about other columns.
    """
    asked = spec.roles
    for noun, theirs, ours in (
        ("time column", asked.time, roles.time),
        ("target", asked.target, roles.target),
        ("series columns", ", ".join(asked.series) or "none", ", ".join(roles.series) or "none"),
    ):
        if theirs != ours:
            raise ConfigError(
                f"The configuration is for another table: its {noun} is {theirs!r}, here it is {ours!r}.",
                remedy="Choose the dataset it was made for, or configure this one by hand.",
            )
    missing = {c.name for c in asked.covariates} - {c.name for c in roles.covariates}
    if missing:
        raise ConfigError(
            f"The configuration uses the covariates {', '.join(sorted(missing))}, which this dataset was kept without.",
            remedy="Choose them on the Upload screen, or configure this dataset by hand.",
        )
    return spec
