"""The encoder that a training leaves behind: backbone, projection head, and how to feed it.

On disk it is a folder of `model.safetensors` and `config.json`, enough to rebuild it without the
method that trained it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.backends import cudnn

from stages.common.artifacts import atomic
from stages.common.errors import CheckpointError
from stages.common.pixels import decode, upright
from stages.ssl.backbones import build_backbone
from stages.ssl.heads import HeadSpec, build_head
from stages.ssl.preprocessing import Normalize, fitted

# On a GPU TF32 would round inputs to three digits: too few beside a threshold of 0.97.
exact = partial(cudnn.flags, enabled=True, deterministic=True, allow_tf32=False)

CONFIG, WEIGHTS = "config.json", "model.safetensors"  # files of its folder


@dataclass(frozen=True)
class EncoderConfig:
    backbone: str
    stem: str  # cifar | imagenet
    image_size: int  # pixels
    mean: tuple[float, float, float]  # of RGB in [0, 1]
    std: tuple[float, float, float]
    projection: HeadSpec | None = None
    training: dict[str, object] = field(default_factory=dict)  # how it was trained, for the reader


class Encoder(nn.Module):
    """Backbone and, where there is one, the projection head, both as at the end of training."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone, self.feature_dim = build_backbone(
            config.backbone, config.stem, config.image_size
        )
        self.projection = build_head(config.projection) if config.projection else None
        self.normalize = Normalize(config.mean, config.std)  # has no weights
        # Of a training that is to be continued: tensors and facts, written beside the weights.
        self.handover: tuple[dict[str, Tensor], dict[str, str]] | None = None

    @property
    def rows_seen(self) -> int:
        """How many rows it was trained on, not counting those of a training that it continued."""
        return self.config.training["steps"] * self.config.training["batch_size"]

    def dim(self, layer: str) -> int:
        """Dimension of `layer`'s features.

        Raises:
            CheckpointError: the projection is asked of an encoder that has none.
        """
        if layer == "backbone":
            return self.feature_dim
        if self.config.projection is None:
            raise CheckpointError(
                f"this encoder ({self.config.backbone}) has no projection head: "
                "set embed.layer: backbone in params.yaml, or give --layer backbone"
            )
        return self.config.projection[-1][1]

    def forward(self, images: Tensor, layer: str = "backbone") -> Tensor:
        """Normalised images (B, 3, S, S) to features (B, D) of `layer`, backbone or projection."""
        features = self.backbone(images)
        return self.projection(features) if layer == "projection" else features

    def preprocess(self, image: Image.Image | Path | str) -> Tensor:
        """An image, or the file of one, as `forward` takes it: float32 (3, S, S).

        Raises BrokenImage for a file that does not decode.
        """
        rgb = upright(image) if isinstance(image, Image.Image) else decode(Path(image))
        pixels = fitted(rgb, self.config.image_size).to(self.normalize.mean.device)
        return self.normalize(pixels.float() / 255)

    @torch.inference_mode()
    def embed(
        self,
        images: Image.Image | Path | str | Iterable[Image.Image | Path | str],
        layer: str = "backbone",
        batch_size: int = 64,
    ) -> Tensor:
        """Features float32 (N, D) of N images or their files, on the CPU; not normalised.

        `torch.nn.functional.normalize` of them has cosine similarities for its inner products. The
        encoder computes where it is: `encoder.to("cuda")` moves it.
        """
        single = isinstance(images, Image.Image | Path | str)
        images, rows = iter([images] if single else images), [torch.empty(0, self.dim(layer))]
        with exact():
            while batch := [self.preprocess(x) for x in itertools.islice(images, batch_size)]:
                rows.append(self(torch.stack(batch), layer).float().cpu())
        return torch.cat(rows)

    def save(self, folder: Path) -> None:
        with atomic(folder) as partial:
            partial.mkdir()
            weights = {k: v.detach().cpu().contiguous() for k, v in self.state_dict().items()}
            # Not save_file, whose error on a full disk is none of the operating system's.
            (partial / WEIGHTS).write_bytes(save(weights))
            if self.handover:
                tensors, about = self.handover
                (partial / "training.safetensors").write_bytes(save(tensors, about))
            config = json.dumps(asdict(self.config), indent=2)
            (partial / CONFIG).write_text(config + "\n")

    @classmethod
    def load(cls, folder: Path) -> Encoder:
        """Raises CheckpointError when the folder holds no encoder or its weights do not fit."""
        try:
            config = json.loads((folder / CONFIG).read_text())
            weights = load_file(folder / WEIGHTS)
            encoder = cls(EncoderConfig(**config))
        except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
            lacking = [file for file in (CONFIG, WEIGHTS) if not (folder / file).is_file()]
            why = f"no {lacking[0]}" if lacking else error
            raise CheckpointError(
                f"{folder}: holds no encoder ({why if folder.is_dir() else 'no such folder'}); "
                "`dvc repro` makes those of models/"
            ) from None
        load_strictly(encoder, weights, str(folder))
        return encoder.eval()


def load_strictly(module: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Load all of `weights` into all of `module`.

    Raises:
        CheckpointError: names keys that are missing, left over, or of another shape.
    """
    own = module.state_dict()
    # Counters of batches seen are absent from files written by old versions of torch.
    missing = [k for k in own if k not in weights and not k.endswith("num_batches_tracked")]
    unknown = [k for k in weights if k not in own]
    other = [
        f"{k} {tuple(weights[k].shape)} instead of {tuple(own[k].shape)}"
        for k in own
        if k in weights and weights[k].shape != own[k].shape
    ]
    problems = [
        f"{what} {', '.join(keys[:3])}{f' and {len(keys) - 3} more' if len(keys) > 3 else ''}"
        for what, keys in (("missing", missing), ("unknown", unknown), ("shape of", other))
        if keys
    ]
    if problems:
        raise CheckpointError(
            f"{source}: weights do not fit the network ({'; '.join(problems)}); "
            "check backbone, stem and views.image_size in params.yaml"
        )
    module.load_state_dict(weights, strict=False)


def weights_digest(module: nn.Module) -> str:
    """Hex digest of all parameters and buffers, bit for bit."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(
            value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        )
    return digest.hexdigest()
