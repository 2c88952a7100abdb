"""The Upload page: from a file to a kept dataset, and what goes wrong on the way."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from services.domain.access import LOCAL_USER
from services.domain.dataset import Dataset, DatasetStatus
from services.domain.job import DatasetId
from tests.support.screens import Stage, texts
from training.quality import Profile

MONTHS = pd.date_range("2021-01-01", periods=36, freq="MS")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    st.cache_data.clear()  # ids repeat from test to test, as they never do in an app
    yield Stage(tmp_path)
    st.cache_data.clear()


def sales(**more: object) -> bytes:
    """A file of two shops, 36 months each."""
    frame = pd.concat(pd.DataFrame({"month": MONTHS, "shop": shop, "sales": range(36), **more}) for shop in "AB")
    return frame.to_csv(index=False).encode()


def upload(stage: Stage, content: bytes, name: str = "sales.csv") -> AppTest:
    app = stage.open("upload")
    app.file_uploader(key="upload_file").upload(name, content, "text/csv")
    return app.run()


def only(stage: Stage) -> Dataset:
    (dataset,) = stage.datasets.list(LOCAL_USER.name)
    return dataset


def press(app: AppTest, key: str) -> AppTest:
    return app.button(key=key).click().run()


def test_a_file_becomes_a_draft_whose_id_is_in_the_address(stage: Stage) -> None:
    app = upload(stage, sales())
    assert not app.exception
    assert app.query_params["dataset"] == only(stage).dataset_id
    assert "sales\\.csv" in texts(app)


def test_the_uploader_takes_any_file_and_says_what_can_be_read(stage: Stage) -> None:
    app = stage.open("upload")
    assert not list(app.file_uploader(key="upload_file").proto.type), "the browser's own refusal gives no reason"
    limit = stage.runtime.settings.max_upload_mb
    assert f"CSV, Parquet or Excel (.xlsx), up to {limit:,} MB" in texts(app)
    assert "shown in red is larger" in texts(app)


def test_roles_are_suggested_and_the_report_says_what_was_found(stage: Stage) -> None:
    app = upload(stage, sales())
    assert app.selectbox(key="time_col").value == "month"
    assert app.selectbox(key="target_col").value == "sales"
    assert app.multiselect(key="series_cols").value == ["shop"]
    assert "Monthly, month start" in texts(app)
    assert [metric.value for metric in app.metric] == ["2", "72", "36"]
    assert not app.button(key="upload_continue").disabled


def test_continuing_keeps_the_panel_and_opens_configure(stage: Stage) -> None:
    app = press(upload(stage, sales()), "upload_continue")
    assert not app.exception
    dataset = only(stage)
    assert dataset.status is DatasetStatus.READY
    assert Profile.model_validate_json(dataset.profile_json).n_series == 2
    assert app.title[0].value == "Configure"
    assert app.query_params["dataset"] == dataset.dataset_id


def test_changed_roles_survive_a_refresh(stage: Stage) -> None:
    app = upload(stage, sales(price=1.5))
    app.multiselect(key="past_covariates").set_value(["price"]).run()
    again = stage.open("upload", dataset=only(stage).dataset_id)
    assert again.multiselect(key="past_covariates").value == ["price"]
    assert again.selectbox(key="time_col").value == "month"


def test_a_column_has_one_role_the_newest(stage: Stage) -> None:
    app = upload(stage, sales(price=1.5))
    app.selectbox(key="target_col").set_value("price").run()
    assert "sales" in app.multiselect(key="future_covariates").options
    app.selectbox(key="time_col").set_value("price").run()
    assert app.selectbox(key="target_col").value is None
    assert "Choose the time and the target column" in texts(app)


def test_a_wrong_separator_is_said_and_mended_without_loss(stage: Stage) -> None:
    app = upload(stage, sales())
    app.selectbox(key="read_separator").set_value("|").run()
    assert "only one column" in texts(app)
    assert app.button(key="upload_other")
    app.selectbox(key="read_separator").set_value(",").run()
    assert app.selectbox(key="time_col").value == "month"
    assert not app.button(key="upload_continue").disabled


def test_another_time_column_is_read_in_its_own_date_format(stage: Stage) -> None:
    frame = pd.DataFrame({"month": MONTHS, "booked": MONTHS.strftime("%d.%m.%Y"), "sales": range(36)})
    app = upload(stage, frame.to_csv(index=False).encode())
    app.selectbox(key="time_col").set_value("booked").run()
    assert app.selectbox(key="read_date_format").value == "%d.%m.%Y"
    assert "Monthly, month start" in texts(app)


def test_text_in_the_target_blocks_with_row_and_value(stage: Stage) -> None:
    app = upload(stage, sales().replace(b"A,5\n", b"A,n/k\n"))
    assert app.selectbox(key="target_col").value == "sales"
    assert any("row 6 'n/k'" in error.value.replace("\\", "") for error in app.error)
    assert app.button(key="upload_continue").disabled
    assert only(stage).status is DatasetStatus.DRAFT


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"", "sales.csv", "is empty"),
        (bytes(range(256)) * 50, "sales.csv", "binary data"),
        (b"\x89PNG\r\n" + bytes(100), "sales.csv", "a picture"),
        (b"%PDF-1.7\n" + bytes(100), "report.pdf", "PDF"),
        (b"PAR1 cut short", "sales.parquet", "damaged"),
        (b"a,b\n" + b"1,2\n" * 3_000_000, "sales.csv", "larger than 10 MB"),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_a_reason(stage: Stage, content: bytes, name: str, said: str) -> None:
    app = upload(stage, content, name)
    assert not app.exception
    assert any(said in error.value for error in app.error)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"month,sales\n", "no rows"),
        (b"month,sales\n2021-01-01,5\n", "at least 3"),
        (b"name,sales\nx,5\ny,6\n", "Choose the time"),
        (b"month,sales\nJan'24,5\nFeb'24,6\n", "The nearest to it is ‘month’, with values such as ‘Jan'24’"),
        (b"month,sales\n2021-01-01,5\n2021-02-01,6,7\n", "Data row 2 has 3 cells"),
    ],
)
def test_a_table_that_cannot_be_forecast_stays_a_draft_with_a_reason(stage: Stage, content: bytes, said: str) -> None:
    app = upload(stage, content)
    assert not app.exception
    assert said in texts(app).replace("\\", "")
    assert only(stage).status is DatasetStatus.DRAFT


def test_column_names_are_never_markup(stage: Stage) -> None:
    name = "<img src=x onerror=alert(1)> **b** :red[x] $y$ 😀"
    frame = pd.DataFrame({"month": MONTHS, "'; DROP TABLE jobs;--": "k", name: ["1"] * 35 + ["oops"]})
    app = upload(stage, frame.to_csv(index=False).encode())
    app.selectbox(key="target_col").set_value(name).run()
    assert not app.exception
    assert "\\<img" in texts(app)
    assert "<img src" not in texts(app).replace("\\<", "")
    assert not any(element.allow_html for element in app.markdown)


def test_a_thousand_columns_can_be_used(stage: Stage) -> None:
    frame = pd.DataFrame({"month": MONTHS, "sales": range(36)} | {f"c{i}": range(36) for i in range(998)})
    app = upload(stage, frame.to_csv(index=False).encode())
    assert not app.exception
    assert app.selectbox(key="time_col").value == "month"
    assert not press(app, "upload_continue").exception
    assert only(stage).status is DatasetStatus.READY


def test_excel_is_read_from_the_chosen_worksheet(stage: Stage) -> None:
    book = io.BytesIO()
    with pd.ExcelWriter(book) as writer:
        pd.DataFrame({"month": MONTHS, "sales": range(36)}).to_excel(writer, sheet_name="Sales", index=False)
        pd.DataFrame({"day": MONTHS, "visits": range(36)}).to_excel(writer, sheet_name="Visits", index=False)
    app = upload(stage, book.getvalue(), "book.xlsx")
    app.selectbox(key="read_sheet").set_value("Visits").run()
    assert app.selectbox(key="target_col").value == "visits"
    assert not app.button(key="upload_continue").disabled


@pytest.mark.parametrize("key", ["australian_retail", "bike_sharing"])
def test_a_sample_is_ready_to_configure_and_states_its_licence(stage: Stage, key: str) -> None:
    app = stage.open("upload")
    app.radio(key="sample_dataset").set_value(key).run()
    assert "CC BY 4.0" in texts(app)
    app = press(app, "use_sample")
    assert not app.error
    assert press(app, "upload_continue").title[0].value == "Configure"


def test_a_kept_dataset_opens_again_and_changes_as_a_copy(stage: Stage) -> None:
    press(upload(stage, sales()), "upload_continue")
    kept = only(stage)
    app = stage.open("upload", dataset=kept.dataset_id)
    assert "Monthly, month start" in texts(app)
    app = press(app, "upload_revise")
    copy = stage.datasets.get(DatasetId(app.query_params["dataset"]))
    assert copy is not None
    assert copy.dataset_id != kept.dataset_id
    assert copy.status is DatasetStatus.DRAFT
    assert stage.datasets.get(kept.dataset_id) == kept


def test_a_dataset_is_deleted_after_a_second_click(stage: Stage) -> None:
    dataset = stage.dataset()
    app = stage.open("upload")
    assert "sales\\.csv" in texts(app)
    app = press(app, f"delete_now_{dataset.dataset_id}")
    assert stage.datasets.list(LOCAL_USER.name) == ()
    assert not app.exception


def test_an_unknown_dataset_is_said_to_be_unknown(stage: Stage) -> None:
    app = stage.open("upload", dataset="nope")
    assert not app.exception
    assert "no dataset" in app.error[0].value
