"""Features of un-augmented images, streamed: memory is bounded by one batch, whatever the count."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from stages.common import env
from stages.common.errors import SeppError
from stages.common.images import ImageStore
from stages.common.progress import Progress
from stages.common.sections import Views
from stages.common.threads import in_order
from stages.ssl.batches import seed_draws, step_seed
from stages.ssl.encoder import Encoder, EncoderConfig, exact
from stages.ssl.preprocessing import central
from stages.ssl.views import RandomViews


class PlainImages(Dataset):
    """Images as the encoder wants to see them, without augmentation: uint8 (3, S, S)."""

    def __init__(self, store: ImageStore, ids: np.ndarray, size: int) -> None:
        self.store, self.ids, self.size = store, ids, size

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Tensor:
        pixels = np.array(self.store.pixels(int(self.ids[index])))
        return central(torch.from_numpy(pixels).permute(2, 0, 1), self.size)


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


def devices() -> list[torch.device]:
    """As many as SEPP_DEVICES says, for work that one process spreads over several."""
    first, count = device(), env.devices()
    there = torch.cuda.device_count() if first.type == "cuda" else 1
    count = there if count == "auto" else count
    if first.type != "cuda":
        return [first] * count
    if count > there:
        raise SeppError(f"environment: SEPP_DEVICES={count}: this torch sees {there} GPUs")
    return [torch.device("cuda", place) for place in range(count)] if count > 1 else [first]


class RandomEmbeddings(NamedTuple):
    """Random views whose embeddings are averaged with the un-augmented image's."""

    augmentation: Views
    counts: tuple[int, ...] = (0,)  # of views, each the first ones of the same series
    seed: int = 0  # of the views, together with the place of their batch


Features = dict[tuple[str, int], Tensor]  # (B, D) by layer and number of views


def encode(
    encoder: Encoder,
    store: ImageStore,
    ids: np.ndarray,
    layer: str,
    batch_size: int,
    label: str,
    views: RandomEmbeddings | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (ids (B,), float32 features (B, D)) for the images `ids`, in their order: those of one
    layer and, with `views`, of its one count. See `encode_each`."""
    for batch, features in encode_each(encoder, store, ids, (layer,), batch_size, label, views):
        yield batch, *features.values()


def encode_each(
    encoder: Encoder,
    store: ImageStore,
    ids: np.ndarray,
    layers: Sequence[str],
    batch_size: int,
    label: str,
    views: RandomEmbeddings | None = None,
) -> Iterator[tuple[np.ndarray, dict[tuple[str, int], np.ndarray]]]:
    """Yield (ids (B,), float32 features (B, D) by layer and count of views), in the order of `ids`.

    With a count of views above 0, features are means of unit vectors: of the image's, and of each
    random view's, which are made of the same (3, S, S) pixels. One pass gives all layers and
    counts, the bits of each as if it had been asked for alone. Batches go to all of `devices()` in
    turn; each gives the same bits for a batch.
    """
    config = encoder.config
    workers = 0 if store.packed is not None else env.workers()
    loader = DataLoader(PlainImages(store, ids, config.image_size), batch_size, num_workers=workers)
    targets = [device()] if env.one_of_several() else devices()  # others have theirs
    passes = [Pass(encoder, target, layers, views) for target in targets]
    jobs = zip(itertools.cycle(passes), itertools.count(step=batch_size), loader, strict=False)
    start = 0
    with Progress(label, len(ids), "images") as progress, exact():
        for features in in_order(_run, jobs, len(passes), len(passes)):
            count = len(next(iter(features.values())))
            yield ids[start : start + count], features
            start += count
            progress.advance(count)


class Pass:
    """What one device does with batches of un-augmented images."""

    drawing = Lock()  # draws come from generators that all threads share

    def __init__(
        self,
        encoder: Encoder,
        device: torch.device,
        layers: Sequence[str],
        views: RandomEmbeddings | None,
    ) -> None:
        self.device, self.layers, self.views = device, layers, views
        self.encoder = copy.deepcopy(encoder).to(device).eval()
        self.counts = views.counts if views else (0,)
        if any(self.counts):
            self.draw = RandomViews(_sized(views.augmentation, encoder.config)).to(device)

    @torch.no_grad()
    def __call__(self, start: int, images: Tensor) -> dict[tuple[str, int], np.ndarray]:
        """Features of uint8 (B, 3, S, S), the images from place `start` on."""
        images = images.to(self.device)
        plain = self.encoder.normalize(images.float() / 255)
        seen = (self._view(images, start, number) for number in range(max(self.counts)))
        inputs = itertools.chain([plain], seen)
        means = _means((_features(self.encoder, x, self.layers) for x in inputs), self.counts)
        return {key: x.float().cpu().numpy() for key, x in means.items()}

    def _view(self, images: Tensor, start: int, number: int) -> Tensor:
        with self.drawing:
            seed_draws(step_seed(self.views.seed, start, number))
            return self.draw(images)


def _run(job: tuple[Pass, int, Tensor]) -> dict[tuple[str, int], np.ndarray]:
    run, start, images = job
    return run(start, images)


def _features(encoder: Encoder, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """(B, D) of each layer."""
    backbone = encoder(images)
    return {x: encoder.projection(backbone) if x == "projection" else backbone for x in layers}


def _means(views: Iterator[dict[str, Tensor]], counts: Sequence[int]) -> Features:
    """Means over the image, which comes first, and so many of its views; of no view, as it is."""
    found: Features = {}
    sums: dict[str, Tensor] = {}
    for count, features in enumerate(views):
        for layer, x in features.items():
            unit = torch.nn.functional.normalize(x)
            sums[layer] = sums[layer] + unit if count else unit
            if count in counts:
                found[layer, count] = sums[layer] / (count + 1) if count else x
    return found


def _sized(augmentation: Views, config: EncoderConfig) -> Views:
    """The augmentation for what the encoder takes, which may have been trained elsewhere."""
    own = {"image_size": config.image_size, "mean": config.mean, "std": config.std}
    return augmentation.model_copy(update=own)
