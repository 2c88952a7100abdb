"""The script Streamlit runs for every session: identity, navigation, and the page inside an error boundary."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from pages.ui import links
from pages.ui.errors import error_boundary, show_notices
from pages.ui.format import escape, moment
from pages.ui.session import current_user, runtime, timezone
from services.bootstrap import Runtime
from services.domain.access import User

# One image for both appearances: its colour has contrast enough on either.
LOGO = Path(__file__).with_name("logo.svg")


def pages_for(user: User) -> list[st.Page]:
    """The pages this user can go to. A file's stem is its URL; Home, the default, answers at ``/`` only."""
    pages = [
        st.Page(links.HOME, title="Home", icon=":material/home:", default=True, help="What to do next, and your jobs."),
        st.Page(links.UPLOAD, title="Upload", icon=":material/upload_file:", help="Bring in a table of history."),
        st.Page(links.CONFIGURE, title="Configure", icon=":material/tune:", help="Decide what to forecast, and how."),
        st.Page(links.JOBS, title="Jobs", icon=":material/list_alt:", help="Start forecasts and watch them run."),
        st.Page(links.RESULTS, title="Results", icon=":material/monitoring:", help="Charts, scores and downloads."),
    ]
    if user.is_admin:
        page = st.Page(
            links.ADMIN, title="Admin", icon=":material/admin_panel_settings:", help="Everybody's jobs, and health."
        )
        pages.append(page)
    return pages


def show_health(app: Runtime, user: User) -> None:
    """Say so, and since when, while the states on screen are not being kept up to date.

    Why is for admins: the reason may name somebody's run.
    """
    health = app.reconciler.health
    if health.failing_since is None:
        return
    since = moment(health.failing_since, timezone(), now=app.clock.now())
    st.warning(
        f"Job states could not be refreshed since {since}; what you see may be older than it looks. "
        f"Running jobs go on. {escape(health.last_error) if user.is_admin else ''}",
        icon=":material/sync_problem:",
    )


st.set_page_config(page_title="Finance Forecast", page_icon=":material/show_chart:", layout="wide")
st.logo(LOGO, size="large", icon_image=":material/show_chart:")
with error_boundary("shell"):
    user = current_user()
    page = st.navigation(pages_for(user))
    links.follow()
    with st.sidebar:
        st.caption(f":material/person: {escape(user.name)}")
        if user.doubt:
            st.caption(f":orange[:material/gpp_maybe: {escape(user.doubt)}]")
    show_health(runtime(), user)
    show_notices()
    with error_boundary(page.title):
        page.run()
