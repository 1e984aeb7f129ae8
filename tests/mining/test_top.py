import numpy as np
import pytest

from stages.mining import Pairs, join
from stages.mining.top import highest


def pairs(similarity: np.ndarray) -> Pairs:
    rows = np.arange(len(similarity))
    return Pairs(rows, rows + 1, similarity.astype(np.float32))


@pytest.mark.parametrize("count", [0, 1, 3, 99, 100, 101, 1500, 4999, 5000, 9000])
def test_the_most_similar_ones_and_of_ties_the_first(count):
    rng = np.random.default_rng(0)
    similarity = np.clip(rng.standard_normal(5000), -1, 1).round(2)  # hundreds of ties, 1 and -1
    similarity[:20] = -0.0
    every = pairs(similarity)
    blocks = [every.take(slice(start, start + 700)) for start in range(0, 5000, 700)]
    found = join(highest(lambda: iter(blocks), count))
    order = np.lexsort((np.arange(5000), -(every.similarity + np.float32(0))))
    np.testing.assert_array_equal(found.anchor, np.sort(order[:count]))
