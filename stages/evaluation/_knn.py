"""Weighted k-nearest-neighbour classification of features (Wu et al. 2018, arXiv:1805.01978)."""

from __future__ import annotations

from lightly.utils.benchmarking.knn import knn_predict
from torch import Tensor
from torch.nn.functional import normalize


def knn_top1(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    query_labels: Tensor,
    k: int,
    temperature: float,
    block: int = 512,
) -> float:
    """Share of queries, in percent, that their k nearest neighbours classify rightly.

    Neighbours by cosine similarity s vote with weight exp(s / temperature).

    Args:
        bank: (N, D) features with labels (N,) int64.
        queries: (M, D) features with labels (M,) int64.
        k: number of neighbours; all of the bank if it has fewer.
        block: queries compared at a time; memory is O(block * (N + k * classes)).
    """
    bank = normalize(bank.float()).T.contiguous()  # (D, N)
    classes = int(bank_labels.max()) + 1
    right = 0
    for features, labels in zip(queries.split(block), query_labels.split(block), strict=True):
        ranking = knn_predict(
            normalize(features.float()),
            bank,
            bank_labels,
            classes,
            min(k, bank.shape[1]),
            temperature,
        )
        right += int((ranking[:, 0] == labels).sum())
    return 100 * right / len(queries)
