"""What is known of a dataset: its size and shape, what is wrong with it, and a look at it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pandas as pd
import streamlit as st

from pages.ui.chart_style import palette
from pages.ui.format import count, escape, period, shorten
from pages.ui.session import runtime
from pages.ui.upload_chart import series_figure
from services.dataset_check import Checked, TablePreview
from services.domain.access import User
from services.domain.dataset import Dataset
from services.domain.job import DatasetId
from training.artifacts import ID
from training.quality import Finding, Profile, Severity
from training.spec import ColumnRoles
from training.tables import ReadOptions

_SHOWN_WARNINGS: Final = 5
_TTL_S: Final = 3600
_HASHES: Final = {
    User: lambda user: user.name,
    ReadOptions: lambda options: options.model_dump_json(),
    ColumnRoles: lambda roles: roles.model_dump_json(),
}


@st.cache_data(ttl=_TTL_S, max_entries=50, show_spinner=False, hash_funcs=_HASHES)
def preview_of(user: User, dataset_id: DatasetId, options: ReadOptions, keys: tuple[str, ...]) -> TablePreview:
    """The head of the file, cached for this user, dataset and options, and the draft's series columns (``keys``)."""
    del keys  # the service knows them; here they tell one cached answer from another
    return runtime().datasets.preview(user, dataset_id, options)


@st.cache_data(ttl=_TTL_S, max_entries=50, show_spinner="Checking the data…", hash_funcs=_HASHES)
def checked(user: User, dataset_id: DatasetId, options: ReadOptions, roles: ColumnRoles) -> Checked:
    """The check of a draft, cached for this user, dataset, options and roles."""
    return runtime().datasets.check(user, dataset_id, options, roles)


def report(result: Checked, roles: ColumnRoles) -> None:
    """The quality report of a draft."""
    st.subheader("Data quality")
    if result.profile is not None:
        _shape(result.profile)
    _findings(result.findings)
    if result.profile is not None:
        _chart(result.sample, roles, result.profile.n_series)


def kept_report(user: User, dataset: Dataset) -> None:
    """The quality report of a kept dataset, from its record and its panel."""
    profile = Profile.model_validate_json(dataset.profile_json)
    roles = ColumnRoles.model_validate_json(dataset.roles_json)
    with st.container(gap="small"):
        _shape(profile)
        st.caption(_columns_in_words(roles))
        _findings(profile.findings)
        _chart(runtime().datasets.sample(user, dataset.dataset_id), roles, profile.n_series)


def _shape(profile: Profile) -> None:
    lengths = f"{profile.length_min:,}"
    if profile.length_max != profile.length_min:
        lengths = f"{profile.length_min:,}–{profile.length_max:,}"
    with st.container(horizontal=True, gap="small"):
        for label, value, text in (
            ("Series", f"{profile.n_series:,}", "Each gets its own forecast."),
            ("Rows", f"{profile.n_rows:,}", f"{profile.n_observations:,} of them with a target value."),
            ("Length", lengths, f"Observations in a series; half of the series have up to {profile.length_median:,}."),
        ):
            st.metric(label, value, help=text, border=True)
    if profile.first_ds is not None and profile.last_ds is not None:
        freq = profile.freq or "D"
        span = f"{period(pd.Timestamp(profile.first_ds), freq)} to {period(pd.Timestamp(profile.last_ds), freq)}"
        st.caption(f":material/calendar_month: {profile.freq_label or 'No regular frequency'} · {span}")


def _columns_in_words(roles: ColumnRoles) -> str:
    parts = [f"Time: {roles.time}", f"target: {roles.target}"]
    if roles.series:
        parts.append(f"series: {', '.join(roles.series)}")
    if roles.covariates:
        parts.append(f"covariates: {', '.join(covariate.name for covariate in roles.covariates)}")
    return escape(" · ".join(parts))


def _findings(findings: Sequence[Finding]) -> None:
    """Blocking ones first, then warnings; what is only good to know is folded away."""
    of = {severity: [f for f in findings if f.severity is severity] for severity in Severity}
    for finding in of[Severity.BLOCKING]:
        st.error(_text(finding), icon=":material/block:")
    for finding in of[Severity.WARNING][:_SHOWN_WARNINGS]:
        st.warning(_text(finding), icon=":material/warning:")
    if more := of[Severity.WARNING][_SHOWN_WARNINGS:]:
        with st.expander(count(len(more), "more warning"), key="more_warnings", icon=":material/warning:"):
            for finding in more:
                st.markdown(_text(finding))
    if not of[Severity.BLOCKING] and not of[Severity.WARNING]:
        st.success("No problems found.", icon=":material/check_circle:")
    if notes := of[Severity.INFO]:
        with st.expander(f"Good to know ({len(notes)})", key="good_to_know", icon=":material/info:"):
            for finding in notes:
                st.markdown(_text(finding))


def _text(finding: Finding) -> str:
    text = f"**{escape(finding.message)}** {escape(finding.remedy)}"
    if finding.series and finding.severity is not Severity.BLOCKING and finding.series != ("all",):
        names = ", ".join(escape(shorten(name)) for name in finding.series[:3])
        text += f"  \n:small[Such as {names}.]"
    return text


def _chart(sample: pd.DataFrame, roles: ColumnRoles, n_series: int) -> None:
    shown = sample[ID].nunique()
    if not shown:
        return
    figure = series_figure(sample, target=roles.target, theme=palette(st.context.theme.type))
    st.plotly_chart(figure, key="upload_chart", config={"displayModeBar": False})
    if shown < n_series:
        st.caption(f"The first {shown} of {n_series:,} series.")


def data_preview(preview: TablePreview) -> None:
    """The first rows as they are read."""
    st.subheader("First rows")
    numbered = preview.head.set_axis(range(1, len(preview.head) + 1))  # rows are counted as in messages
    st.dataframe(numbered, key="upload_table", height=280)
    st.caption(f"{count(len(preview.head), 'row')} shown, {count(len(preview.columns), 'column')}.")
