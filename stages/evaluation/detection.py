"""Detection: what the backbone is worth to a Faster R-CNN, fine-tuned with it or frozen below it.

After MoCo (He et al. 2020, section 4.2.1; facebookresearch/moco, `detection/`): 24,000 iterations
on PASCAL VOC's trainval of 2007 and 2012, 16 images each; the learning rate is 0.02 after a warm-up
of 100 iterations, a tenth of it from 18,000 on and a hundredth from 22,000; the shorter edge has
480 to 800 pixels, 800 in the test, on VOC2007. All layers are trained, their batch norms too, over
the batch of all devices: features learnt without labels have a scale of their own. Reported are
COCO's AP, AP50 and AP75. With a frozen backbone, in eval mode, pyramid and heads are trained alone
(as the detectors of Goyal et al. 2019, arXiv:1905.01235, on frozen convolutions).

Departures:
- torchvision's Faster R-CNN, on a feature pyramid, instead of detectron2's on C4: there the head is
  the last stage, which only ResNets have, and a cell of C4 has 16 pixels, as much as an object in a
  small image. Batch norms are in backbone and pyramid, none is in the box head.
- Norms and biases are not decayed. Running statistics of batch norms are the usual averages, not
  computed anew at the end.
- VOC is measured with COCO's 101 points of recall, not with VOC2007's eleven.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision
from torchvision.models.detection.faster_rcnn import FasterRCNN

from stages.common import env
from stages.common.errors import DataError, SeppError
from stages.common.images import ImageStore
from stages.common.sections import Count
from stages.common.state import Part
from stages.evaluation._boxes import READERS, Picture
from stages.evaluation._detector import (
    DetectorParams,
    Level,
    build_detector,
    detect,
    find_levels,
)
from stages.evaluation._pictures import PictureBatches, labels_of, target_of
from stages.ssl.batch_norm import sync_batch_norms
from stages.ssl.batches import METHOD
from stages.ssl.distributed import world_size
from stages.ssl.encoder import Encoder, weights_digest
from stages.ssl.trainer import Fit, fit

Mode = Literal["finetune", "frozen"]
MODES = {"finetune": "fine-tuned", "frozen": "frozen"}
VALUES = {"AP": "map", "AP50": "map_50", "AP75": "map_75"}  # as torchmetrics calls them


class Params(DetectorParams):
    """The block `detection` of evaluations.yaml."""

    layout: Literal["voc", "coco"] = "voc"
    root: Annotated[str, Field(min_length=1)] | None = (
        None  # folder of the set; null: no evaluation
    )
    # voc: <folder>/<list of ImageSets/Main>; coco: <x> of annotations/instances_<x>.json
    train: list[str] = Field(["VOC2007/trainval", "VOC2012/trainval"], min_length=1)
    test: list[str] = Field(["VOC2007/test"], min_length=1)
    modes: list[Mode] = Field(["finetune", "frozen"], min_length=1)
    iterations: Count = 24_000
    batch_size: Count = 16  # images per step over all devices together
    lr: Annotated[float, Field(gt=0)] = 0.02  # with this batch size
    warmup: Annotated[int, Field(ge=0)] = 100  # iterations after which lr is reached
    milestones: list[Count] = Field([18_000, 22_000])  # iterations after which lr is a tenth
    weight_decay: Annotated[float, Field(ge=0)] = 0.0001


def metrics(params: Params) -> dict[str, str]:
    """Names and titles of the percentages that `evaluate` gives."""
    return {f"{mode}_{x}": f"{x}, {MODES[mode]}" for mode in params.modes for x in VALUES}


def evaluate(
    encoder: Encoder, store: ImageStore, params: Params, seed: int, state: Part
) -> dict[str, object]:
    """AP, AP50 and AP75 of each mode, in percent, or why there are none.

    Args:
        store: not used: the images are those of a set with boxes.
        seed: of the new layers, the order, the flips and the regions drawn; all modes share it.

    Raises:
        DataError: the set is missing or wrong.
    """
    if params.root is None:
        return {"skipped": "detection.root in evaluations.yaml is null: there is no set with boxes"}
    if importlib.util.find_spec("pycocotools") is None:
        raise SeppError("detection needs pycocotools: pip install -e '.[detection]'")
    levels = find_levels(encoder.backbone)
    if not levels:
        backbone = encoder.config.backbone
        return {
            "skipped": f"no feature maps for this backbone: {backbone} has none of falling size"
        }
    images = read(params)
    result: dict[str, object] = {}
    for mode in params.modes:
        part = state.part(mode)
        values = part.once(partial(_of_mode, mode, encoder, levels, images, params, seed, part))
        result |= {f"{mode}_{name}": value for name, value in values.items()}
    return {**result, "test_images": len(images.test)}


def _of_mode(
    mode: Mode,
    encoder: Encoder,
    levels: list[Level],
    images: Images,
    params: Params,
    seed: int,
    part: Part,
) -> dict[str, float]:
    """Train a detector, and test it.

    Raises:
        AssertionError: weights or buffers of a backbone that is to be frozen have moved.
    """
    torch.manual_seed(seed)
    detector = build_detector(encoder, levels, len(images.classes), params, mode == "frozen")
    backbone = detector.backbone.backbone
    before = weights_digest(backbone)
    batches = PictureBatches(images.train, images.classes, params.batch_size, seed)
    label = f"detection, {MODES[mode]}"
    fit(Detection(detector, params, batches), part, label)
    if mode == "frozen" and weights_digest(backbone) != before:
        raise AssertionError("the frozen backbone changed while the detector was trained")
    found = detect(detector, images.test, params.batch_size, f"{label}: test")
    return average_precision(found, images.test, images.classes)


class Images(NamedTuple):
    train: list[Picture]  # each with a box
    test: list[Picture]
    classes: list[str]  # in order


def read(params: Params) -> Images:
    """What is trained and tested on.

    As in detectron2, what is difficult in VOC is trained on; COCO's crowds are not, nor are images
    without a box.

    Raises:
        DataError: a file is missing or wrong, or a class is tested that is not trained.
    """
    root = env.in_repository(params.root)
    train, test = (
        [picture for name in names for picture in READERS[params.layout](root, name)]
        for names in (params.train, params.test)
    )
    if params.layout == "coco":
        train = [picture.without_ignored() for picture in train]
    train = [picture for picture in train if len(picture.boxes)]
    classes = sorted({name for picture in train for name in picture.names})
    for picture in test:
        for name in sorted(set(picture.names) - set(classes)):
            raise DataError(
                f"{picture.annotation}: class {name!r} is in no training image, so that it cannot "
                "be found: mend its name, or set detection.train in evaluations.yaml to what has it"
            )
    trained = {picture.file for picture in train}
    if both := next((picture.file for picture in test if picture.file in trained), None):
        raise DataError(
            f"{both}: is trained on and tested, in detection.train {params.train} and "
            f"detection.test {params.test}: set them in evaluations.yaml to different images"
        )
    if all(picture.ignored.all() for picture in test):
        raise DataError(
            f"{root}: no image of detection.test {params.test} has a box that counts: set it in "
            "evaluations.yaml to images that have"
        )
    return Images(train, test, classes)


class Detection(Fit):
    """A detector trained by SGD: a warm-up, then steps down by ten."""

    remedy = "lower detection.lr in evaluations.yaml"
    deterministic = False  # torchvision's RoIAlign would leave its CUDA kernel for a slow one

    def __init__(self, detector: FasterRCNN, params: Params, batches: PictureBatches) -> None:
        super().__init__(batches, params.iterations)
        self.detector, self.params = detector, params

    def configure_model(self) -> None:
        """Once it is known how many processes there are."""
        if world_size() > 1:
            sync_batch_norms(self.detector, self.trainer.strategy.root_device)
        self.detector.train()  # but for a frozen backbone

    def training_step(self, batch: dict[str, Any], index: int) -> Tensor:
        self.reseed(index, METHOD, self.global_rank)  # of an image's scale, and the regions drawn
        images = [image.float() / 255 for image in batch["images"]]
        loss = sum(self.detector(images, batch["targets"]).values())
        self.record(loss=loss)
        return loss

    def configure_optimizers(self) -> dict[str, Any]:
        trained = [weight for weight in self.detector.parameters() if weight.requires_grad]
        groups = [
            {
                "params": [w for w in trained if w.dim() > 1],
                "weight_decay": self.params.weight_decay,
            },
            {"params": [w for w in trained if w.dim() <= 1], "weight_decay": 0.0},
        ]
        sgd = torch.optim.SGD(groups, self.params.lr, momentum=0.9)
        steps = torch.optim.lr_scheduler.LambdaLR(sgd, self._share)
        return {"optimizer": sgd, "lr_scheduler": {"scheduler": steps, "interval": "step"}}

    def _share(self, step: int) -> float:
        """Of the learning rate, at a step."""
        rise = min(1.0, (step + 1) / (self.params.warmup + 1))
        return rise * 0.1 ** sum(step >= milestone for milestone in self.params.milestones)


def average_precision(
    found: Iterator[dict[str, Tensor]], pictures: Sequence[Picture], classes: Sequence[str]
) -> dict[str, float]:
    """COCO's AP, AP50 and AP75, in percent: means over classes, AP also over overlaps from 0.5 up.

    What is found in an ignored box, and in no other, counts neither for nor against: difficult
    objects of VOC are treated like crowds of COCO.
    """
    metric = MeanAveragePrecision(  # with the thresholds of pycocotools, in float64
        iou_thresholds=np.linspace(0.5, 0.95, 10).tolist(),
        rec_thresholds=np.linspace(0, 1, 101).tolist(),
    )
    labels = labels_of(classes)
    for one, picture in zip(found, pictures, strict=True):
        ignored = torch.from_numpy(picture.ignored).long()
        metric.update([one], [{**target_of(picture, labels), "iscrowd": ignored}])
    values = metric.compute()
    return {name: round(100 * float(values[key]), 4) for name, key in VALUES.items()}
