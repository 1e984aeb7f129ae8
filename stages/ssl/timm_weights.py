"""Weights of timm's models: those that it knows by name, folders that it has written for Hugging
Face, and what it makes of other projects' files.

Apart from `checkpoints`, so that only those who name one wait for the import.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub.errors import HfHubHTTPError
from torch import Tensor, nn

from stages.common.errors import CheckpointError, SeppError
from stages.common.given import Given
from stages.common.weights import identity
from stages.ssl import timm_backbones
from stages.ssl.backbones import TIMM
from stages.ssl.encoder import EncoderConfig

BUILDING = (RuntimeError, ValueError, AssertionError, TypeError, KeyError, AttributeError)
log = logging.getLogger(__name__)
Weights = dict[str, Tensor]


def named(given: Given) -> tuple[Weights, EncoderConfig]:
    """Those of ``timm/<model>.<weights>``, which timm fetches unless they are in its cache.

    Raises:
        CheckpointError: no such weights, or they cannot be fetched.
    """
    name, full = given.name, given.name.removeprefix(TIMM)
    if full not in timm.list_pretrained():
        near = timm.list_pretrained(f"{full.partition('.')[0]}.*")[:8]
        known = f"; there are {', '.join(TIMM + n for n in near)}" if near else ""
        raise CheckpointError(f"{given.leaf} {name!r}: timm has no such weights{known}")
    try:
        model = timm.create_model(full, pretrained=True, num_classes=0)
    except (OSError, HfHubHTTPError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"{given.leaf} {name!r}: timm could not fetch these weights ({reason})"
        ) from None
    config = _config(name, full.partition(".")[0], model.pretrained_cfg)
    return model.state_dict(), replace(config, training={"weights": identity(given)})


def config_of(folder: Path, about: dict[str, Any]) -> EncoderConfig:
    """What the encoder is that `timm.models.save_for_hf` has written to `folder`.

    Args:
        about: its config.json.

    Raises:
        CheckpointError: timm has no such model, or it was made with arguments that give another.
    """
    # Without what would make timm read other files, or fetch some.
    other = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path")
    arguments = {k: v for k, v in (about.get("model_args") or {}).items() if k not in other}
    preset = {**about, **about.get("pretrained_cfg", {})}  # older folders have one level
    size = arguments.get("img_size") or preset["input_size"][1:]
    preset["input_size"] = (3, *([size] * 2 if isinstance(size, int) else size))
    patch = arguments.get("patch_size")
    name = about["architecture"] + (f"-p{patch}" if patch else "")
    config = _config(str(folder), name, preset)
    try:
        ours, _ = timm_backbones.build(config.backbone, config.image_size)
        theirs = timm.create_model(about["architecture"], **{**arguments, "num_classes": 0})
        same = _same(ours, theirs, config.image_size)
    except (*BUILDING, SeppError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"{folder}/config.json: timm cannot make that ({reason})") from None
    if not same:
        raise CheckpointError(
            f"{folder}/config.json: model_args {json.dumps(arguments)} make another network than "
            f"{config.backbone}, for which there is no name"
        )
    return config


def _config(source: str, model: str, preset: dict[str, Any]) -> EncoderConfig:
    """Raises CheckpointError for images that are not square and of three channels."""
    channels, height, width = preset["input_size"]
    if channels != 3 or height != width:
        raise CheckpointError(
            f"{source}: takes images of {channels} channels and {height}x{width} pixels, not of "
            "three channels and square"
        )
    mean, std = tuple(preset["mean"]), tuple(preset["std"])
    return EncoderConfig(TIMM + model, "imagenet", height, mean, std)


@torch.no_grad()
def _same(ours: nn.Module, theirs: nn.Module, size: int) -> bool:
    """Whether both are one network: with the same weights, they make the same of an image."""
    if {k: v.shape for k, v in ours.state_dict().items()} != {
        k: v.shape for k, v in theirs.state_dict().items()
    }:
        return False
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    made = [model.eval()(x) for model in (ours, theirs)]
    return made[0].shape == made[1].shape and torch.allclose(*made, atol=1e-5)


def fitted(weights: Weights, config: EncoderConfig, own: Weights) -> Weights:
    """`weights` for the backbone of `config`, as timm translates other projects' names, and
    interpolates position embeddings for another size of images. As they are, where they fit
    already, or where timm cannot make them fit.

    Args:
        own: the state dict of such a backbone.
    """
    named = [key for key in own if not key.endswith("num_batches_tracked")]
    if all(key in weights and weights[key].shape == own[key].shape for key in named):
        return weights
    name, arguments = timm_backbones.arguments(config.backbone, config.image_size)
    source = {"state_dict": dict(weights), "num_classes": 0, "label_offset": 0}
    arguments |= {"pretrained": True, "pretrained_cfg_overlay": source, "pretrained_strict": True}
    try:
        made, again = (timm.create_model(name, **arguments).state_dict() for _ in range(2))
    except BUILDING as error:
        log.debug("%s: timm does not make them fit: %s", config.backbone, error)
        return weights
    # Some models of timm's take what fits and draw the rest at random, whatever is asked for.
    if not all(torch.equal(made[key], again[key]) for key in made):
        return weights
    changed = [k for k in made if k not in weights or weights[k].shape != made[k].shape]
    log.info("%s: timm has translated or resized %s", config.backbone, ", ".join(changed[:4]))
    return made
