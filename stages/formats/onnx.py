"""ONNX: one graph from pixels to features, for onnxruntime and whatever else reads it.

It takes uint8 RGB and normalises within, so that nothing is left to be got wrong but the resizing.
"""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stages.common.artifacts import atomic
from stages.formats import ExportError, facts
from stages.formats._code import literal
from stages.ssl.encoder import Encoder
from stages.ssl.preprocessing import shorter_edge

log = logging.getLogger(__name__)
SUFFIX, LAYERS = ".onnx", ("backbone", "projection")
OPSET = 18
TOLERANCE = 1e-4  # of the largest feature: rounding is some 1e-6, a wrong graph far off
USAGE = """\
import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession({name})


def preprocess(image):  # of Pillow's, opaque and of 8 bits, to uint8 (3, {size}, {size})
    image = ImageOps.exif_transpose(image).convert("RGB")
    if image.size != ({size}, {size}):
        width, height = (side * {edge} // min(image.size) for side in image.size)
        left, top = round((width - {size}) / 2), round((height - {size}) / 2)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        image = image.crop((left, top, left + {size}, top + {size}))
    return np.asarray(image).transpose(2, 0, 1)


images = np.stack([preprocess(Image.open("photo.jpg"))])  # (1, 3, {size}, {size})
(features,) = session.run(None, {{"images": images}})  # (1, {features})
"""


class _FromPixels(nn.Module):
    def __init__(self, encoder: Encoder, layer: str) -> None:
        super().__init__()
        self.encoder, self.layer = encoder, layer

    def forward(self, images: Tensor) -> Tensor:  # uint8 (B, 3, S, S) to (B, D)
        return self.encoder(self.encoder.normalize(images.float() / 255), self.layer)


def write(encoder: Encoder, layer: str, path: Path) -> None:
    """Raises ExportError where onnxruntime gives other features for random images."""
    model = _FromPixels(copy.deepcopy(encoder).cpu(), layer).eval()
    size = encoder.config.image_size
    torch.manual_seed(0)
    images = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)
    proto = _graph(model, images)
    for key, value in facts(encoder, layer).items():
        proto.metadata_props.add(key=key, value=json.dumps(value))
    content = proto.SerializeToString(deterministic=True)
    with torch.inference_mode():
        _check(content, images, model(images), path)
    with atomic(path) as partial:
        partial.write_bytes(content)


def usage(encoder: Encoder, layer: str, name: str) -> str:
    size = encoder.config.image_size
    edge, features = shorter_edge(size), encoder.dim(layer)
    return USAGE.format(name=literal(name), size=size, edge=edge, features=features)


def _graph(model: nn.Module, images: Tensor) -> Any:
    """The ModelProto, of any number of images, without a word of the code that it was made from."""
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise _missing("onnxscript") from None
    for talkative in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(talkative).setLevel(logging.ERROR)
    batch = {"images": {0: torch.export.Dim("batch", min=1)}}
    program = torch.onnx.export(
        model, (images,), dynamo=True, opset_version=OPSET, dynamic_shapes=batch, verbose=False,
        input_names=["images"], output_names=["features"], external_data=False,
    )  # fmt: skip
    proto = program.model_proto
    for node in proto.graph.node:  # stack traces: paths of this machine
        del node.metadata_props[:]
        node.doc_string = ""
    return proto


def _check(content: bytes, images: Tensor, expected: Tensor, path: Path) -> None:
    try:
        import onnxruntime
    except ImportError:
        raise _missing("onnxruntime") from None
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images.numpy()})
    off = (torch.from_numpy(found) - expected).abs().max() / expected.abs().max()
    if not off <= TOLERANCE:
        raise ExportError(
            f"{path}: onnxruntime's features differ by {off:.1g} of the largest, so nothing was "
            "written: another version of torch, or of onnxscript, may help"
        )
    log.info("onnxruntime's features differ by %.1g of the largest, on random images", off)


def _missing(library: str) -> ExportError:
    return ExportError(f'{library} is not installed: pip install -e ".[export]"')
