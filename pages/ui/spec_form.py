"""The widgets of the Configure page. Their values live under their keys; ``spec_state`` reads them.

Number fields have no bounds of their own: a widget silently keeps its last value when given one outside them,
and the review would go on about a number that is not on screen. The spec refuses it, in words.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

import streamlit as st
from holidays.registry import COUNTRIES

from pages.ui import model_help
from pages.ui.format import escape, metric_text
from pages.ui.spec_calendar import suggest
from pages.ui.spec_state import LEFT_OUT, covariate_key
from pages.ui.spec_view import (
    AGGREGATION_TEXTS,
    COVARIATE_TEXTS,
    DUPLICATE_TEXTS,
    GAP_TEXTS,
    INCOMPLETE_TEXTS,
    PRESET_TEXTS,
    SELECTION_TEXTS,
)
from training.frequency import OFFERED, Frequency
from training.quality import Profile
from training.spec import (
    MAX_HORIZON,
    MAX_WINDOWS,
    PRESETS,
    Aggregation,
    ColumnRoles,
    CovariateKind,
    DuplicatePolicy,
    GapPolicy,
    IncompletePolicy,
    Metric,
    Preset,
    Selection,
    preset_models,
)

T = TypeVar("T")

_COUNTRIES: Final = {entry[1]: name.replace("_", " ").title() for name, entry in COUNTRIES.items()}
_COUNTRY_CODES: Final = sorted((code for code in _COUNTRIES if len(code) == 2), key=lambda code: _COUNTRIES[code])
_LEVELS: Final = (50, 80, 90, 95, 99)
_CHOOSE_HELP: Final = (
    "One model for all is the default, because the Ensemble usually beats picking a model for each series: the best "
    "on a few backtest windows is partly luck, and following it costs about 5 % of accuracy. Per series suits series "
    "of different kinds with long histories. Results say what the other way would have been worth."
)


def _and_chosen(offered: Iterable[T], key: str) -> list[T]:
    """What is offered, and what a saved configuration chose beyond it: a widget can only hold what it offers."""
    chosen = st.session_state.get(key)
    return list(dict.fromkeys((*offered, *(chosen if isinstance(chosen, list) else [chosen] if chosen else []))))


def follow_preset(profile: Profile, most_windows: int) -> None:
    """Set models and windows to what the chosen preset stands for.

    Args:
        profile: of the dataset.
        most_windows: that most series are long enough for.
    """
    state = st.session_state
    state["models"] = _models_of_preset(Frequency.parse(state["frequency"]), profile)
    state["n_windows"] = max(1, min(PRESETS[state["preset"]].n_windows, most_windows))


def _models_of_preset(frequency: Frequency, profile: Profile) -> list[str]:
    preset = Preset(st.session_state["preset"])
    return list(preset_models(preset, frequency.season_length, intermittent=profile.is_intermittent))


def follow_frequency(before: Frequency, roles: ColumnRoles, profile: Profile) -> None:
    """Set what counts periods, or depends on the season, to what suits the chosen frequency.

    28 days ahead are not 28 months. Models are left alone where somebody chose others than the preset's.

    Args:
        before: what was chosen until now.
        roles: of the dataset's columns.
        profile: of the dataset.
    """
    state = st.session_state
    if set(state["models"]) == set(_models_of_preset(before, profile)):
        state["models"] = _models_of_preset(Frequency.parse(state["frequency"]), profile)
    future = [c.name for i, c in enumerate(roles.covariates) if state.get(covariate_key(i)) == CovariateKind.FUTURE]
    state["horizon"], state["n_windows"] = suggest(profile, Frequency.parse(state["frequency"]), future)
    state["step_size"] = None


def basics(frequency: Frequency, roles: ColumnRoles, profile: Profile, *, most_windows: int) -> None:
    """What everybody decides: how far, by which models, with what else known."""
    left, right = st.columns(2)
    with left:
        st.number_input(
            f"Horizon ({frequency.noun}s ahead)", step=1, key="horizon",
            help=f"How many periods after the last observation to forecast, up to {MAX_HORIZON:,}.",
        )  # fmt: skip
    with right:
        aliases = list(dict.fromkeys((frequency.alias, *OFFERED)))
        st.selectbox(
            "Frequency", aliases, key="frequency", format_func=lambda alias: Frequency.parse(alias).label,
            on_change=follow_frequency, args=(frequency, roles, profile),
            help="The calendar of the forecast. A coarser one than the data's adds the data up first; horizon, "
            "windows and the preset's models follow.",
        )  # fmt: skip
    st.segmented_control(
        "Preset", list(Preset), key="preset", format_func=PRESET_TEXTS.__getitem__, required=True,
        on_change=follow_preset, args=(profile, most_windows),
        help="How much computing to spend on accuracy. Sets the models, by what suits the data, and the backtest "
        "windows; you can change both after. "
        + " ".join(f"{PRESET_TEXTS[preset]}: {plan.words}." for preset, plan in PRESETS.items()),
    )  # fmt: skip
    st.multiselect(
        "Models", model_help.ORDER, key="models", wrap=True,
        help="Each is backtested, and the Ensemble combines them. “About the models” says what each does and costs.",
    )  # fmt: skip
    with st.expander("About the models", key="configure_about", icon=":material/menu_book:"):
        st.caption("In brackets what each costs beside the others.")
        st.markdown(model_help.help_text())
    _covariates(roles)
    st.selectbox(
        "Public holidays", _and_chosen(_COUNTRY_CODES, "holidays_country"), index=None, key="holidays_country",
        placeholder="None", format_func=lambda code: f"{_COUNTRIES[code]} ({code})" if code in _COUNTRIES else code,
        help="Public holidays of a country become something the models can learn from. For daily or hourly data.",
    )  # fmt: skip


def _covariates(roles: ColumnRoles) -> None:
    if not roles.covariates:
        return
    st.markdown("**Known in future?**", help=(
        "**Known in future**: its values are in the data for the whole horizon, such as a calendar, prices or a plan. "
        "**Past only**: known up to the last observation. **Fixed per series**: one value per series, such as a region."
    ))  # fmt: skip
    with st.grid("auto", min_column_width=220):
        for position, covariate in enumerate(roles.covariates):
            st.selectbox(
                escape(covariate.name), [*CovariateKind, LEFT_OUT], key=covariate_key(position),
                format_func=lambda kind: COVARIATE_TEXTS.get(kind, "Leave out"),
                help="When its values are known.",
            )  # fmt: skip


def advanced(frequency: Frequency) -> None:
    """The rest, with defaults that are right for most data."""
    noun = frequency.noun
    st.markdown("**Backtest**")
    with st.grid(2):
        st.number_input(
            "Windows", step=1, key="n_windows",
            help="How many times the past is forecast as if it were the future. More is surer and slower; "
            f"{MAX_WINDOWS} at most.",
        )  # fmt: skip
        st.number_input(
            f"Step between windows ({noun}s)", step=1, value=None, key="step_size",
            placeholder="the horizon", help="Distance between two cutoffs. Empty: the horizon, so none overlap.",
        )  # fmt: skip
        st.selectbox(
            "Rank models by", list(Metric), key="metric", format_func=metric_text,
            help="WAPE: total error as a share of the total. MASE: error in units of the naive error. "
            "RMSE punishes large misses. MAE: average miss. sMAPE: relative to actual and forecast.",
        )  # fmt: skip
        st.selectbox(
            "Choose", list(Selection), key="selection", format_func=SELECTION_TEXTS.__getitem__,
            help=_CHOOSE_HELP,
        )  # fmt: skip
    st.pills(
        "Interval levels (%)", sorted(_and_chosen(_LEVELS, "levels")), selection_mode="multi", key="levels",
        help="An 80 % interval is meant to hold the outcome four times out of five. Coverage is measured and shown.",
    )  # fmt: skip
    st.markdown("**Data**")
    with st.grid(2):
        st.selectbox(
            "Missing timestamps", list(GapPolicy), key="gaps", format_func=GAP_TEXTS.__getitem__,
            help="What stands in where a period is missing inside a series. Zero suits sales that did not happen.",
        )  # fmt: skip
        st.selectbox(
            "Duplicates", list(DuplicatePolicy), key="duplicates", format_func=DUPLICATE_TEXTS.__getitem__,
            help="What to do with several rows of one series and timestamp.",
        )  # fmt: skip
        st.selectbox(
            "Incomplete last period", list(IncompletePolicy), key="incomplete_last",
            format_func=INCOMPLETE_TEXTS.__getitem__,
            help=f"A {noun} that is not over yet looks like a drop. Leave it out unless you know it is complete.",
        )  # fmt: skip
        st.selectbox(
            "Finer data", list(Aggregation), key="aggregation", format_func=AGGREGATION_TEXTS.__getitem__,
            help="How observations become one when the data is finer than the forecast's frequency.",
        )  # fmt: skip
    st.toggle(
        "Forecasts can't be negative", key="non_negative",
        help="Cuts forecasts and intervals at zero. Leave it off for results, margins, balances and changes.",
    )  # fmt: skip
    st.markdown("**Run**")
    with st.grid(2):
        st.number_input("Seed", step=1, key="seed", help="The same seed gives the same numbers again.")
        st.number_input(
            "Time limit (seconds)", step=60, value=None, key="time_limit_s", placeholder="none",
            help="The run stops there and says so; 3600 is an hour. Empty: only the installation's own limit holds.",
        )  # fmt: skip
