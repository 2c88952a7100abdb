"""What the documents promise is what the code has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from services.settings import Settings
from tools.bundle.tree import read

ROOT = Path(__file__).resolve().parents[2]


def test_every_setting_is_documented_and_every_documented_one_exists() -> None:
    text = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    known = {name.upper() for name in Settings.model_fields}
    named = set(re.findall(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]+)`", text))
    assert known - named == set()
    assert named - known == set()


@pytest.mark.parametrize("page", ["README.md", "docs/deploy.md", "docs/operations.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    paths = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert [path for path in paths if not ((ROOT / page).parent / path).exists()] == []


@pytest.mark.parametrize("page", ["docs/deploy.md", "docs/operations.md"])
def test_variables_of_the_bundle_that_are_named_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    variables = dict(read(ROOT / "databricks.yml", ROOT).items("variables"))
    named = set(re.findall(r'--var="(\w+)=', text)) | set(re.findall(r"BUNDLE_VAR_(\w+)", text))
    named |= set(re.findall(r"`((?:max|use|warehouse|node|keep|admin|users)_\w+)[`:]", text))
    assert named - variables.keys() == set()


def test_changes_of_state_reach_the_log_and_chatter_of_libraries_does_not() -> None:
    say = "import app, logging; [logging.getLogger(n).info('from %s', n) for n in ('services.jobs', 'urllib3')]"
    environ = {**os.environ, "DATABRICKS_APP_NAME": "", "ENABLE_CLUSTER_DELEGATION": ""}
    said = subprocess.run(
        [sys.executable, "-c", say], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    assert re.search(r"^\d{4}-\d\d-\d\d .* INFO services\.jobs: from services\.jobs$", said.stderr, re.MULTILINE)
    assert "urllib3" not in said.stderr


def test_ci_runs_exactly_the_readmes_test_command() -> None:
    ci = (ROOT / ".ci/run").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(r"^make test\b", readme, re.MULTILINE)
    assert re.search(r"^make test$", ci, re.MULTILINE)
