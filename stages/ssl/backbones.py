"""Backbones by name: torchvision's classification models, a ten-layer ResNet, narrower ResNets, and
all of timm's."""

from __future__ import annotations

import re

import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from stages.common.errors import SeppError

# SqueezeNet has no linear layer to drop; the other two return several tensors in training.
UNFIT = ("squeezenet", "googlenet", "inception")
RESNETS = {  # that come in any width: block, and how many of them in each of the four stages
    "resnet10": (BasicBlock, [1, 1, 1, 1]),
    "resnet18": (BasicBlock, [2, 2, 2, 2]),
    "resnet34": (BasicBlock, [3, 4, 6, 3]),
    "resnet50": (Bottleneck, [3, 4, 6, 3]),
}
USUAL_WIDTH = 64  # channels of a ResNet's first stage
TIMM = "timm/"  # before the names of timm's


class NarrowResNet(ResNet):
    """torchvision's ResNet with `width` channels in the first stage instead of 64, and so on."""

    def __init__(self, block: type[nn.Module], layers: list[int], width: int) -> None:
        self.width = width
        super().__init__(block, layers)
        # Those that torchvision makes before and after the stages.
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.bn1 = nn.BatchNorm2d(width)
        self.fc = nn.Linear(8 * width * block.expansion, 1000)

    def _make_layer(self, block, planes, blocks, stride=1, dilate=False) -> nn.Sequential:
        if planes == USUAL_WIDTH:
            self.inplanes = self.width  # of the first stage; later ones follow from it
        planes = planes * self.width // USUAL_WIDTH
        return super()._make_layer(block, planes, blocks, stride, dilate)


def names() -> list[str]:
    known = torchvision.models.list_models(module=torchvision.models)
    return ["resnet10", *(name for name in known if not name.startswith(UNFIT))]


def build_backbone(name: str, stem: str, image_size: int | None = None) -> tuple[nn.Module, int]:
    """A randomly initialised backbone without its classifier, and its feature dimension.

    ResNets start as torchvision's do: the last batch norm of a block is 1, not 0, for which
    there is `zero_last_norms`.

    Args:
        name: one of `names()`; a ResNet of 10, 18, 34 or 50 layers also with its width, the
            channels of its first stage, behind it: ``resnet10-w32`` has half the usual 64. Or a
            model of timm's, see `timm_backbones`.
        stem: ``imagenet`` leaves the model as it is; ``cifar`` gives a ResNet a 3x3 first
            convolution of stride 1 and no max-pool, for images of 32 pixels or so.
        image_size: pixels, edge, of the images to come, which a transformer is made for; None:
            the library's own.

    Raises:
        SeppError: unknown name, or a stem or an image size that the model cannot have.
    """
    if is_timm(name):
        from stages.ssl import timm_backbones  # half a second, for those who name one

        model, dim = timm_backbones.build(name, image_size)
        resnet: type[nn.Module] = timm_backbones.ResNet
    else:
        model, resnet = _torchvision(name, image_size), ResNet
        dim = _drop_classifier(model)
    if stem == "cifar":
        if not isinstance(model, resnet):
            raise SeppError(f"stem: cifar is for ResNets; backbone {name} needs stem: imagenet")
        _narrow_stem(model)
    return model, dim


def is_timm(name: str) -> bool:
    return name.startswith(TIMM)


def _torchvision(name: str, image_size: int | None) -> nn.Module:
    """With its classifier; raises SeppError as `build_backbone`."""
    narrow = re.fullmatch(rf"({'|'.join(RESNETS)})-w(\d+)", name)
    if narrow and (int(narrow[2]) % 8 or int(narrow[2]) == 0):
        raise SeppError(f"backbone {name!r}: a width is a multiple of 8, e.g. {narrow[1]}-w32")
    if name not in names() and not narrow:
        near = [n for n in names() if n.startswith(name[:3])] or names()
        raise SeppError(
            f"unknown backbone {name!r}; near it are {', '.join(near[:12])}; timm's are timm/<name>"
        )
    if narrow:
        return NarrowResNet(*RESNETS[narrow[1]], int(narrow[2]))
    if name == "resnet10":
        return ResNet(*RESNETS[name])
    try:
        return torchvision.models.get_model(name, weights=None, **size_arguments(name, image_size))
    except (ValueError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise SeppError(
            f"backbone {name} cannot be made for a views.image_size of {image_size} ({reason})"
        ) from None


def size_arguments(name: str, image_size: int | None) -> dict[str, object]:
    """With what torchvision makes a model for images of one size, if that is in its weights."""
    if image_size and name.startswith("vit_"):
        return {"image_size": image_size}
    if image_size and name.startswith("maxvit_"):
        return {"input_size": (image_size, image_size)}
    return {}


def _narrow_stem(model: nn.Module) -> None:
    """A ResNet's, for small images; of timm's deep stems, whose first convolution is 3x3, only the
    stride changes."""
    first = model.conv1
    if isinstance(first, nn.Sequential):
        first[0].stride = (1, 1)
    else:
        model.conv1 = nn.Conv2d(3, first.out_channels, 3, stride=1, padding=1, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()


def zero_last_norms(model: nn.Module) -> None:
    """Scale the last batch norm of every residual block by 0, so that at first each block is its
    shortcut (Goyal et al. 2017, section 5.1; torchvision's `zero_init_residual`). What is no ResNet
    stays as it is."""
    for block in model.modules():
        if isinstance(block, BasicBlock | Bottleneck):
            last = block.bn3 if isinstance(block, Bottleneck) else block.bn2
            nn.init.zeros_(last.weight)
        elif hasattr(block, "zero_init_last"):  # one of timm's
            block.zero_init_last()


def _drop_classifier(model: nn.Module) -> int:
    """Replace the last linear layer, which every torchvision classifier ends in, by identity."""
    path, last = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)][-1]
    parent, _, leaf = path.rpartition(".")
    setattr(model.get_submodule(parent), leaf, nn.Identity())
    return last.in_features
