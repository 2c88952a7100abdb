"""What the self-check found, for admins: what works, what is missing, and what mends it."""

from __future__ import annotations

import streamlit as st

from pages.ui.errors import error_boundary
from pages.ui.format import ago, escape
from pages.ui.refresh import fragment
from pages.ui.session import runtime
from services.domain.access import User
from services.self_check import Finding, Report


@fragment
def installation(user: User) -> None:
    """The newest report, problems first, and a way to ask again."""
    with error_boundary("the installation"):
        user.require_admin("see what the installation lacks")
        check = runtime().self_check
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader("Installation", width="content")
            if st.button("Check again", key="check_again", icon=":material/refresh:", type="tertiary"):
                with st.spinner("Trying everything the app depends on…"):
                    check.run(user)
        if check.last is None:
            st.caption("The first check is still running.")
            return
        _summary(check.last)
        for problem in check.last.problems:
            st.error(_sentence(problem), icon=":material/build:")
        with st.expander("Everything that was tried", key="installation_all", icon=":material/checklist:"):
            st.table([_row(finding) for finding in check.last.findings], border="horizontal", hide_index=True)


def _row(finding: Finding) -> dict[str, str]:
    mark = ":green[:material/check_circle:]" if finding.is_well else ":red[:material/error:]"
    return {"Tried": f"{mark} {finding.subject}", "Found": escape(finding.text)}


def _summary(report: Report) -> None:
    when = ago(report.at, runtime().clock.now())
    n_well = len(report.findings) - len(report.problems)
    st.caption(f"{n_well} of {len(report.findings)} things the app depends on work; tried {when}.")


def _sentence(problem: Finding) -> str:
    return f"**{problem.subject}.** {escape(problem.text)} {escape(problem.remedy)}".strip()
