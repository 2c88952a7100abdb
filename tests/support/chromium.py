"""Chromium for the browser tests: found, or installed, or its absence said in one line.

``python -m tests.support.chromium`` is run by ``make test``. Flags keep a headless browser from
calling out at start, which a closed network answers with seconds of retries.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
INSTALL_TIMEOUT_S = 600


def find() -> Path | None:
    """The browser to use: ``$CHROMIUM``, one on the PATH, or the one Playwright installed."""
    named = os.environ.get("CHROMIUM")
    candidates = [Path(named)] if named else [Path(path) for name in NAMES if (path := shutil.which(name))]
    return next((path for path in [*candidates, *_playwrights_own()] if path.exists()), None)


def _playwrights_own() -> list[Path]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return [Path(playwright.chromium.executable_path)]


def install() -> None:
    """Try Playwright's own download, then the system's packages."""
    commands = [[sys.executable, "-m", "playwright", "install", "chromium"]]
    if shutil.which("apt-get"):
        root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        commands += [[*root, "apt-get", "update", "-qq"], [*root, "apt-get", "install", "-y", "-qq", "chromium"]]
    for command in commands:
        try:
            subprocess.run(command, check=False, capture_output=True, timeout=INSTALL_TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired) as exc:
            print(f"Could not run {command[0]}: {exc}", file=sys.stderr)
        if find():
            return


def main() -> None:
    """Make sure there is a browser, or say in one line that there is none."""
    if find() is None:
        print("Installing Chromium for the browser tests …")
        install()
    path = find()
    absent = "No Chromium here and none can be installed: browser tests are skipped."
    print(f"Browser tests use {path}." if path else absent)


if __name__ == "__main__":
    main()
