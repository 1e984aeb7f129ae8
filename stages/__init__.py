"""Semantic positive pairs for self-supervised learning, as a DVC pipeline.

A module of this package is a DVC stage of the same name (`cli` is the `sepp` command); a folder is
library code.

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
