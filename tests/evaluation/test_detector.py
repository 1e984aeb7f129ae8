"""The detector stands on the right maps, at the right places, and leaves the encoder alone."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import ConvNeXt, SwinTransformer, VisionTransformer
from torchvision.models.convnext import CNBlockConfig

from stages.evaluation._detector import DetectorParams, Pyramid, build_detector, find_levels
from stages.ssl.backbones import build_backbone
from stages.ssl.encoder import Encoder, EncoderConfig, weights_digest

SMALL = DetectorParams(image_min=[64], image_max=96, channels=8, rois=16)


def encoder(backbone: str = "resnet10-w8", stem: str = "cifar") -> Encoder:
    torch.manual_seed(0)
    return Encoder(EncoderConfig(backbone, stem, 32, (0.4,) * 3, (0.2,) * 3)).eval()


@pytest.mark.parametrize(
    ("name", "stem", "levels"),
    [
        ("resnet10-w8", "cifar", [("layer3", 4, 32), ("layer4", 8, 64)]),
        (  # bottlenecks, whose first convolution still has the stride of the map before
            "resnet50-w8",
            "imagenet",
            [("layer1", 4, 32), ("layer2", 8, 64), ("layer3", 16, 128), ("layer4", 32, 256)],
        ),
        (
            "regnet_x_400mf",
            "imagenet",
            [
                *(("trunk_output.block1", 4, 32), ("trunk_output.block2", 8, 64)),
                *(("trunk_output.block3", 16, 160), ("trunk_output", 32, 400)),
            ],
        ),
    ],
)
def test_the_maps_of_a_backbone(name, stem, levels):
    backbone, _ = build_backbone(name, stem)
    assert [tuple(level) for level in find_levels(backbone.eval())] == levels


def test_transformers_have_none():
    of_one_size = VisionTransformer(32, 16, 1, 1, 8, 8)
    channels_last = SwinTransformer([4, 4], 8, [1, 1, 1, 1], [1, 1, 1, 1], [4, 4])
    for backbone in (of_one_size, channels_last):
        assert find_levels(backbone.eval()) == []


def test_what_comes_after_the_last_map_takes_no_gradient():
    stages = [CNBlockConfig(8, 16, 1), CNBlockConfig(16, 32, 1), CNBlockConfig(32, None, 1)]
    backbone = ConvNeXt(stages)
    pyramid = Pyramid(backbone.eval(), find_levels(backbone), 8, frozen=False)
    still = [name for name, weight in backbone.named_parameters() if not weight.requires_grad]
    assert still == [f"classifier.{i}.{x}" for i in (0, 2) for x in ("weight", "bias")]
    extents = [tuple(x.shape[2:]) for x in pyramid(torch.rand(1, 3, 64, 96)).values()]
    assert extents == [(16, 24), (8, 12), (4, 6), (2, 3)]


def test_a_resnet50_at_800_pixels_has_the_anchors_of_torchvision():
    own = encoder("resnet50-w8", "imagenet")
    detector = build_detector(own, find_levels(own.backbone), 90, DetectorParams(), False)
    assert detector.rpn.anchor_generator.sizes == ((32,), (64,), (128,), (256,), (512,))
    assert detector.roi_heads.box_predictor.cls_score.out_features == 91


@pytest.mark.parametrize("frozen", [False, True])
def test_a_step_moves_the_copy_of_the_backbone_or_nothing_of_it(frozen):
    own = encoder()
    before = weights_digest(own)
    detector = build_detector(own, find_levels(own.backbone), 3, SMALL, frozen).train()
    backbone = detector.backbone.backbone
    targets = [{"boxes": torch.tensor([[4.0, 4.0, 30.0, 30.0]]), "labels": torch.tensor([2])}]
    sum(detector([torch.rand(3, 48, 64)], targets).values()).backward()
    with torch.no_grad():
        for weight in detector.parameters():
            if weight.requires_grad:
                assert weight.grad is not None
                weight -= 0.1 * weight.grad
    moved = weights_digest(backbone) != weights_digest(own.backbone)
    assert moved == (not frozen)
    assert backbone.training == (not frozen)  # whether batch norms use, and keep, the batch's
    assert weights_digest(own) == before


def test_images_below_a_stride_are_pooled_at_the_maps_own_scales():
    """torchvision guesses scales from the first batch: of one image of 33 x 64 pixels, wrongly."""
    own = encoder("resnet10-w8", "imagenet")
    detector = build_detector(own, find_levels(own.backbone), 3, SMALL, False)
    detector.transform.min_size = (33,)
    targets = [{"boxes": torch.tensor([[4.0, 4.0, 30.0, 30.0]]), "labels": torch.tensor([2])}]
    losses = detector.train()([torch.rand(3, 33, 64)] * 2, targets * 2)
    assert torch.isfinite(sum(losses.values()))
    assert detector.roi_heads.box_roi_pool.scales == [1 / 4, 1 / 8, 1 / 16, 1 / 32]
