"""What all charts share: colours of both appearances, layout, and values as Plotly takes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from training.spec import ModelName

PLOT: Final[dict[str, object]] = {"displaylogo": False, "modeBarButtonsToRemove": ["lasso2d", "select2d"]}
"""How charts behave in the browser."""

NAME_LENGTH: Final = 28
_DASHES: Final = ("solid", "dash", "dot")


@dataclass(frozen=True, slots=True)
class Line:
    """How a model is drawn, the same on every chart of a job."""

    colour: str
    dash: str = "solid"


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of one appearance. ``series`` are given to models in order; the yardstick stays grey.

    Attributes:
        on_bar: of text on one of ``series``.
    """

    actual: str
    muted: str
    grid: str
    on_bar: str
    series: tuple[str, ...]

    def lines(self, models: Iterable[str]) -> dict[str, Line]:
        """One line per model, the first ones solid; past the last colour they come again, dashed."""
        others = [model for model in models if model != ModelName.SEASONAL_NAIVE]
        n = len(self.series)
        lines = {model: Line(self.series[i % n], _DASHES[i // n % len(_DASHES)]) for i, model in enumerate(others)}
        return {**lines, ModelName.SEASONAL_NAIVE: Line(self.muted)}


# The categorical colours of .streamlit/config.toml. The lines also stay readable on the other background, since a
# browser's appearance is not known on the very first run.
LIGHT: Final = Palette(
    actual="#3d4955", muted="#7d8894", grid="rgba(93,103,113,0.18)", on_bar="#ffffff",
    series=("#0072b2", "#c65102", "#00815f", "#b0588f", "#8a6d00", "#5b4fa8", "#2f8fc4"),
)  # fmt: skip
DARK: Final = Palette(
    actual="#c3ccd4", muted="#8d99a5", grid="rgba(154,167,179,0.2)", on_bar="#10161c",
    series=("#56b4e9", "#e69f00", "#2fc198", "#dd8fbf", "#f0e442", "#a99bf0", "#4f8fe0"),
)  # fmt: skip


def palette(appearance: str | None) -> Palette:
    """The palette of an appearance, ``light`` or ``dark``."""
    return DARK if appearance == "dark" else LIGHT


def figure_of(theme: Palette, *, height: int = 420) -> go.Figure:
    """An empty figure in the look of the page."""
    return styled(go.Figure(), theme, height=height)


def styled(figure: go.Figure, theme: Palette, *, height: int) -> go.Figure:
    """The figure in the look of the page: transparent, legend below, one hover for all lines."""
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 28, "b": 76},
        hovermode="x unified",
        legend={"orientation": "h", "yref": "container", "yanchor": "bottom", "y": 0, "x": 0, "traceorder": "normal"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        separators=".,",
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": theme.muted, "activecolor": theme.actual},
    )
    figure.update_xaxes(showgrid=False, automargin=True)
    return figure.update_yaxes(gridcolor=theme.grid, zeroline=False, automargin=True)


def x_of(ds: pd.Series) -> dict[str, object]:
    """Timestamps as start and step where they are evenly spaced (a sixth of the bytes), else one by one."""
    if len(ds) > 2:
        steps = np.diff(ds.to_numpy().astype("datetime64[ms]").astype("int64"))
        if steps[0] > 0 and (steps == steps[0]).all():
            return {"x0": ds.iloc[0], "dx": int(steps[0]), "xperiod": 0}
    return {"x": ds}


def y_of(values: pd.Series) -> np.ndarray:
    """Values in single precision where seven digits are enough to draw and to read them."""
    array = values.to_numpy(dtype="float64")
    finite = np.abs(array[np.isfinite(array)])
    return array.astype("float32") if finite.size and finite.max() < 1e6 else array


def number_format(values: pd.Series) -> str:
    """A d3 format with digits that suit the size of the values."""
    largest = float(np.nanmax(np.abs(values.to_numpy(dtype="float64")), initial=0.0))
    if largest >= 1000:
        return ",.0f"
    return ",.2f" if largest >= 10 else ".4~g"
