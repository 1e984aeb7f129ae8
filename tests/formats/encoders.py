"""Small encoders of every kind that is exported, their batch norms on statistics of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from stages.ssl.encoder import Encoder, EncoderConfig
from stages.ssl.heads import mlp

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
KINDS = {  # backbone, stem, edge of an image in pixels
    "narrow, of small images": ("resnet10-w8", "cifar", 20),
    "narrow": ("resnet50-w8", "imagenet", 32),
    "of small images": ("resnet18", "cifar", 8),
    "of ten layers": ("resnet10", "imagenet", 32),
    "usual": ("resnet18", "imagenet", 32),
    "no ResNet": ("mobilenet_v3_small", "imagenet", 33),
    "of timm": ("timm/vit_tiny_patch16_224-p4", "imagenet", 20),
    "of timm, of small images": ("timm/resnet10t", "cifar", 20),
}


def made(kind: str) -> Encoder:
    torch.manual_seed(0)
    backbone, stem, size = KINDS[kind]
    encoder = Encoder(EncoderConfig(backbone, stem, size, MEAN, STD))
    projection = mlp(encoder.feature_dim, 16, 4)
    encoder = Encoder(EncoderConfig(backbone, stem, size, MEAN, STD, projection))
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return encoder.eval()


def write_photo(path: Path, height: int = 60, width: int = 47) -> Image.Image:
    """Soft shapes, as photographs have them, and not noise."""
    rng = np.random.default_rng(height)
    few = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    few.resize((width, height), Image.Resampling.BICUBIC).save(path)
    return Image.open(path)
