"""What else one would call to find all pairs of rows with a similarity in [LO, HI].

Each contender takes (N, D) float32 unit rows and gives the row numbers i < j of its pairs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

LO, HI = 0.97, 0.99
SHRINKAGE = 0.03  # of the whitening
NEIGHBOURS = 10  # of the walks
MEMORY = 2**30  # bytes, as sepp.memory
Found = tuple[np.ndarray, np.ndarray]  # row numbers i < j of the pairs


def ours(engine: str, transform: str = "none") -> Callable[[np.ndarray], Found]:
    def run(x: np.ndarray) -> Found:
        from stages.mining import find_pairs

        x = transformed(x, transform)
        pairs = find_pairs(x, LO, HI, engine)
        return pairs.anchor, pairs.positive

    return run


def most_similar(transform: str = "none", neighbours: int = 0) -> Callable[[np.ndarray], Found]:
    """As many pairs as rows, by the stage's own search: those most alike after `transform`, by
    cosine or by walks over so many `neighbours`."""

    def run(x: np.ndarray) -> Found:
        from stages.common.sepp_sections import SeppMining
        from stages.mine import find
        from stages.mining import join
        from stages.mining.cosine import Cosine
        from stages.mining.files import read_pairs
        from stages.mining.walk import Walk

        sepp = SeppMining(
            min=-1.0,
            max=1.0,
            pairs_per_image=1.0,
            transform=transform,
            shrinkage=SHRINKAGE,
            neighbours=neighbours,
            engine="pruned",
            memory=MEMORY / 2**30,
            max_per_anchor=None,
            max_pairs=None,
        )
        ids = np.arange(len(x))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "pairs.parquet"
            score: Cosine | Walk = (
                Walk(x, neighbours, MEMORY // 2)
                if neighbours
                else Cosine(transformed(x, transform), 0, sepp.engine, MEMORY // 2, Path(folder))
            )
            find(score, ids, sepp, path)
            pairs = join(read_pairs(path, ids))
        return pairs.anchor, pairs.positive

    return run


def flat_neighbours(x: np.ndarray) -> Found:
    """FAISS's flat search for the neighbours that walks need, as a user would call it."""
    import faiss

    index = faiss.IndexFlatIP(x.shape[1])
    index.add(x)
    found = index.search(x, min(NEIGHBOURS + 1, len(x)))[1]
    return np.zeros(found.size, np.int64), found.ravel()


def transform_alone(x: np.ndarray) -> Found:
    transformed(x, "whiten")
    return np.empty(0, np.int64), np.empty(0, np.int64)


def transformed(x: np.ndarray, name: str) -> np.ndarray:
    from stages.mining.transform import transform_rows

    if name != "none":
        x = x.copy()  # the stage, which has its own rows, does without
        transform_rows(x, name, SHRINKAGE)
    return x


def faiss_flat(x: np.ndarray) -> Found:
    """As a user would call it: every row searched among all."""
    import faiss

    index = faiss.IndexFlatIP(x.shape[1])
    index.add(x)
    limits, values, j = index.range_search(x, LO)
    i = np.repeat(np.arange(len(x)), np.diff(limits.astype(np.int64)))
    keep = (i < j) & (values <= HI)
    return i[keep], j[keep]


def algorithm_1(x: np.ndarray) -> Found:
    """The paper's listing: all similarities at once, then the mask."""
    import torch

    rows = torch.from_numpy(x)
    similarity = torch.mm(rows, rows.T)
    i, j = ((similarity >= LO) & (similarity <= HI)).nonzero(as_tuple=True)
    keep = i < j
    return i[keep].numpy(), j[keep].numpy()


def radius_neighbors(x: np.ndarray) -> Found:
    """scikit-learn; the radius is that of the lower bound on the unit sphere."""
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(radius=np.sqrt(2 - 2 * LO), algorithm="brute", n_jobs=-1).fit(x)
    distances, found = index.radius_neighbors(x)
    i = np.repeat(np.arange(len(x)), [len(f) for f in found])
    j, distance = np.concatenate(found), np.concatenate(distances)
    keep = (i < j) & (1 - np.square(distance) / 2 <= HI)
    return i[keep], j[keep]


def paraphrase_mining(x: np.ndarray) -> Found:
    """sentence-transformers, which takes the nearest 100 of each row."""
    import torch
    from sentence_transformers.util import paraphrase_mining_embeddings

    found = paraphrase_mining_embeddings(
        torch.from_numpy(x), top_k=min(100, len(x) - 1), max_pairs=10**9
    )
    kept = [(min(i, j), max(i, j)) for value, i, j in found if LO <= value <= HI]
    pairs = np.array(kept, np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


CONTENDERS: dict[str, Callable[[np.ndarray], Found]] = {
    "pruned (ours)": ours("pruned"),
    "faiss (ours)": ours("faiss"),
    "FAISS flat": faiss_flat,
    "Algorithm 1 as printed": algorithm_1,
    "sklearn radius_neighbors": radius_neighbors,
    "sentence-transformers": paraphrase_mining,
}
# What the stage's scores cost: each beside the first of its list, which has other pairs.
SCORES: dict[str, list[tuple[str, Callable[[np.ndarray], Found]]]] = {
    "whiten": [
        ("pruned", ours("pruned")),
        ("whitening alone", transform_alone),
        ("whitening, then pruned", ours("pruned", "whiten")),
    ],
    "whiten-count": [
        ("one pair an image", most_similar()),
        ("whitening, then one pair an image", most_similar("whiten")),
    ],
    "walks": [
        (f"FAISS flat, {NEIGHBOURS} neighbours", flat_neighbours),
        (f"one pair an image by walks, k = {NEIGHBOURS}", most_similar(neighbours=NEIGHBOURS)),
    ],
}
MOST = {"Algorithm 1 as printed": 30_000, "sklearn radius_neighbors": 30_000}  # rows: N^2 numbers
MOST["sentence-transformers"] = 10_000  # a loop in Python over all neighbours
