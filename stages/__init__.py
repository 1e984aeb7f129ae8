"""Semantic positive pairs for self-supervised learning, as a DVC pipeline.

A module of this package is a DVC stage of the same name (`cli` is the `sepp` command); a folder is
library code. `load_encoder` is for who uses what comes out, in Python.

    source        lists the files of an external data set, so that a change in them is noticed
    prepare       data set                -> data/manifest.parquet, data/images.npy
    checkpoint    digests weights that were given, so that a change in them is noticed
    sampler       training images         -> models/sampler
    embed         K images, sampler       -> data/embeddings.parquet
    explore       embeddings              -> data/explored: what every threshold would give
    mine          embeddings              -> data/pairs.parquet
    combine       manifest, pairs         -> data/combined/<arm>-<seed>.parquet
    pretrain      combined rows, images   -> models/<arm>-<seed>
    linear_eval   encoder                 -> reports/metrics/linear_eval/<arm>-<seed>.json
    evaluate      encoder                 -> reports/metrics/evaluations/<evaluation>/…: those of
                  `evaluations`; evaluation_source lists what they read from outside
                  rounds: embed_again to evaluate_again, with what an arm has become
    report        all of the above        -> reports/summary.json, index.html, pairs.png
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stages.ssl.encoder import Encoder


# As a program, and not for who imports the package: Ctrl-C while libraries load is no defect.
if Path(sys.argv[0] if sys.argv else "").stem in ("-m", "sepp"):

    def _quiet(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)

    sys.excepthook = _quiet


def load_encoder(folder: Path | str) -> Encoder:
    """The encoder in `folder`, e.g. models/sepp-0: a torch module in eval mode, ready for use.

    encoder.embed(images)       features (N, D) of N images, each of Pillow's or a file's name
    encoder.preprocess(image)   one as the network takes it, float32 (3, S, S): resized, its centre
                                cropped, its channels normalised
    encoder(batch)              features (B, D) of such a batch (B, 3, S, S)
    encoder.config              S, mean, std, backbone, and how it was trained

    D is that of the backbone's features; `embed` and the call take layer="projection", too.

    Raises CheckpointError where the folder holds no encoder.
    """
    from stages.ssl.encoder import Encoder  # here, since it loads torch

    return Encoder.load(Path(folder))
