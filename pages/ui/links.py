"""Where each page is, as ``st.page_link`` and ``st.switch_page`` want it: relative to the shell script."""

from __future__ import annotations

from typing import Final

HOME: Final = "../home.py"
UPLOAD: Final = "../upload.py"
CONFIGURE: Final = "../configure.py"
JOBS: Final = "../jobs.py"
RESULTS: Final = "../results.py"
ADMIN: Final = "../admin.py"
