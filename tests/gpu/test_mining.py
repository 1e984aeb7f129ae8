"""Pairs that GPUs find, beside the CPU's."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from benchmarks.spectrum import spectrum
from stages.mining import find_pairs

LO, HI = 0.97, 0.99
TARGET = 30  # seconds for 1.28 million rows of 256


def seconds(x: np.ndarray, engine: str) -> tuple[float, tuple[np.ndarray, ...]]:
    began = time.perf_counter()
    pairs = find_pairs(x, LO, HI, engine)
    return time.perf_counter() - began, pairs


def compare(engine: str, rows: int, accelerate) -> str:
    x = spectrum(rows, 256)
    there, pairs = seconds(x, engine)
    accelerate(False)
    here, others = seconds(x, "pruned")
    assert len(pairs.anchor) > rows // 100
    for one, other in zip(pairs, others, strict=True):
        assert np.array_equal(one, other)
    return f"{len(pairs.anchor):,} pairs of {rows:,}, {here / there:.1f}x the CPU's speed"


def test_pruned_finds_the_same_pairs(accelerate, real, tell):
    find_pairs(spectrum(2000, 256), LO, HI, "pruned")  # what is loaded once is not what it costs
    tell(compare("pruned", 200_000 if real else 5_000, accelerate))


def test_faiss_gpu_finds_the_same_pairs(accelerate, real, tell):
    faiss = pytest.importorskip("faiss")
    if real and not faiss.get_num_gpus():
        pytest.skip("the installed FAISS is faiss-cpu (make gpu-check FAISS=gpu)")
    find_pairs(spectrum(2000, 256), LO, HI, "faiss")
    tell(compare("faiss", 100_000 if real else 5_000, accelerate))


def test_imagenet_sized(accelerate, real, tell):
    rows = 1_281_167 if real else 20_000
    x = spectrum(rows, 256)
    took, pairs = seconds(x, "pruned")
    most = f", {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB of the GPU" if real else ""
    tell(f"{rows:,} x 256 in {took:.1f} s (target {TARGET} s), {len(pairs.anchor):,} pairs{most}")
    assert len(pairs.anchor) > rows // 100
