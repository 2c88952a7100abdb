"""The server: Streamlit's pages, the REST routes, and a lifespan that owns the runtime.

Started by ``streamlit run app.py``, here and in Databricks Apps. The shell script does not sit beside
``pages/``, so that a request for ``/admin`` on a fresh server can't run the page without the shell.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import streamlit as st

from services import bootstrap
from services.api.routes import ROUTES
from services.settings import SettingsError, read_settings

# Changes of state are logged as INFO, to where Databricks Apps looks for logs; libraries say warnings only.
logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
for ours in ("services", "pages"):
    logging.getLogger(ours).setLevel(logging.INFO)

try:
    SETTINGS = read_settings(os.environ)
except SettingsError as problems:
    sys.exit(str(problems))  # one readable list, not a traceback


@asynccontextmanager
async def lifespan(_app: st.App) -> AsyncIterator[dict[str, Any]]:
    """Build the runtime before the first session, and stop its reconciler with the server."""
    runtime = bootstrap.install(bootstrap.build_runtime(SETTINGS))
    runtime.start()
    try:
        yield {"runtime": runtime}
    finally:
        runtime.stop()


app = st.App("pages/ui/shell.py", routes=ROUTES, lifespan=lifespan)
