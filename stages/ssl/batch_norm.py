"""Batch norm that sees less than a device's batch, or more.

MoCo splits it into groups, so that batch statistics do not give a query's key away. Most methods
synchronise it, so that the statistics are the whole batch's however many devices share it.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm

from stages.common.errors import SeppError
from stages.ssl import distributed
from stages.ssl.distributed import world_size

log = logging.getLogger(__name__)


class SplitBatchNorm(_BatchNorm):
    """Batch norm over groups of the batch apart, `splits` of them over all devices together.

    In MoCo it keeps a query's batch statistics from giving its key away when one device holds the
    whole batch (He et al. 2020, section 3.3). Running statistics are the mean over the groups,
    so that the state dict is that of an ordinary batch norm.
    """

    def __init__(self, num_features: int, splits: int) -> None:
        super().__init__(num_features)
        self.splits = splits

    def _check_input_dim(self, x: Tensor) -> None:
        pass  # of any: (B, C) or (B, C, …)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, …) -> (B, C, …)
        if not self.training:
            return _followed(self, super().forward(x))
        groups, rest = divmod(self.splits, world_size())
        if rest:
            raise SeppError(
                f"bn_splits: {self.splits} does not split over {world_size()} processes: "
                "choose a multiple, or 1 for one group on each"
            )
        if len(x) % groups:
            raise SeppError(
                f"bn_splits: {groups} does not divide the {len(x)} rows of a device: "
                "change it in methods.yaml, or batch_size in params.yaml"
            )
        means = self.running_mean.repeat(groups, 1)  # (groups, C)
        variances = self.running_var.repeat(groups, 1)
        # Group by group: folding the groups into channels undoes channels_last, at five times the
        # cost of a whole training step.
        parts = [
            batch_norm(part, mean, variance, self.weight, self.bias, True, self.momentum, self.eps)
            for part, mean, variance in zip(x.chunk(groups), means, variances, strict=True)
        ]
        self.running_mean.copy_(means.mean(0))
        self.running_var.copy_(variances.mean(0))
        self.num_batches_tracked.add_(1)
        return _followed(self, torch.cat(parts))


def split_batch_norms(model: nn.Module, splits: int) -> None:
    """Make every batch norm of `model` one over `splits` groups; for one split, leave them.

    Most transformers and ConvNeXts have none, only norms of each image by itself: nothing is split.
    """
    if splits == 1:
        return
    norms = _batch_norms(model)
    for path, norm in norms.items():
        _replace(model, path, SplitBatchNorm(norm.num_features, splits))
    if not norms:
        log.info(
            "bn_splits: %d: this backbone has no batch norms; nothing is split, and there are no "
            "batch statistics that could give a key away",
            splits,
        )


class SyncBatchNorm(_BatchNorm):
    """What torch's SyncBatchNorm computes, which has kernels for GPUs alone, in plain torch."""

    def _check_input_dim(self, x: Tensor) -> None:
        pass  # of any: (B, C) or (B, C, …)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, …) -> (B, C, …)
        if not self.training or world_size() == 1:
            return _followed(self, super().forward(x))
        kind, x = x.dtype, x.float()  # under autocast it may be bf16
        axes = [0, *range(2, x.dim())]
        shape = [1, -1, *[1] * (x.dim() - 2)]
        mean = distributed.mean(x.mean(axes))  # (C,); every process has as many rows
        centred = x - mean.view(shape)
        variance = distributed.mean(centred.square().mean(axes))
        count = x.numel() // x.shape[1] * world_size()
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        normed = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            normed = normed * self.weight.view(shape) + self.bias.view(shape)
        return _followed(self, normed.to(kind))


class SyncBatchNormOnGPU(nn.SyncBatchNorm):
    """torch's."""

    def forward(self, x: Tensor) -> Tensor:
        return _followed(self, super().forward(x))


def sync_batch_norms(model: nn.Module, device: torch.device) -> None:
    """Make every batch norm of `model`, if it has any, one over all devices of this kind.

    Its state dict stays as it was.
    """
    kind = SyncBatchNormOnGPU if device.type == "cuda" else SyncBatchNorm
    for path, norm in _batch_norms(model).items():
        _replace(model, path, kind(norm.num_features, affine=norm.affine))


def _batch_norms(model: nn.Module) -> dict[str, _BatchNorm]:
    """Those of torch, and timm's, which are of torch's kind; by their paths."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
    return {path: norm for path, norm in model.named_modules() if isinstance(norm, kinds)}


def _followed(norm: _BatchNorm, x: Tensor) -> Tensor:
    """What timm's batch norms do with what they have normalised: dropout and activation."""
    return norm.act(norm.drop(x)) if hasattr(norm, "act") else x


def _replace(model: nn.Module, path: str, new: _BatchNorm) -> None:
    """Put `new` in the place of the batch norm at `path`, with its settings and state."""
    parent, _, leaf = path.rpartition(".")
    old = model.get_submodule(path)
    new.eps, new.momentum = old.eps, old.momentum
    if hasattr(old, "act"):
        new.drop, new.act = old.drop, old.act
    new.load_state_dict(old.state_dict())
    for parameter, source in zip(new.parameters(), old.parameters(), strict=True):
        parameter.requires_grad_(source.requires_grad)  # a momentum encoder's takes none
    setattr(model.get_submodule(parent), leaf, new.to(next(old.buffers()).device))
