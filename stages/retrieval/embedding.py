"""Features of any number of images, streamed: memory holds a few batches, whatever the count."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stages.common import env
from stages.common.errors import BrokenImage, DataError, some
from stages.common.pixels import decode
from stages.common.progress import Progress
from stages.common.threads import in_order
from stages.common.unit import unit_rows
from stages.retrieval.images import Found, Images
from stages.ssl.encoder import Encoder, exact
from stages.ssl.inference import Pass, devices
from stages.ssl.preprocessing import fitted

log = logging.getLogger(__name__)
BATCH = 64  # images a forward pass


class Embedded(NamedTuple):
    """B images, in their order."""

    paths: list[str]
    labels: list[str | None]
    features: np.ndarray  # (B, D) float32


class _Seen(NamedTuple):
    path: str
    label: str | None
    pixels: Tensor | BrokenImage  # uint8 (3, S, S)


def embed_images(
    encoder: Encoder, images: Images, layer: str, skip_broken: bool, source: Path
) -> Iterator[Embedded]:
    """Features of all `images`, in their order, on all devices that SEPP_DEVICES names.

    Batches are cut before broken images are left out, so that neither these nor the number of
    devices has a say in which images share one: each device gives the same bits for a batch.

    Raises:
        DataError: an image does not decode, unless `skip_broken`, which names what is left out;
            or none does.
        EmbeddingError: features are not finite, or all 0; it names the encoder `source`.
    """
    see = partial(_see, size=encoder.config.image_size)
    seen = in_order(see, images, max(1, env.workers()), 2 * BATCH)
    passes = [Pass(encoder, device, (layer,), None) for device in devices()]
    work = partial(_features, dim=encoder.dim(layer))
    jobs = zip(itertools.cycle(passes), _batches(seen), strict=False)
    broken: list[BrokenImage] = []
    with Progress("embed", len(images), "images") as progress, exact():
        for rows, unseen in in_order(work, jobs, len(passes), len(passes)):
            broken += unseen
            if broken and not skip_broken:
                raise DataError(f"{broken[0]}, or leave all such images out: --skip-broken")
            if rows.paths:
                unit_rows(rows.features, np.array(rows.paths, dtype=object), source)  # a check
            progress.advance(len(rows.paths) + len(unseen))
            yield rows
    if len(broken) == len(images):
        raise DataError(f"{images.where}: no image decodes: {some(broken)}")
    if broken:
        log.warning("images that do not decode, left out: %d, %s", len(broken), some(broken))


def _see(found: Found, size: int) -> _Seen:
    try:
        return _Seen(found.path, found.label, fitted(decode(found.source, found.path), size))
    except BrokenImage as error:  # without the frames, which hold the content
        return _Seen(found.path, found.label, BrokenImage(error.where, error.reason))


def _batches(seen: Iterable[_Seen]) -> Iterator[list[_Seen]]:
    seen = iter(seen)
    while batch := list(itertools.islice(seen, BATCH)):
        yield batch


def _features(job: tuple[Pass, list[_Seen]], dim: int) -> tuple[Embedded, list[BrokenImage]]:
    run, batch = job
    broken = [one.pixels for one in batch if isinstance(one.pixels, BrokenImage)]
    good = [one for one in batch if isinstance(one.pixels, Tensor)]
    if not good:
        return Embedded([], [], np.empty((0, dim), np.float32)), broken
    (features,) = run(0, torch.stack([one.pixels for one in good])).values()  # of its one layer
    return Embedded([one.path for one in good], [one.label for one in good], features), broken
