"""Detection: measured as COCO does, resumed to the same bits, and learnt from a made set."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from stages.common.command import one_line
from stages.common.errors import DataError, SeppError
from stages.common.state import TrainingState
from stages.evaluation import detection
from stages.evaluation._boxes import Picture, read_voc
from stages.evaluation._pictures import PictureBatches, load, mirrored
from stages.ssl.encoder import Encoder, EncoderConfig, weights_digest
from tests.evaluation import shapes

CLASSES = ["circle", "square", "triangle"]
TINY = {"train": ["train"], "test": ["test"], "iterations": 10, "batch_size": 2, "warmup": 2}
TINY |= {"milestones": [8], "image_min": [32], "image_max": 64, "channels": 8, "rois": 8}


def params(root: Path | None, **changes) -> detection.Params:
    return detection.Params(**{**TINY, "root": root and str(root), **changes})


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(EncoderConfig("resnet10-w8", "cifar", 32, (0.3,) * 3, (0.25,) * 3)).eval()


@pytest.fixture
def small(project) -> Path:
    """Eight training and four test images, in either layout."""
    for split, count, seed in (("train", 8, 0), ("test", 4, 1)):
        made = shapes.images(count, seed, (40, 48))
        shapes.write_voc(project, split, made)
        shapes.write_coco(project, split, made)
    return project


def evaluate(encoder: Encoder, settings: detection.Params) -> dict[str, object]:
    with TrainingState("evaluate", lambda: "fixed") as state:
        result = detection.evaluate(encoder, None, settings, 0, state)
        state.clear()
    return result


def picture(boxes, names, ignored) -> Picture:
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    names, ignored = np.array(names, object), np.array(ignored, bool)
    return Picture(Path("x.png"), 100, 100, Path("x.xml"), boxes, names, ignored)


def found(boxes, labels, scores) -> dict[str, torch.Tensor]:
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return {"boxes": boxes, "labels": torch.tensor(labels), "scores": torch.tensor(scores)}


def test_average_precision_of_a_case_done_by_hand():
    """One of two squares is found, with an overlap of 0.62: above three of the ten thresholds."""
    truth = picture([[0, 0, 10, 10], [50, 50, 60, 60]], ["square"] * 2, [False] * 2)
    one = found([[0, 0, 6.2, 10]], [2], [0.9])
    got = detection.average_precision(iter([one]), [truth], CLASSES)
    half = 51 / 101  # of the 101 points of recall, those up to a half
    assert got == {
        "AP": pytest.approx(30 * half, abs=1e-3),
        "AP50": pytest.approx(100 * half, abs=1e-3),
        "AP75": 0,
    }


def test_what_is_found_in_a_difficult_object_counts_neither_way():
    truth = picture([[0, 0, 10, 10], [50, 50, 60, 60]], ["square"] * 2, [False, True])
    both = found([[0, 0, 10, 10], [50, 50, 60, 60]], [2, 2], [0.8, 0.9])
    alone = found([[0, 0, 10, 10]], [2], [0.8])
    elsewhere = found([[0, 0, 10, 10], [20, 20, 30, 30]], [2, 2], [0.8, 0.9])
    results = [
        detection.average_precision(iter([x]), [truth], CLASSES)["AP"]
        for x in (both, alone, elsewhere)
    ]
    assert results == [100, 100, 50]


def test_average_precision_against_pycocotools():
    rng = np.random.default_rng(0)

    def boxes(count: int) -> np.ndarray:
        corner = rng.uniform(0, 60, (count, 2))
        return np.concatenate([corner, corner + rng.uniform(8, 40, (count, 2))], 1)

    pictures, predictions, things, results = [], [], [], []
    for image in range(1, 31):
        count = int(rng.integers(0, 5))
        truth, names = boxes(count), rng.choice(CLASSES, count)
        crowd = rng.random(count) < 0.2
        pictures.append(picture(truth, names, crowd))
        near = truth + rng.normal(0, 2, truth.shape)  # some are good, and some are anywhere
        guesses = np.concatenate([near, boxes(3)]).astype(np.float32)
        labels = [*(CLASSES.index(name) + 1 for name in names), *rng.integers(1, 4, 3)]
        scores = rng.random(len(guesses)).astype(np.float32)
        predictions.append(found(guesses, [int(x) for x in labels], scores))
        for box, name, ignored in zip(pictures[-1].boxes, names, crowd, strict=True):
            corner, extent = box[:2], box[2:] - box[:2]
            thing = {"id": len(things) + 1, "image_id": image, "iscrowd": int(ignored)}
            thing |= {"category_id": CLASSES.index(name) + 1, "area": float(extent.prod())}
            things.append({**thing, "bbox": [*corner.tolist(), *extent.tolist()]})
        for box, label, score in zip(guesses, labels, scores, strict=True):
            extent = (box[2:] - box[:2]).tolist()
            one = {"image_id": image, "category_id": int(label), "score": float(score)}
            results.append({**one, "bbox": [*box[:2].tolist(), *extent]})
    reference = COCO()
    reference.dataset = {
        "images": [{"id": image} for image in range(1, 31)],
        "annotations": things,
        "categories": [{"id": i, "name": name} for i, name in enumerate(CLASSES, start=1)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        reference.createIndex()
        judge = COCOeval(reference, reference.loadRes(results), "bbox")
        for step in (judge.evaluate, judge.accumulate, judge.summarize):
            step()
    got = detection.average_precision(iter(predictions), pictures, CLASSES)
    assert 5 < got["AP"] < 95
    assert list(got.values()) == pytest.approx(list(100 * judge.stats[:3]), abs=1e-3)


def test_boxes_are_mirrored_with_their_image():
    image = torch.zeros(3, 8, 20)
    image[:, 2:5, 3:9] = 1
    other, boxes = mirrored(image, torch.tensor([[3.0, 2.0, 9.0, 5.0]]))
    assert boxes.tolist() == [[11, 2, 17, 5]]
    assert other[:, 2:5, 11:17].all()
    assert other.sum() == image.sum()


def test_a_batch_is_a_function_of_seed_epoch_and_step(small):
    train = read_voc(small, "train")
    one, other = (PictureBatches(train, CLASSES, 4, seed=3) for _ in range(2))
    other[1, 0]  # what was asked for before makes no difference
    a, b = one[0, 1], other[0, 1]
    assert all(torch.equal(x, y) for x, y in zip(a["images"], b["images"], strict=True))
    for x, y in zip(a["targets"], b["targets"], strict=True):
        assert torch.equal(x["boxes"], y["boxes"])
    original = {load(one_picture).numpy().tobytes() for one_picture in train}
    flipped = [
        image.numpy().tobytes() not in original for k in range(4) for image in one[k, 0]["images"]
    ]
    assert 0 < sum(flipped) < len(flipped)


def test_the_learning_rate(small):
    batches = PictureBatches(read_voc(small, "train"), CLASSES, 2, 0)
    settings = params(small, warmup=4, milestones=[6, 8])
    share = detection.Detection(torch.nn.Identity(), settings, batches)._share
    expected = [0.2, 0.4, 0.6, 0.8, 1, 1, 0.1, 0.1, 0.01, 0.01]
    assert [share(step) for step in range(10)] == pytest.approx(expected)


class KilledError(Exception):
    pass


def test_interrupted_in_each_training_it_ends_in_the_same_bits(small, encoder, monkeypatch):
    monkeypatch.setenv("SEPP_CHECKPOINT_SECONDS", "0")
    monkeypatch.setenv("SEPP_WORKERS", "0")
    detectors: list[str] = []
    steps: list[str] = []
    kill_at: set[int] = set()
    detect, step = detection.detect, detection.Detection.training_step

    def watched(detector, *arguments):
        detectors.append(weights_digest(detector))
        return detect(detector, *arguments)

    def counted(self, batch, index):
        steps.append("")
        if len(steps) in kill_at:
            raise KilledError
        return step(self, batch, index)

    monkeypatch.setattr(detection, "detect", watched)
    monkeypatch.setattr(detection.Detection, "training_step", counted)
    settings = params(small, layout="coco")
    whole = evaluate(encoder, settings)
    assert len(steps) == 2 * settings.iterations
    steps.clear()
    kill_at |= {6, 6 + 6 + 6}  # in the second epoch of four steps, of either training
    for _ in range(2):
        with pytest.raises(KilledError):
            evaluate(encoder, settings)
    assert evaluate(encoder, settings) == whole
    assert len(steps) == 4 * 6  # no epoch was trained again
    assert detectors[:2] == detectors[2:]
    assert len(set(detectors)) == 2
    assert set(detection.metrics(settings)) < set(whole)


def test_an_encoder_stays_as_it_was(small, encoder, monkeypatch):
    monkeypatch.setenv("SEPP_WORKERS", "0")
    before = weights_digest(encoder)
    evaluate(encoder, params(small, iterations=2, modes=["finetune"]))
    assert weights_digest(encoder) == before
    assert not any(module._forward_hooks for module in encoder.modules())


def test_a_frozen_backbone_that_moves_is_found_out(small, encoder, monkeypatch):
    def meddle(module, *arguments):
        module.detector.backbone.backbone.conv1.weight.data += 1e-3

    monkeypatch.setattr(detection, "fit", meddle)
    with pytest.raises(AssertionError, match="frozen backbone changed"):
        evaluate(encoder, params(small, modes=["frozen"]))


def test_without_a_set_or_maps_it_says_why(small, encoder):
    assert "detection.root" in evaluate(encoder, params(None))["skipped"]
    encoder.backbone = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 16, 16), torch.nn.Flatten())
    assert "no feature maps" in evaluate(encoder, params(small))["skipped"]


def test_pycocotools_is_asked_for(small, encoder, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SeppError, match=r"needs pycocotools: pip install -e '\.\[detection\]'"):
        evaluate(encoder, params(small))


@pytest.mark.parametrize(
    ("spoil", "changes", "told"),
    [
        (
            lambda text: text.replace("<name>", "<name>big ", 1),
            {},
            r"Annotations/test_0000\.xml: class 'big \w+' is in no training image",
        ),
        (lambda text: "", {}, r"test_0000\.xml: is not plain XML"),
        (str, {"batch_size": 9}, r"detection\.batch_size 9 is above the 8 training images"),
        (str, {"test": ["val"]}, r"ImageSets/Main/val\.txt: .*set detection\.root, train and test"),
    ],
)
def test_what_is_wrong_is_told_before_a_training(small, encoder, spoil, changes, told):
    file = small / "Annotations/test_0000.xml"
    file.write_text(spoil(file.read_text()))
    with pytest.raises(SeppError, match=told):
        evaluate(encoder, params(small, **changes))


def test_a_test_without_boxes_is_no_test(small, encoder):
    made = [(image, []) for image, _ in shapes.images(2, 0)]
    shapes.write_voc(small, "empty", made)
    with pytest.raises(DataError, match=r"detection\.test \['empty'\] has a box that counts"):
        evaluate(encoder, params(small, test=["empty"]))


def test_an_image_that_does_not_fit_its_boxes_is_named(small):
    first = read_voc(small, "train")[0]
    Image.new("RGB", (30, 31)).save(first.file)
    with pytest.raises(
        DataError, match=r"train_0000\.png: has 30 x 31 pixels, .* but .*0000\.xml has"
    ):
        load(first)
    first.file.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"train_0000\.png: image does not decode"):
        load(first)


def test_a_broken_image_is_named_in_one_line_from_a_worker_too(small, monkeypatch):
    monkeypatch.setenv("SEPP_WORKERS", "1")
    train = read_voc(small, "train")
    for one in train:
        one.file.write_bytes(b"no image")
    with pytest.raises(DataError) as error:
        next(iter(PictureBatches(train, CLASSES, 2, 0).loader()))
    assert re.fullmatch(r"\S+\.png: image does not decode \(.*\); mend .*", one_line(error.value))


@pytest.mark.slow
def test_shapes_are_learnt(project, encoder, monkeypatch):
    """Found by a detector of 60 steps, on an untrained encoder, and not by one of a single step."""
    monkeypatch.setenv("SEPP_WORKERS", "0")
    for split, count, seed in (("train", 120, 0), ("test", 30, 1)):
        shapes.write_voc(project, split, shapes.images(count, seed))
    settings = params(
        *(project,),
        **{"batch_size": 4, "lr": 0.05, "warmup": 10, "milestones": [50], "modes": ["finetune"]},
        **{"image_min": [64], "image_max": 128, "channels": 32, "rois": 64},
    )
    results = [
        evaluate(encoder, settings.model_copy(update={"iterations": steps}))["finetune_AP50"]
        for steps in (1, 60)
    ]
    assert results[0] < 3
    assert results[1] > 15
