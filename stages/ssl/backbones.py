"""Backbones by name: torchvision's classification models and a ten-layer ResNet."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torchvision.models.resnet import BasicBlock, ResNet

from stages.common.errors import SeppError
from stages.ssl.distributed import world_size

# SqueezeNet has no linear layer to drop; the other two return several tensors in training.
UNFIT = ("squeezenet", "googlenet", "inception")


def names() -> list[str]:
    known = torchvision.models.list_models(module=torchvision.models)
    return ["resnet10", *(name for name in known if not name.startswith(UNFIT))]


def build_backbone(name: str, stem: str) -> tuple[nn.Module, int]:
    """A randomly initialised backbone without its classifier, and its feature dimension.

    Args:
        name: one of `names()`.
        stem: ``imagenet`` leaves the model as it is; ``cifar`` gives a ResNet a 3x3 first
            convolution of stride 1 and no max-pool, for images of 32 pixels or so.

    Raises:
        SeppError: unknown name, or a stem that the model cannot have.
    """
    if name not in names():
        near = [n for n in names() if n.startswith(name[:3])] or names()
        raise SeppError(f"unknown backbone {name!r}; near it are {', '.join(near[:12])}")
    if name == "resnet10":
        model: nn.Module = ResNet(BasicBlock, [1, 1, 1, 1])
    else:
        model = torchvision.models.get_model(name, weights=None)
    if stem == "cifar":
        if not isinstance(model, ResNet):
            raise SeppError(f"stem: cifar is for ResNets; backbone {name} needs stem: imagenet")
        model.conv1 = nn.Conv2d(3, model.conv1.out_channels, 3, stride=1, padding=1, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
        model.maxpool = nn.Identity()
    return model, _drop_classifier(model)


def _drop_classifier(model: nn.Module) -> int:
    """Replace the last linear layer, which every torchvision classifier ends in, by identity."""
    path, last = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)][-1]
    parent, _, leaf = path.rpartition(".")
    setattr(model.get_submodule(parent), leaf, nn.Identity())
    return last.in_features


class SplitBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over groups of the batch apart, `splits` of them over all devices together.

    In MoCo it keeps a query's batch statistics from giving its key away when one device holds the
    whole batch (He et al. 2020, section 3.3). Running statistics are the mean over the groups,
    so that the state dict is that of an ordinary batch norm.
    """

    def __init__(self, num_features: int, splits: int) -> None:
        super().__init__(num_features)
        self.splits = splits

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, C, H, W)
        if not self.training:
            return super().forward(x)
        groups, rest = divmod(self.splits, world_size())
        if rest:
            raise SeppError(
                f"bn_splits: {self.splits} does not split over {world_size()} processes: "
                "choose a multiple, or 1 for one group on each"
            )
        if len(x) % groups:
            raise SeppError(
                f"bn_splits: {groups} does not divide the {len(x)} rows of a device: "
                "change it or batch_size in params.yaml"
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
        return torch.cat(parts)


def split_batch_norms(model: nn.Module, splits: int) -> None:
    """Make every batch norm of `model` one over `splits` groups; for one split, leave them."""
    if splits == 1:
        return
    for path, norm in list(model.named_modules()):
        if isinstance(norm, nn.BatchNorm2d):
            parent, _, leaf = path.rpartition(".")
            split = SplitBatchNorm2d(norm.num_features, splits)
            split.eps, split.momentum = norm.eps, norm.momentum
            split.load_state_dict(norm.state_dict())
            setattr(model.get_submodule(parent), leaf, split)
