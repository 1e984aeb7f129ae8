"""`sampler.checkpoint`: an encoder from weights that somebody else trained, or an earlier run."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from stages.common.errors import CheckpointError
from stages.common.sections import is_torchvision
from stages.common.weights import locate
from stages.ssl.backbones import build_backbone
from stages.ssl.encoder import Encoder, EncoderConfig, load_strictly
from stages.ssl.heads import mlp

WRAPPERS = ("state_dict", "model")  # in which a training's checkpoint keeps its weights
HEADS = ("fc.", "classifier.", "head.", "heads.", "projection.")  # what follows a backbone


def from_checkpoint(name: str, config: EncoderConfig) -> Encoder:
    """The encoder that `name` stands for.

    Args:
        name: a folder written by `Encoder.save` (it brings its own config), a ``.safetensors``
            or torch state-dict file for the backbone in `config`, or the name of a torchvision
            weight such as ``ResNet50_Weights.IMAGENET1K_V2``.
        config: backbone, stem and preprocessing for a bare file; a projection head is taken from
            the file where it has one (MoCo's ``fc.0``, ``fc.2``).

    Raises:
        CheckpointError: no such file or weight, not loadable without pickle, or keys do not fit.
    """
    if is_torchvision(name):
        return _from_torchvision(name)
    path = locate(name)
    if path.is_dir():
        return Encoder.load(path)
    return _from_state_dict(_read(path), config, str(path))


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path}: does not load as plain weights ({reason})") from None
    for wrapper in WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise CheckpointError(f"{path}: holds no state dict of tensors")
    return loaded


def _from_state_dict(weights: dict[str, Tensor], config: EncoderConfig, source: str) -> Encoder:
    """A bare state dict: keys of the backbone as torchvision names them, maybe behind a prefix."""
    own = list(build_backbone(config.backbone, config.stem, config.image_size)[0].state_dict())
    prefix = _prefix(weights, own[0])
    inner = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    head = {k: v for k, v in inner.items() if k.startswith(HEADS) and k not in own}
    projection = None
    if {"fc.0.weight", "fc.2.weight"} <= set(head):  # MoCo-v2: linear, ReLU, linear
        first, second = head["fc.0.weight"], head["fc.2.weight"]
        projection = mlp(*first.shape[::-1], second.shape[0], norm=None)
    encoder = Encoder(EncoderConfig(**{**vars(config), "projection": projection}))
    body = {k: v for k, v in inner.items() if k not in head}
    load_strictly(encoder.backbone, body, source)
    if projection:
        renamed = {k.replace("fc.", "layers."): v for k, v in head.items()}
        load_strictly(encoder.projection, renamed, source)
    return encoder.eval()


def _prefix(weights: dict[str, Tensor], first: str) -> str:
    """What stands before the backbone's `first` key, e.g. ``module.encoder_q.``; else nothing.

    Of several encoders the query's or student's is meant, not its moving average.
    """
    found = [key.removesuffix(first) for key in weights if key.endswith(first)]
    found = [prefix for prefix in found if not prefix or prefix.endswith(".")]
    online = [p for p in found if not any(word in p for word in ("_k.", "teacher", "momentum"))]
    return min(online or found or [""], key=len)


def _from_torchvision(name: str) -> Encoder:
    backbone = name.split("_Weights.")[0].lower()
    try:
        weight = torchvision.models.get_weight(name)
        # Not get_model(weights=…), which would unpickle the file without weights_only.
        weights = weight.get_state_dict(progress=True, check_hash=True, weights_only=True)
        preset = weight.transforms()
        size, mean, std = preset.crop_size[0], tuple(preset.mean), tuple(preset.std)
    except (ValueError, AttributeError, KeyError, OSError) as error:
        raise CheckpointError(f"sampler.checkpoint {name!r}: {error}") from None
    config = EncoderConfig(backbone, "imagenet", size, mean, std, training={"weights": name})
    return _from_state_dict(weights, config, name)
