"""Pieces of Python that formats write, for who has not got this package."""

from __future__ import annotations

import json
from typing import NamedTuple

from torch import nn
from torchvision.models.resnet import ResNet

from stages.ssl.backbones import NarrowResNet
from stages.ssl.encoder import Encoder
from stages.ssl.preprocessing import shorter_edge

# As `stages.ssl.preprocessing` does, to the bit, of opaque images with 8 bits a channel.
PREPROCESS = """\
def preprocess(image):  # of Pillow's, opaque and of 8 bits, to (3, {size}, {size})
    image = ImageOps.exif_transpose(image).convert("RGB")
    pixels = functional.pil_to_tensor(image)
    if pixels.shape[1:] != ({size}, {size}):
        pixels = functional.resize(pixels, [{edge}], antialias=True)
        pixels = functional.center_crop(pixels, [{size}])
    return functional.normalize(pixels / 255, {mean}, {std})
"""
TRIED = """\
with torch.inference_mode():
    features = model(preprocess(Image.open("photo.jpg"))[None])  # (1, {features})
"""
IMPORTS = (
    "import torch",
    "from PIL import Image, ImageOps",
    "from torchvision.transforms.v2 import functional",
)


class Network(NamedTuple):
    """Lines that make `model`, with any weights, and the imports that these need."""

    imports: tuple[str, ...]
    lines: tuple[str, ...]


class Plan(NamedTuple):
    """What a ResNet of torchvision's is made of."""

    block: str  # BasicBlock | Bottleneck
    layers: list[int]  # blocks in each of the four stages
    width: int  # channels of the first stage


def plan(net: ResNet) -> Plan:
    stages = (net.layer1, net.layer2, net.layer3, net.layer4)
    block = type(net.layer1[0]).__name__
    return Plan(block, [len(stage) for stage in stages], net.conv1.out_channels)


def stem(encoder: Encoder) -> tuple[str, ...]:
    """Lines that make the usual stem of a ResNet the encoder's; none where it is the usual one."""
    net, small = encoder.backbone, encoder.config.stem == "cifar"
    if not small and not isinstance(net, NarrowResNet):
        return ()
    pool = ("model.maxpool = nn.Identity()",) if small else ()
    first = net.conv1
    if isinstance(first, nn.Sequential):  # one of timm's deep ones
        return (f"model.conv1[0].stride = {first[0].stride}", *pool)
    shape = f"3, {first.out_channels}, {first.kernel_size[0]}"
    more = f"stride={first.stride[0]}, padding={first.padding[0]}, bias=False"
    norm = f"model.bn1 = nn.BatchNorm2d({first.out_channels})"
    conv = f"model.conv1 = nn.Conv2d({shape}, {more})"
    return (conv, *([norm] if isinstance(net, NarrowResNet) else []), *pool)


def literal(value: object) -> str:
    """As Python writes it, texts with double quotes."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def call(function: str, name: str, **arguments: object) -> str:
    """A line that makes the model of that name."""
    told = "".join(f", {key}={literal(value)}" for key, value in arguments.items())
    return f"model = {function}({literal(name)}{told})"


def preprocess(encoder: Encoder) -> str:
    """A function `preprocess`."""
    config = encoder.config
    edge, mean, std = shorter_edge(config.image_size), list(config.mean), list(config.std)
    return PREPROCESS.format(size=config.image_size, edge=edge, mean=mean, std=std)


def script(encoder: Encoder, network: Network, *load: str) -> str:
    """Python that makes the network, gives it its weights (`load`), and takes photo.jpg through."""
    needed = {*IMPORTS, *network.imports}
    if any("nn." in line for line in network.lines):
        needed.add("from torch import nn")
    imports = sorted(needed, key=lambda line: (line.startswith("from"), line))
    body = [*network.lines, *load, "model.eval()"]
    tried = TRIED.format(features=encoder.feature_dim)
    return "\n".join([*imports, "", *body, "", "", preprocess(encoder), "", tried])
