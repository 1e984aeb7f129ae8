"""Hugging Face: a folder of weights and config.json, as its hub has them.

Networks that timm makes by a name are in timm's layout, which timm and transformers load by
themselves. Others come with a file of code, which transformers runs where it is trusted.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from stages.formats import facts, timm, torchvision
from stages.formats._code import Network, literal, preprocess, script
from stages.formats._weights import write_weights
from stages.reporting.templates import templates
from stages.ssl.backbones import is_timm
from stages.ssl.encoder import Encoder
from stages.ssl.preprocessing import shorter_edge

SUFFIX, LAYERS = "", ("backbone",)
CODE = "modeling_encoder"  # name of the module beside the weights
KIND = "sepp"  # what config.json calls networks that come with code
BESIDE = (f"{CODE}.py", "preprocessor_config.json")  # files that come with it
USAGE = """\
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel

processor = AutoImageProcessor.from_pretrained({name}, trust_remote_code=True)
model = AutoModel.from_pretrained({name}, trust_remote_code=True)

with torch.inference_mode():
    features = model(**processor(Image.open("photo.jpg"))).pooler_output  # (1, {features})
"""


def write(encoder: Encoder, layer: str, path: Path) -> None:
    """Into the folder `path`, which is there."""
    named = timm.registered(encoder)
    weights = encoder.backbone.state_dict()
    if not named:
        weights = {f"network.{key}": value for key, value in weights.items()}
    files = _of_timm(encoder) if named else _of_transformers(encoder, layer)
    write_weights(path / "model.safetensors", weights, "format", "pt")
    for name, text in files.items():
        (path / name).write_text(text)


def left(path: Path) -> tuple[str, ...]:
    """Files that timm's layout has not, where config.json is of the other one."""
    try:
        ours = json.loads((path / "config.json").read_text()).get("model_type") == KIND
    except (OSError, ValueError, AttributeError):
        return ()
    return BESIDE if ours else ()


def usage(encoder: Encoder, layer: str, name: str) -> str:
    if not timm.registered(encoder):
        return USAGE.format(name=literal(name), features=encoder.feature_dim)
    place = literal(f"local-dir:{name}")
    lines = (
        f"# Or transformers.AutoModel.from_pretrained({literal(name)}), of which pooler_output.",
        f"model = timm.create_model({place}, pretrained=True, num_classes=0)",
    )
    return script(encoder, Network(("import timm",), lines))


def _of_timm(encoder: Encoder) -> dict[str, str]:
    """Files by name. (timm takes another's preprocessing from config.json, too.)"""
    config = encoder.config
    name, arguments = timm.known(encoder)
    size = config.image_size
    preprocessing = {
        "input_size": [3, size, size],
        "interpolation": "bilinear",
        "crop_pct": crop_share(size),
        "crop_mode": "center",
        "mean": list(config.mean),
        "std": list(config.std),
        "num_classes": 0,
    }
    told = {
        "architecture": name,
        "num_classes": 0,
        "num_features": encoder.feature_dim,
        **({"model_args": arguments} if arguments else {}),
        "pretrained_cfg": preprocessing,
    }
    return {"config.json": _json(told)}


def crop_share(size: int) -> float:
    """What timm calls crop_pct: with as few digits as give the shorter edge that we resize to,
    which timm takes for the whole pixels of size / share."""
    edge = shorter_edge(size)
    shares = (round(size / edge, digits) for digits in range(3, 18))
    return next(share for share in shares if math.floor(size / share) == edge)


def _of_transformers(encoder: Encoder, layer: str) -> dict[str, str]:
    """Files by name."""
    config = encoder.config
    network = (timm if is_timm(config.backbone) else torchvision).network(encoder)
    code = templates(Path(__file__).parent, html=False).get_template("modeling.py.j2").render(
        imports=network.imports,
        network=network.lines,
        preprocess=preprocess(encoder),
        size=config.image_size,
        features=encoder.feature_dim,
    )  # fmt: skip
    told = {
        "model_type": KIND,
        "architectures": ["Encoder"],
        "auto_map": {"AutoConfig": f"{CODE}.EncoderConfig", "AutoModel": f"{CODE}.Encoder"},
        "hidden_size": encoder.feature_dim,
        **facts(encoder, layer),
    }
    processor = {
        "image_processor_type": "ImageProcessor",
        "auto_map": {"AutoImageProcessor": f"{CODE}.ImageProcessor"},
    }
    return {"config.json": _json(told), **dict(zip(BESIDE, (code, _json(processor)), strict=True))}


def _json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"
