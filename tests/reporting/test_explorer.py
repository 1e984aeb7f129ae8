"""What the page's script is given."""

import base64
import json

import numpy as np
import pytest

from stages import report
from stages.common.explored import read_explored
from stages.common.images import ImageStore
from stages.common.judged import Answer
from stages.reporting.explorer import make_explorer
from tests.reporting.results import write_results


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_results(tmp_path)
    store = ImageStore(report.Inputs.manifest, report.Inputs.images)
    explored = read_explored(report.Inputs.explored)

    def make(answers=(), interval=(0.97, 0.99), per_image=None):
        return make_explorer(explored, store, answers, interval, per_image)

    return make, explored, store


def test_counts_of_every_interval_are_there(made):
    make, explored, _ = made
    data = make().data
    place = np.triu_indices(len(explored.pairs))
    covered = np.frombuffer(base64.b64decode(data["covered"]), "<u4")
    squares = np.frombuffer(base64.b64decode(data["squares"]), "<f4")
    assert (covered == explored.covered[place]).all()
    np.testing.assert_allclose(squares, explored.squares[place], rtol=1e-6)
    assert data["pairs"] == explored.pairs.tolist()
    json.dumps(data)


def test_pairs_have_their_images_and_their_bins(made):
    make, explored, store = made
    data = make().data
    ids, shown = np.array(data["tiles"]["id"]), data["shown"]
    assert ids[shown["first"]].tolist() == explored.shown["anchor"].to_pylist()
    assert ids[shown["second"]].tolist() == explored.shown["positive"].to_pylist()
    assert data["tiles"]["key"] == [store.key(id) for id in ids.tolist()]
    names = [data["tiles"]["names"][label] for label in data["tiles"]["label"]]
    assert names == [str(store.labels[id]) for id in ids]
    for similarity, place in zip(shown["similarity"], shown["bin"], strict=True):
        assert explored.edges[place] - 1e-6 <= similarity <= explored.edges[place + 1] + 1e-6


@pytest.mark.parametrize(
    ("interval", "chosen"),
    [((0.97, 0.99), (0.97, 0.99)), ((0.9704, 0.9896), (0.97, 0.99)), ((0.2, 0.3), None)],
)
def test_the_sliders_start_at_the_mined_interval(made, interval, chosen):
    make, explored, _ = made
    assert make(interval=interval).chosen == pytest.approx(chosen or explored.edges[:2])


def test_answers_are_put_to_their_pairs_and_others_kept(made):
    make, explored, store = made
    row = explored.shown.slice(3, 1).to_pylist()[0]
    ids = row["anchor"], row["positive"]
    here = Answer(
        *ids, *map(store.key, ids), 0.9, "no", "ann", explored.about["fingerprint"]
    )  # fmt: skip
    answers = [here, here._replace(explored="x"), here._replace(anchor="0" * 16)]
    explorer = make(answers)
    assert explorer.data["answers"]["own"] == [[3, "no", "ann"]]
    assert explorer.data["answers"]["others"] == [list(answer) for answer in answers[1:]]
    assert (explorer.own, explorer.others) == (1, 2)
