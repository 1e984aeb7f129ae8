"""Features of un-augmented images, streamed: memory is bounded by one batch, whatever the count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.backends import cudnn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from stages.common import env
from stages.common.errors import SeppError
from stages.common.images import ImageStore
from stages.common.params import Views
from stages.common.progress import Progress
from stages.ssl.batches import step_seed
from stages.ssl.encoder import Encoder, EncoderConfig
from stages.ssl.views import Normalize, RandomViews


class PlainImages(Dataset):
    """Images as the encoder wants to see them, without augmentation: uint8 (3, S, S).

    An image that already has S x S pixels is left alone. Any other is resized, its shorter edge to
    S * 256 / 224, and its centre cropped: the usual protocol of ImageNet.
    """

    def __init__(self, store: ImageStore, ids: np.ndarray, size: int) -> None:
        self.store, self.ids, self.size = store, ids, size
        self.resize = v2.Compose(
            [v2.Resize(round(size * 256 / 224), antialias=True), v2.CenterCrop(size)]
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Tensor:
        pixels = torch.from_numpy(np.array(self.store.pixels(int(self.ids[index])))).permute(
            2, 0, 1
        )
        return pixels if pixels.shape[1:] == (self.size, self.size) else self.resize(pixels)


def device() -> torch.device:
    """The device that SEPP_ACCELERATOR names; for auto, a GPU where there is one."""
    name = env.accelerator()
    if name in ("gpu", "cuda") and not torch.cuda.is_available():
        raise SeppError(f"environment: SEPP_ACCELERATOR={name}: this torch sees no GPU")
    if name in ("auto", "gpu", "cuda"):
        on_gpu = env.on_gpu(torch.cuda.is_available())
        return torch.device("cuda", env.local_rank()) if on_gpu else torch.device("cpu")
    try:
        return torch.device(name)
    except RuntimeError:
        raise SeppError(
            f"environment: SEPP_ACCELERATOR={name}: no such device; auto, cpu, gpu and mps are"
        ) from None


class RandomEmbeddings(NamedTuple):
    """Random views whose embeddings are averaged with the un-augmented image's."""

    augmentation: Views
    count: int = 0
    seed: int = 0  # of the views, together with the place of their batch


@torch.no_grad()
def encode(
    encoder: Encoder,
    store: ImageStore,
    ids: np.ndarray,
    layer: str,
    batch_size: int,
    label: str,
    views: RandomEmbeddings | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (ids (B,), float32 features (B, D)) for the images `ids`, in their order.

    With `views`, features are means of unit vectors: of the image's, and of each random view's,
    which are made of the same (3, S, S) pixels.
    """
    target = device()
    encoder = encoder.to(target).eval()
    config = encoder.config
    normalize = Normalize(config.mean, config.std).to(target)
    workers = 0 if store.packed is not None else env.workers()
    loader = DataLoader(PlainImages(store, ids, config.image_size), batch_size, num_workers=workers)
    draw = views and views.count and RandomViews(_sized(views.augmentation, config)).to(target)
    start = 0
    with Progress(label, len(ids), "images") as progress:
        for images in loader:
            # On a GPU TF32 would round inputs to three digits: too few beside a threshold of 0.97.
            with cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
                images = images.to(target)
                features = encoder(normalize(images.float() / 255), layer)
                if draw:
                    torch.manual_seed(step_seed(views.seed, start))
                    seen = [encoder(draw(images), layer) for _ in range(views.count)]
                    units = [torch.nn.functional.normalize(x) for x in (features, *seen)]
                    features = torch.stack(units).mean(0)
            yield ids[start : start + len(images)], features.float().cpu().numpy()
            start += len(images)
            progress.advance(len(images))


def _sized(augmentation: Views, config: EncoderConfig) -> Views:
    """The augmentation for what the encoder takes, which may have been trained elsewhere."""
    own = {"image_size": config.image_size, "mean": config.mean, "std": config.std}
    return augmentation.model_copy(update=own)
