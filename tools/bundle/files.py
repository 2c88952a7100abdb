"""Rules about files: what is copied to the workspace is small, whole, and nobody's secret."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pathspec

from tools.bundle.model import APP_FILE, BUNDLE_FILE, Bundle, Deployment, Problem

_MAX_BYTES: Final = 10 * 1024 * 1024
_ALWAYS: Final = [".databricks/", ".git/"]  # left out by the CLI itself
_PRIVATE: Final = (
    # Whether or not they are here today.
    ".env", ".env.local", ".databrickscfg", ".streamlit/secrets.toml", "key.pem", "server.key", "app.log",
    ".finance_forecast/state.db", ".finance_forecast/files/upload.parquet", "mlruns/0/meta.yaml",
    "mlartifacts/0/a.parquet", "tests/conftest.py", "benchmarks/results/a.json", "docs/deploy.md", ".venv/bin/python",
    "test-results/a.png",
)  # fmt: skip
_NEEDED: Final = (
    "app.py", APP_FILE, "requirements.txt", "requirements/training.txt", "training/main.py", "services/bootstrap.py",
    "pages/home.py", "services/samples/bike_sharing.csv", ".streamlit/config.toml",
)  # fmt: skip
_PIN: Final = re.compile(r"([A-Za-z0-9_.-]+)==(\S+)")
_OF_TRAINING: Final = {"prophet", "xgboost", "xgboost-cpu", "statsforecast", "mlforecast", "mlflow", "pyspark"}


def file_size(deployment: Deployment) -> Iterator[Problem]:
    """A file that Databricks Apps refuses."""
    for path in synced(deployment.bundle):
        size = (deployment.bundle.root / path).stat().st_size
        if size > _MAX_BYTES:
            what = f"{size / 1024**2:.1f} MB; an app takes files of up to {_MAX_BYTES // 1024**2} MB."
            yield Problem(
                place=path, what=what, remedy=f"Add it to sync.exclude in {BUNDLE_FILE}, or keep it in the volume."
            )


def private_files(deployment: Deployment) -> Iterator[Problem]:
    """Data, credentials or tests that a deploy would copy, judged by sync.exclude: a copy may have no .gitignore."""
    excluded = _spec([str(node.value) for node in deployment.config.elements("sync", "exclude")])
    for path in _PRIVATE:
        if not excluded.match_file(path):
            what = f"sync.exclude does not cover {path}."
            yield Problem(place=BUNDLE_FILE, what=what, remedy="Add it: it would be copied to the workspace.")


def needed_files(deployment: Deployment) -> Iterator[Problem]:
    """A file without which the app can't start or train, and which is missing or left out."""
    there = set(synced(deployment.bundle))
    for path in _NEEDED:
        if path not in there:
            what = f"{path} would not be copied to the workspace."
            yield Problem(place=BUNDLE_FILE, what=what, remedy="Take it out of sync.exclude and .gitignore.")


def requirements(deployment: Deployment) -> Iterator[Problem]:
    """Libraries of the app that are not pinned, that only training needs, or of another version than training's."""
    app = _pins(deployment.bundle.root / "requirements.txt")
    training = _pins(deployment.bundle.root / "requirements/training.txt")
    place = "requirements.txt"
    for name, version in app.items():
        if not version:
            yield Problem(place=place, what=f"{name} is not pinned.", remedy="Run make lock.")
        elif name in _OF_TRAINING:
            what = f"{name} is a library of training, for which an app has no room."
            yield Problem(place=place, what=what, remedy="Keep it in requirements/training.in.")
        elif version != training.get(name, version):
            what = f"{name} is {version} in the app and {training[name]} in runs."
            yield Problem(place=place, what=what, remedy="Run make lock.")
    if "streamlit" not in app:
        what = "streamlit is missing, so the platform's own old one would be used."
        yield Problem(place=place, what=what, remedy="Run make lock.")


def _pins(file: Path) -> dict[str, str]:
    """Versions by name; an empty one for what is not pinned."""
    lines = [line.partition("#")[0].partition(";")[0].strip() for line in file.read_text(encoding="utf-8").splitlines()]
    found = [(line, _PIN.fullmatch(line)) for line in lines if line]
    return {match[1].lower() if match else line: match[2] if match else "" for line, match in found}


def synced(bundle: Bundle) -> list[str]:
    """Every file that a deploy copies."""
    exclude = [str(node.value) for node in bundle.raw.elements("sync", "exclude")]
    ignored = bundle.root / ".gitignore"
    spec = _spec([*_ALWAYS, *(ignored.read_text(encoding="utf-8").splitlines() if ignored.exists() else ()), *exclude])
    found = []
    for folder, folders, files in os.walk(bundle.root):
        here = Path(folder).relative_to(bundle.root)
        folders[:] = sorted(name for name in folders if not spec.match_file(f"{(here / name).as_posix()}/"))
        found += [path for name in sorted(files) if not spec.match_file(path := (here / name).as_posix())]
    return found


def _spec(patterns: list[str]) -> pathspec.GitIgnoreSpec:
    return pathspec.GitIgnoreSpec.from_lines(patterns)
