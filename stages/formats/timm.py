"""timm: a safetensors file of the backbone's weights under timm's keys."""

from __future__ import annotations

import json
from pathlib import Path

from torchvision.models.resnet import ResNet

from stages.formats import ExportError, facts
from stages.formats._code import Network, call, literal, plan, script, stem
from stages.formats._weights import write_weights
from stages.ssl.backbones import NarrowResNet, is_timm
from stages.ssl.encoder import Encoder

SUFFIX, LAYERS = ".safetensors", ("backbone",)


def write(encoder: Encoder, layer: str, path: Path) -> None:
    network(encoder)  # or an error
    about = json.dumps(facts(encoder, layer))
    write_weights(path, encoder.backbone.state_dict(), "encoder", about)


def usage(encoder: Encoder, layer: str, name: str) -> str:
    if registered(encoder):
        return script(encoder, network(encoder, checkpoint_path=name))
    return script(encoder, network(encoder), f"timm.models.load_checkpoint(model, {literal(name)})")


def registered(encoder: Encoder) -> bool:
    """Whether timm makes the very network by a name, and arguments beside it."""
    return known(encoder) is not None and not stem(encoder)


def known(encoder: Encoder) -> tuple[str, dict[str, object]] | None:
    """The name by which timm makes the network, but for its stem, and the arguments beside it."""
    name = encoder.config.backbone
    if is_timm(name):
        from stages.ssl.timm_backbones import arguments  # half a second, for those who name one

        name, keywords = arguments(name, encoder.config.image_size)
        return name, {key: value for key, value in keywords.items() if key != "num_classes"}
    if not isinstance(encoder.backbone, ResNet) or isinstance(encoder.backbone, NarrowResNet):
        return None
    return ("resnet18", {"layers": (1, 1, 1, 1)}) if name == "resnet10" else (name, {})


def network(encoder: Encoder, **more: object) -> Network:
    """The backbone by timm's names, with arguments beside them, or classes. Its ResNets have the
    keys of torchvision's.

    Raises:
        ExportError: torchvision's, of another kind, has other keys there.
    """
    if named := known(encoder):
        name, arguments = named
        made = call("timm.create_model", name, num_classes=0, **arguments, **more)
        return Network(("import timm",), (made, *stem(encoder)))
    if not isinstance(encoder.backbone, ResNet):
        raise ExportError(
            f"timm has other keys for the weights of torchvision's {encoder.config.backbone}: "
            "--format torchvision, huggingface and onnx hold it"
        )
    block, layers, width = plan(encoder.backbone)
    blocks, widths = tuple(layers), tuple(width * 2**place for place in range(4))
    lines = (
        f"model = ResNet({block}, {blocks}, num_classes=0, channels={widths})",
        f"for name, layer in make_blocks(({block},) * 4, {widths}, {blocks}, {width})[0]:",
        "    setattr(model, name, layer)",
    )
    classes = f"from timm.models.resnet import {block}, ResNet, make_blocks"
    return Network(("import timm", classes), (*lines, *stem(encoder)))
