"""Faster R-CNN (Ren et al. 2015) on a pyramid (Lin et al. 2017) of any backbone's feature maps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import deepcopy
from itertools import pairwise
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.backends import cudnn
from torchvision.models.detection.faster_rcnn import FasterRCNN, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from torchvision.ops.poolers import initLevelMapper

from stages.common.progress import Progress
from stages.common.sections import Count, Section
from stages.evaluation._boxes import Picture
from stages.evaluation._pictures import TestPictures
from stages.ssl.encoder import Encoder
from stages.ssl.inference import device

FINEST = 4  # pixels, the least stride of a map that is used: of P2, the finest of the paper's
LARGEST_ANCHOR = 512 / 800  # of an image's shorter edge: torchvision's, where that has 800 pixels
PROBE = 128, 192  # pixels, height and width: of two lengths, so that only a map passes for one


class DetectorParams(Section):
    """The network's part of the block `detection`."""

    # Pixels of the shorter edge: one is drawn for each training image, and a test takes the last,
    # with which anchors are scaled.
    image_min: list[Count] = Field(list(range(480, 801, 32)), min_length=1)
    image_max: Count = 1333  # pixels of the longer edge, at most
    channels: Count = 256  # of the pyramid; the box head has four times as many units
    rois: Count = 512  # regions of an image that the box head is trained on in a step


class Level(NamedTuple):
    """A feature map of a backbone."""

    module: str  # path of the module that gives it
    stride: int  # pixels
    channels: int


def find_levels(backbone: nn.Module) -> list[Level]:
    """The last map of each stride from 4 up, finest first; none if there are not several, each of
    half the resolution of the one before.

    Of a ResNet with the ImageNet stem these are C2 to C5, with the one for small images C4 and C5.
    Most vision transformers have none: no maps, of one resolution, or for images of one size alone.

    Args:
        backbone: in eval mode, on the CPU.
    """
    found: dict[int, Level] = {}

    def note(path: str, output: object) -> None:
        if isinstance(output, Tensor) and output.dim() == 4:
            channels, height, width = output.shape[1:]
            stride, rest = divmod(PROBE[0], height)
            if not rest and width * stride == PROBE[1] and stride >= FINEST:
                found[stride] = Level(path, stride, channels)

    hooks = [
        backbone.get_submodule(path).register_forward_hook(
            lambda module, inputs, output, path=path: note(path, output)
        )
        for path in _units(backbone)
    ]
    try:
        with torch.no_grad():
            backbone(torch.zeros(1, 3, *PROBE))
    except (AssertionError, RuntimeError, ValueError):
        return []
    finally:
        for hook in hooks:
            hook.remove()
    strides = sorted(found)
    halved = all(b == 2 * a for a, b in pairwise(strides))
    return [found[stride] for stride in strides] if halved and len(strides) > 1 else []


def _units(module: nn.Module, prefix: str = "") -> Iterator[str]:
    """Paths of the submodules that are reached through plain sequences alone. A block is one of
    them and its layers are not: the first may still have the stride of the map before."""
    for name, child in module.named_children():
        yield prefix + name
        if type(child) is nn.Sequential:
            yield from _units(child, f"{prefix}{name}.")


class Pyramid(nn.Module):
    """Images (B, 3, H, W) to maps (B, channels, H / stride, W / stride), finest first, and one of
    half the coarsest map's resolution.

    Args:
        backbone: becomes part of it; in eval mode.
        levels: of its maps.
        frozen: the backbone takes no gradient and stays in eval mode.
    """

    def __init__(
        self, backbone: nn.Module, levels: list[Level], channels: int, frozen: bool
    ) -> None:
        super().__init__()
        self.backbone, self.frozen = backbone, frozen
        self.out_channels = channels  # which FasterRCNN reads
        self.kept: dict[str, Tensor] = {}  # maps of the forward pass, by name
        for name, level in enumerate(levels):
            backbone.get_submodule(level.module).register_forward_hook(
                lambda module, inputs, output, name=str(name): self.kept.update({name: output})
            )
        self._choose_trained()
        # Their norms adapt to features of any scale, without a learning rate for each encoder.
        self.fpn = FeaturePyramidNetwork(
            [level.channels for level in levels], channels, LastLevelMaxPool(), nn.BatchNorm2d
        )

    def _choose_trained(self) -> None:
        """No gradient for what is frozen, or comes after the last map: DDP waits for every one."""
        weights = list(self.backbone.parameters())
        total = sum(x.sum() for x in self._maps(torch.zeros(1, 3, *PROBE)).values())
        used = torch.autograd.grad(total, weights, allow_unused=True)
        for weight, gradient in zip(weights, used, strict=True):
            weight.requires_grad_(gradient is not None and not self.frozen)

    def _maps(self, images: Tensor) -> dict[str, Tensor]:
        self.backbone(images)
        maps, self.kept = dict(sorted(self.kept.items())), {}
        return maps

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            maps = self._maps(images)
        return self.fpn(maps)

    def train(self, mode: bool = True) -> Pyramid:
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self


def build_detector(
    encoder: Encoder, levels: list[Level], classes: int, params: DetectorParams, frozen: bool
) -> FasterRCNN:
    """torchvision's Faster R-CNN with a copy of the encoder's backbone, and new layers otherwise.

    Args:
        levels: the backbone's, of `find_levels`.
        classes: background not counted, which is label 0.
    """
    pyramid = Pyramid(deepcopy(encoder.backbone).cpu().eval(), levels, params.channels, frozen)
    largest = LARGEST_ANCHOR * params.image_min[-1]
    maps = len(levels) + 1
    anchors = AnchorGenerator(
        tuple((largest / 2 ** (maps - 1 - i),) for i in range(maps)), ((0.5, 1.0, 2.0),) * maps
    )
    pool = MultiScaleRoIAlign([str(i) for i in range(len(levels))], 7, sampling_ratio=2)
    # Else guessed from the first batch, wrongly where images are smaller than a stride or two.
    first, last = (int(math.log2(level.stride)) for level in (levels[0], levels[-1]))
    pool.scales = [1 / level.stride for level in levels]
    pool.map_levels = initLevelMapper(first, last)
    units = 4 * params.channels
    return FasterRCNN(
        pyramid,
        min_size=params.image_min,
        max_size=params.image_max,
        image_mean=encoder.config.mean,
        image_std=encoder.config.std,
        rpn_anchor_generator=anchors,
        box_roi_pool=pool,
        box_head=TwoMLPHead(7 * 7 * params.channels, units),
        box_predictor=FastRCNNPredictor(units, classes + 1),
        box_batch_size_per_image=params.rois,
    )


@torch.no_grad()
def detect(
    detector: FasterRCNN, pictures: Sequence[Picture], batch_size: int, label: str
) -> Iterator[dict[str, Tensor]]:
    """What is found in each picture: `boxes` (D, 4), `labels` (D,) and `scores` (D,), at most 100,
    on the CPU."""
    target = device()
    detector = detector.to(target).eval()
    with Progress(label, len(pictures), "images") as progress:
        for images in TestPictures(pictures).loader(batch_size):
            with cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
                found = detector([image.to(target).float() / 255 for image in images])
            yield from ({key: x.cpu() for key, x in one.items()} for one in found)
            progress.advance(len(images))
