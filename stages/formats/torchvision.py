"""torchvision: a safetensors file of the backbone's weights under torchvision's keys."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
import torchvision
from torch import nn
from torchvision.models.resnet import ResNet

from stages.formats import ExportError, facts
from stages.formats._code import Network, call, literal, plan, script, stem
from stages.formats._weights import write_weights
from stages.ssl.backbones import NarrowResNet, size_arguments
from stages.ssl.encoder import Encoder

SUFFIX, LAYERS = ".safetensors", ("backbone",)


def write(encoder: Encoder, layer: str, path: Path) -> None:
    network(encoder)  # or an error
    about = json.dumps(facts(encoder, layer))
    write_weights(path, encoder.backbone.state_dict(), "encoder", about)


def usage(encoder: Encoder, layer: str, name: str) -> str:
    load = f"model.load_state_dict(load_file({literal(name)}))"
    built = network(encoder)
    imports = (*built.imports, "from safetensors.torch import load_file")
    return script(encoder, Network(imports, built.lines), load)


def network(encoder: Encoder) -> Network:
    """The backbone by torchvision's functions and classes.

    Raises:
        ExportError: it is another library's.
    """
    name, net = encoder.config.backbone, encoder.backbone
    if name in torchvision.models.list_models(module=torchvision.models):
        sized = size_arguments(name, encoder.config.image_size)
        made = call("torchvision.models.get_model", name, **sized)
        dropped = f"{_classifier(name)} = nn.Identity()"
        return Network(("import torchvision",), (made, *stem(encoder), dropped))
    if not isinstance(net, ResNet):
        raise ExportError(f"torchvision has no {name}: --format timm, huggingface and onnx hold it")
    block, layers, width = plan(net)
    lines = [f"model = ResNet({block}, {layers})"]
    if isinstance(net, NarrowResNet):
        lines += [
            f"model.inplanes = {width}",
            f"for place, (blocks, stride) in enumerate(zip({layers}, [1, 2, 2, 2])):",
            f"    layer = model._make_layer({block}, {width} * 2**place, blocks, stride)",
            '    setattr(model, f"layer{place + 1}", layer)',
        ]
    imports = (f"from torchvision.models.resnet import {block}, ResNet",)
    return Network(imports, (*lines, *stem(encoder), "model.fc = nn.Identity()"))


def _classifier(name: str) -> str:
    """Where a model of torchvision's has its last linear layer, as Python."""
    with torch.device("meta"):
        modules = torchvision.models.get_model(name).named_modules()
    path = [path for path, module in modules if isinstance(module, nn.Linear)][-1]
    return "model." + re.sub(r"\.(\d+)", r"[\1]", path)
