"""timm: a safetensors file of the backbone's weights under timm's keys."""

from __future__ import annotations

import json
from pathlib import Path

from torchvision.models.resnet import ResNet

from stages.formats import ExportError, facts
from stages.formats._code import Network, literal, plan, script
from stages.formats._weights import write_weights
from stages.ssl.encoder import Encoder

SUFFIX, LAYERS = ".safetensors", ("backbone",)


def write(encoder: Encoder, layer: str, path: Path) -> None:
    network(encoder)  # or an error
    about = json.dumps(facts(encoder, layer))
    write_weights(path, encoder.backbone.state_dict(), "encoder", about)


def usage(encoder: Encoder, layer: str, name: str) -> str:
    if registered(encoder):
        return script(encoder, network(encoder, {"checkpoint_path": name}))
    return script(encoder, network(encoder), f"timm.models.load_checkpoint(model, {literal(name)})")


def registered(encoder: Encoder) -> bool:
    """Whether timm makes the very network by a name, and arguments beside it."""
    return known(encoder) is not None and not plan(encoder.backbone).stem


def known(encoder: Encoder) -> tuple[str, dict[str, object]] | None:
    """The name by which timm makes the network, but for its stem, and the arguments beside it."""
    name, net = encoder.config.backbone, encoder.backbone
    if not isinstance(net, ResNet) or not plan(net).usual:
        return None
    return ("resnet18", {"layers": (1, 1, 1, 1)}) if name == "resnet10" else (name, {})


def network(encoder: Encoder, more: dict[str, object] | None = None) -> Network:
    """The backbone by timm's names, with arguments beside them, or classes. Its ResNets have the
    keys of torchvision's.

    Raises:
        ExportError: torchvision's, of another kind, has other keys there.
    """
    net = encoder.backbone
    if not isinstance(net, ResNet):
        raise ExportError(
            f"timm has other keys for the weights of torchvision's {encoder.config.backbone}: "
            "--format torchvision, huggingface and onnx hold it"
        )
    block, layers, width, stem = plan(net)
    if named := known(encoder):
        name, arguments = named
        given = {"num_classes": 0, **arguments, **(more or {})}
        told = "".join(f", {key}={literal(value)}" for key, value in given.items())
        made = f"model = timm.create_model({literal(name)}{told})"
        return Network(("import timm",), (made, *stem))
    blocks, widths = tuple(layers), tuple(width * 2**place for place in range(4))
    lines = (
        f"model = ResNet({block}, {blocks}, num_classes=0, channels={widths})",
        f"for name, layer in make_blocks(({block},) * 4, {widths}, {blocks}, {width})[0]:",
        "    setattr(model, name, layer)",
    )
    classes = f"from timm.models.resnet import {block}, ResNet, make_blocks"
    return Network(("import timm", classes), (*lines, *stem))
