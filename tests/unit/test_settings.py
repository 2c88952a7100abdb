"""Environment variables become settings, or one list of everything that is wrong with them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.settings import ROOT, ComputeMode, Settings, SettingsError, StateStore, read_settings


def problems(**environ: str) -> str:
    with pytest.raises(SettingsError) as refused:
        read_settings(environ)
    return "\n".join(refused.value.problems)


def test_an_empty_environment_is_the_local_default() -> None:
    settings = read_settings({})
    assert settings.state_store_type is StateStore.SQLITE
    assert not settings.enable_cluster_delegation
    assert settings.forecast_home.name == ".finance_forecast"
    assert settings.state_db == settings.forecast_home / "state.db"
    assert settings.max_upload_mb == 200
    assert settings.max_concurrent_runs >= 1
    assert settings.job_poll_interval_seconds == 5
    assert settings.execution_timeout == timedelta(hours=1)
    assert (settings.retry_policy.max_retries, settings.retry_policy.delay) == (3, timedelta(seconds=30))
    assert settings.compute_mode is ComputeMode.JOB_CLUSTER


def test_values_are_parsed() -> None:
    settings = read_settings(
        {
            "FORECAST_HOME": "~/data",
            "SQLITE_PATH": "/var/lib/jobs.db",
            "MAX_UPLOAD_MB": " 50 ",
            "JOB_POLL_INTERVAL_SECONDS": "0.5",
            "ADMIN_USERS": "ann@example.com, bob@example.com,",
            "ENABLE_CLUSTER_DELEGATION": "false",
            "MLFLOW_EXPERIMENT_NAME": "forecasts",
        }
    )
    assert settings.forecast_home == Path.home() / "data"
    assert settings.state_db == Path("/var/lib/jobs.db")
    assert settings.max_upload_mb == 50
    assert settings.job_poll_interval_seconds == 0.5
    assert settings.admin_users == ("ann@example.com", "bob@example.com")
    assert settings.mlflow_experiment_name == "forecasts"


def test_a_relative_home_does_not_depend_on_later_changes_of_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_settings({"FORECAST_HOME": "here"}).runs_dir == tmp_path / "here" / "runs"


def test_an_empty_value_counts_as_not_set() -> None:
    assert read_settings({"SQLITE_PATH": "", "MAX_JOB_RETRIES": "  "}) == read_settings({})


def test_all_problems_are_told_at_once() -> None:
    text = problems(
        MAX_UPLOAD_MB="lots",
        JOB_POLL_INTERVALL_SECONDS="5",
        STATE_STORE_TYPE="postgres",
        MLFLOW_EXPERIMENT_NAME="a",
        MLFLOW_EXPERIMENT_ID="1",
    )
    for words in (
        "MAX_UPLOAD_MB='lots'",
        "did you mean JOB_POLL_INTERVAL_SECONDS",
        "STATE_STORE_TYPE='postgres'",
        "MLFLOW_EXPERIMENT_NAME and MLFLOW_EXPERIMENT_ID",
    ):
        assert words in text
    with pytest.raises(SettingsError, match=r"(?s)can't start.*- MAX_UPLOAD_MB"):
        read_settings({"MAX_UPLOAD_MB": "0"})


@pytest.mark.parametrize("name", ["SQLITE_PATHS", "MAX_JOB_RETRY", "FORECAST_HOM", "ADMIN_USER", "FORECAST_COLOUR"])
def test_a_name_that_looks_like_ours_but_is_not_is_refused(name: str) -> None:
    assert f"{name} is not a setting" in problems(**{name: "1"})


@pytest.mark.parametrize("name", ["PATH", "JOB_NAME", "JOB_ID", "HOME", "MLFLOW_TRACKING_URI", "DATABRICKS_HOST"])
def test_variables_of_other_programs_are_left_alone(name: str) -> None:
    assert read_settings({name: "x"}) == read_settings({})


def test_a_group_of_admins_needs_a_workspace_to_ask() -> None:
    assert "ADMIN_GROUP needs DATABRICKS_HOST" in problems(DATABRICKS_APP_NAME="forecast", ADMIN_GROUP="admins")
    assert read_settings({"ADMIN_GROUP": "admins"}).admin_group == "admins", "of no consequence on one machine"
    assert read_settings({**DELEGATED, "DATABRICKS_APP_NAME": "forecast", "ADMIN_GROUP": "admins"}).admin_group


DELEGATED = {
    "ENABLE_CLUSTER_DELEGATION": "true",
    "FORECAST_VOLUME": "/Volumes/main/forecast/data",
    "DATABRICKS_HOST": "https://x",
}


def test_training_on_databricks_needs_a_volume_and_a_host() -> None:
    text = problems(DATABRICKS_APP_NAME="forecast", MLFLOW_EXPERIMENT_NAME="mine")
    assert "(the default inside Databricks Apps), which needs FORECAST_VOLUME" in text
    assert "needs DATABRICKS_HOST" in text
    assert "/Shared/mine" in text
    assert read_settings(DELEGATED).enable_cluster_delegation


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"FORECAST_VOLUME": "main.forecast.data"}, "write /Volumes/catalog/schema/volume"),
        ({"COMPUTE_MODE": "dedicated"}, "needs DEDICATED_CLUSTER_ID or DEDICATED_CLUSTER_NAME"),
        ({"DEDICATED_CLUSTER_NAME": "x"}, "needs COMPUTE_MODE=dedicated"),
        ({"COMPUTE_MODE": "serverless", "CLUSTER_POLICY_ID": "x"}, "CLUSTER_POLICY_ID needs COMPUTE_MODE=job_cluster"),
        ({"INSTANCE_POOL_ID": "x", "DEFAULT_CLUSTER_NODE_TYPE": "y"}, "a pool has its own node type"),
    ],
)
def test_ways_to_run_that_contradict_each_other_are_refused(environ: dict[str, str], words: str) -> None:
    assert words in problems(**DELEGATED | environ)


def test_settings_of_delegation_are_no_cause_for_a_warning_while_it_is_on(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        read_settings(DELEGATED | {"CLUSTER_POLICY_ID": "abc"})
    assert not caplog.records


def test_inside_databricks_apps_local_training_can_be_asked_for() -> None:
    settings = read_settings({"DATABRICKS_APP_NAME": "forecast", "ENABLE_CLUSTER_DELEGATION": "false"})
    assert settings.is_databricks_app


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"DEDICATED_CLUSTER_ID": "1", "DEDICATED_CLUSTER_NAME": "a"}, "keep one of them"),
        ({"DEFAULT_CLUSTER_MIN_WORKERS": "9", "DEFAULT_CLUSTER_MAX_WORKERS": "2"}, "(9) is above"),
        ({"MAX_ACTIVE_JOBS": "2", "MAX_ACTIVE_JOBS_PER_USER": "3"}, "never be reached"),
        ({"CLUSTER_AUTO_TERMINATE_MINUTES": "30"}, "COMPUTE_MODE=dedicated"),
        ({"STATE_STORE_TYPE": "unity_catalog", "SQLITE_PATH": "a.db"}, "keep one of them"),
        ({"STATE_STORE_TYPE": "unity_catalog", "UC_SCHEMA": "s"}, "needs UC_CATALOG, DATABRICKS_WAREHOUSE_ID too"),
        ({"SQL_CONNECTION_ARGS": "{"}, "SQL_CONNECTION_ARGS='{': Value error, not JSON"),
        ({"SQL_CONNECTION_ARGS": "[1]"}, "valid dictionary"),
    ],
)
def test_contradictions_are_refused(environ: dict[str, str], words: str) -> None:
    assert words in problems(**environ)


def test_a_lower_limit_for_everybody_needs_no_lower_limit_for_each() -> None:
    assert read_settings({"MAX_ACTIVE_JOBS": "2"}).max_active_jobs == 2


def test_settings_that_do_nothing_here_are_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        read_settings({"CLUSTER_POLICY_ID": "abc"})
    assert "CLUSTER_POLICY_ID" in caplog.text


def test_jobs_can_be_kept_in_unity_catalog(caplog: pytest.LogCaptureFixture) -> None:
    place = {"UC_CATALOG": "main", "UC_SCHEMA": "forecast", "DATABRICKS_WAREHOUSE_ID": "abc"}
    with caplog.at_level(logging.WARNING):
        settings = read_settings(
            {"STATE_STORE_TYPE": "unity_catalog", "SQL_CONNECTION_ARGS": '{"_tls_no_verify": true}', **place}
        )
    assert settings.state_store_type is StateStore.UNITY_CATALOG
    assert settings.sql_connection_args == {"_tls_no_verify": True}
    assert caplog.text == ""
    with caplog.at_level(logging.WARNING):
        read_settings(place)
    assert "UC_CATALOG, UC_SCHEMA\n" in caplog.text, "the warehouse reads people's tables all the same"
    with caplog.at_level(logging.WARNING):
        read_settings({"MAX_TABLE_ROWS": "10"})
    assert "Not used without DATABRICKS_WAREHOUSE_ID: MAX_TABLE_ROWS" in caplog.text


def test_tables_are_beside_the_volume_unless_a_place_is_given() -> None:
    volume = {**DELEGATED, "STATE_STORE_TYPE": "unity_catalog", "DATABRICKS_WAREHOUSE_ID": "abc"}
    settings = read_settings(volume)
    assert (settings.uc_catalog, settings.uc_schema) == ("main", "forecast")
    assert read_settings({**volume, "UC_SCHEMA": "jobs"}).uc_schema == "jobs"
    local = {**volume, "ENABLE_CLUSTER_DELEGATION": "false"}
    assert "needs UC_CATALOG, UC_SCHEMA too" in problems(**local), "a volume that is not used says nothing"


@pytest.mark.parametrize(("said", "address"), [({}, "localhost"), ({"STREAMLIT_SERVER_ADDRESS": "0.0.0.0"}, "0.0.0.0")])
def test_a_local_app_is_not_offered_to_the_network_unless_asked(said: dict[str, str], address: str) -> None:
    """Who reaches an app outside Databricks Apps is its admin; inside, the platform sets the variable."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("STREAMLIT_")}
    shown = subprocess.run(
        [sys.executable, "-m", "streamlit", "config", "show"],
        cwd=ROOT, env=environ | said, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f'\naddress = "{address}"' in shown.stdout


@given(st.dictionaries(st.sampled_from([n.upper() for n in Settings.model_fields]), st.text(max_size=12), max_size=6))
def test_whatever_is_set_gives_settings_or_a_list_of_problems(environ: dict[str, str]) -> None:
    with suppress(SettingsError):
        assert isinstance(read_settings(environ), Settings)
