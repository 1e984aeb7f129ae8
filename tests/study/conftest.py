"""A checkout with experiments of a study, made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.study.plan import Choice, Plan, plan
from stages.study.spec import Study
from tests.comparison.conftest import checkout as _checkout

checkout = _checkout


def made(choice: Choice = Choice(), **more) -> Plan:  # noqa: B008
    """A study of two thresholds with three seeds, with what the paper says of them."""
    values = {"linear": {0.9: {"vanilla": 70.0, "sepp": 72.5}, 0.95: {"vanilla": 70, "sepp": 71}}}
    study = {
        "title": "Two thresholds",
        "about": "Which of them is `better`?",
        "preset": "digits",
        "grid": {"sepp.min": [0.9, 0.95]},
        "seeds": [0, 1, 2],
        "columns": ["pairs", "accuracy", "linear", "knn", "hours"],
        "paper": {"source": "Table 0 of arXiv:0000.00000", "values": values},
    }
    return plan("made", Study.model_validate({**study, **more}), choice)


@pytest.fixture
def write(checkout):
    """Writes a file of the next experiment, which `checkout.experiment` takes along."""

    def write(file: str, text: str) -> None:
        path = Path(checkout.folder, file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write
