"""Weights that somebody else trained, or an earlier run: as the sampler, or for a training to start
from."""

from __future__ import annotations

import argparse
import json
import logging
import pickle
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from stages.common.errors import CheckpointError
from stages.common.given import Given
from stages.common.weights import CONFIG, identity, in_folder, locate
from stages.ssl.backbones import build_backbone, is_timm
from stages.ssl.encoder import Encoder, EncoderConfig, load_strictly
from stages.ssl.heads import mlp

WRAPPERS = ("state_dict", "model")  # in which a training's checkpoint keeps its weights
# What follows a backbone.
HEADS = ("fc.", "classifier.", "head.", "heads.", "head_dist.", "last_linear.", "projection.")
log = logging.getLogger(__name__)


class Found(NamedTuple):
    """What weights there are, and what they are for."""

    weights: dict[str, Tensor]
    config: EncoderConfig | None  # None: a bare file does not say
    source: str  # for messages


def from_checkpoint(given: Given, config: EncoderConfig) -> Encoder:
    """The encoder that `given` stands for.

    Args:
        given: a folder written by `Encoder.save` or by timm for Hugging Face, each of which brings
            its own config; a ``.safetensors`` or torch state-dict file for the backbone in
            `config`; or a name: torchvision's such as ``ResNet50_Weights.IMAGENET1K_V2``, or
            timm's such as ``timm/resnet50.a1_in1k``.
        config: backbone, stem and preprocessing for a bare file; a projection head is taken from
            the file where it has one (MoCo's ``fc.0``, ``fc.2``).

    Raises:
        CheckpointError: no such file or weight, not loadable without pickle, or keys do not fit.
    """
    found = _find(given)
    config = found.config or config
    if config.projection:  # an earlier run's: all of it
        encoder = Encoder(config)
        load_strictly(encoder, found.weights, found.source)
        return encoder.eval()
    body, head = _parts(found.weights, config)
    projection = None
    if {"fc.0.weight", "fc.2.weight"} <= set(head):  # MoCo-v2: linear, ReLU, linear
        first, second = head["fc.0.weight"], head["fc.2.weight"]
        projection = mlp(*first.shape[::-1], second.shape[0], norm=None)
    encoder = Encoder(EncoderConfig(**{**vars(config), "projection": projection}))
    load_strictly(encoder.backbone, body, found.source)
    if projection:
        renamed = {k.replace("fc.", "layers."): v for k, v in head.items()}
        load_strictly(encoder.projection, renamed, found.source)
    return encoder.eval()


def backbone_weights(given: Given, config: EncoderConfig) -> dict[str, Tensor]:
    """Those that `given` has for the backbone of `config`; see `from_checkpoint`.

    Raises:
        CheckpointError: no such file or weight, or not loadable without pickle.
    """
    found = _find(given)
    theirs = found.config
    if theirs and theirs.backbone != config.backbone:  # of which some have weights of equal shapes
        log.warning(
            "%s %s is of backbone %s; it is to be taken by %s, which may compute something else",
            *(given.leaf, given.name, theirs.backbone, config.backbone),
        )
    if theirs and (theirs.mean, theirs.std) != (config.mean, config.std):
        log.warning(
            "%s %s was trained on images of mean %s and std %s; those of views are others",
            *(given.leaf, given.name, theirs.mean, theirs.std),
        )
    return _parts(found.weights, config)[0]


def _find(given: Given) -> Found:
    if given.is_torchvision:
        return _torchvision(given)
    if given.is_timm:
        from stages.ssl import timm_weights

        return Found(*timm_weights.named(given), given.name)
    path = locate(given)
    if path.is_file():
        return Found(_read(path), None, str(path))
    config = _config(path)
    return Found(_read(in_folder(path)), config, str(path))


def _config(folder: Path) -> EncoderConfig:
    """What the weights in `folder` are of, by its config.json; raises CheckpointError."""
    try:
        about = json.loads((folder / CONFIG).read_text())
        if "architecture" in about:
            from stages.ssl import timm_weights

            return timm_weights.config_of(folder, about)
        if "model_type" in about:
            raise TypeError(f"but a {about['model_type']} of transformers")
        own = EncoderConfig(**about)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{folder}: holds no encoder ({error}); a folder is models/<arm>-<seed> of an earlier "
            "run, or what timm's save_for_hf or push_to_hf_hub wrote"
        ) from None
    return replace(own, mean=tuple(own.mean), std=tuple(own.std))  # JSON has lists only


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # Trainings keep their arguments beside the weights; a namespace runs no code.
        with torch.serialization.safe_globals([argparse.Namespace]):
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


def _parts(
    weights: dict[str, Tensor], config: EncoderConfig
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A state dict's backbone, as that of `config` names its parts, maybe behind a prefix, and
    what of a head there is behind it."""
    own = build_backbone(config.backbone, config.stem, config.image_size)[0].state_dict()
    prefix = _prefix(weights, next(iter(own)))
    inner = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    head = {k: v for k, v in inner.items() if k.startswith(HEADS) and k not in own}
    body = {k: v for k, v in inner.items() if k not in head}
    if is_timm(config.backbone):
        from stages.ssl import timm_weights

        body = timm_weights.fitted(body, config, own)
    return body, head


def _prefix(weights: dict[str, Tensor], first: str) -> str:
    """What stands before the backbone's `first` key, e.g. ``module.encoder_q.``; else nothing.

    Of several encoders the query's or student's is meant, not its moving average.
    """
    found = [key.removesuffix(first) for key in weights if key.endswith(first)]
    found = [prefix for prefix in found if not prefix or prefix.endswith(".")]
    online = [p for p in found if not any(word in p for word in ("_k.", "teacher", "momentum"))]
    return min(online or found or [""], key=len)


def _torchvision(given: Given) -> Found:
    backbone = given.name.split("_Weights.")[0].lower()
    try:
        weight = torchvision.models.get_weight(given.name)
        # Not get_model(weights=…), which would unpickle the file without weights_only.
        weights = weight.get_state_dict(progress=True, check_hash=True, weights_only=True)
        preset = weight.transforms()
        size, mean, std = preset.crop_size[0], tuple(preset.mean), tuple(preset.std)
    except (ValueError, AttributeError, KeyError, OSError) as error:
        raise CheckpointError(f"{given.leaf} {given.name!r}: {error}") from None
    training = {"weights": identity(given)}
    config = EncoderConfig(backbone, "imagenet", size, mean, std, training=training)
    return Found(weights, config, given.name)
