"""A stage per test; the pages' caches are emptied, since runs of different tests share their ids."""

from __future__ import annotations

from pathlib import Path

import pytest
import streamlit as st

from tests.support.screens import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    st.cache_data.clear()
    return Stage(tmp_path)
