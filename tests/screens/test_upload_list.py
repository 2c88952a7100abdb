"""The list of one's datasets: all of them can be reached."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from services.domain.job import DatasetId
from tests.support.screens import Stage, texts


def test_every_dataset_can_be_reached_a_page_at_a_time(stage: Stage) -> None:
    newest = stage.dataset()
    for n in range(1, 65):
        older = replace(
            newest, dataset_id=DatasetId(f"old{n}"), name=f"old{n}", created_at=newest.created_at - timedelta(n)
        )
        stage.datasets.put(older)
    app = stage.open("upload")
    assert "**old19**" in texts(app)
    assert "**old20**" not in texts(app)
    for _ in range(3):
        app = app.button(key="more_datasets").click().run()
    assert "**old64**" in texts(app)
    assert "more_datasets" not in {button.key for button in app.button}
    assert not app.exception
