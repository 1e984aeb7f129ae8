"""What of trainings and evaluations only torch can check, before anything long starts."""

from __future__ import annotations

from pathlib import Path

import torch

from stages.common.all_params import AllParams
from stages.common.errors import ParamError, SeppError
from stages.common.param_file import EVALUATIONS, METHODS, validate
from stages.common.params import load_all
from stages.common.plugins import plugin
from stages.common.sections import Training, Views
from stages.ssl.backbones import build_backbone
from stages.ssl.checkpoints import backbone_weights
from stages.ssl.encoder import EncoderConfig, load_strictly
from stages.ssl.methods import MethodParams, find_method
from stages.ssl.multi_crop import MultiCropParams


def check_trainings(file: Path) -> None:
    """Raises ParamError for a method, a backbone, its stem or input, a queue, masking, or the block
    of an evaluation; CheckpointError for weights that the arms are to start from."""
    everything: AllParams = load_all(file)
    methods, evaluations = file.with_name(METHODS), file.with_name(EVALUATIONS)
    for name in everything.evaluations:
        validate(evaluations, plugin("evaluation", name).Params, getattr(everything, name), name)
    blocks = {
        name: validate(methods, find_method(name).Params, values, name)
        for name, values in everything.methods.items()
    }
    method = everything.pretrain.method
    if everything.sepp.mask_partners and not find_method(method).has_negatives:
        raise ParamError(
            file, "sepp.mask_partners", f"true: {method} has no negatives to mask; set it to false"
        )
    for section in ("sampler", "pretrain"):
        training: Training = getattr(everything, section)
        params = blocks[training.method]
        sizes = {(file, "views.image_size"): everything.views.image_size}
        if isinstance(params, MultiCropParams) and params.local_views:
            sizes[methods, f"{training.method}.local_size"] = params.local_size
        _check_backbone(file, section, training, sizes)
        _check_queue(methods, section, training, params)
    if everything.pretrain.given:  # the sampler's it finds at once itself
        _check_weights(everything.pretrain, everything.views)


def _check_backbone(
    file: Path, section: str, training: Training, sizes: dict[tuple[Path, str], int]
) -> None:
    """That there is one, which takes images of these `sizes`, by the params that name them, with
    their file; it is made for the first."""
    try:
        backbone, _ = build_backbone(training.backbone, training.stem, next(iter(sizes.values())))
    except SeppError as error:
        raise ParamError(file, section, str(error)) from None
    for place, size in sizes.items():
        try:
            with torch.no_grad():
                backbone.eval()(torch.zeros(1, 3, size, size))
        except (RuntimeError, AssertionError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ParamError(
                *place,
                f"{size} is none that {section}.backbone {training.backbone} takes ({reason})",
            ) from None


def _check_weights(training: Training, views: Views) -> None:
    size = views.image_size
    config = EncoderConfig(training.backbone, training.stem, size, views.mean, views.std)
    backbone, _ = build_backbone(training.backbone, training.stem, size)
    load_strictly(backbone, backbone_weights(training.given, config), training.given.name)


def _check_queue(file: Path, section: str, training: Training, params: MethodParams) -> None:
    keys = find_method(training.method).keys_per_row(params) * training.batch_size
    if keys and keys > params.queue:
        raise ParamError(
            file,
            f"{training.method}.queue",
            f"{params.queue} is below the {keys} keys of one step: make it larger, or "
            f"{section}.batch_size smaller",
        )
