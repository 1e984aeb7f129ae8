"""How long mining takes, and how much memory, beside what else one would call.

    python benchmarks/mine.py                     # on the images and the sampler of this checkout
    python benchmarks/mine.py --model models/sampler --model models/vanilla-0 --rows 30000

Every contender runs in a process of its own on the same rows, one after the other, so that peaks of
memory do not mix and ratios are of one machine in one run. Prints Markdown. Without a sampler only
rows with a made spectrum are joined.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import click
import numpy as np
from contenders import CONTENDERS, HI, LO, MOST, SCORES
from spectrum import spectrum

from stages.common.command import command

TOLERANCE = 1e-6  # how near to a bound float32 may get a pair wrong


def embedded(model: Path, layer: str, rows: int) -> np.ndarray:
    """Unit rows of this checkout's training images, then of random views of them."""
    import torch

    from stages.common.images import ImageStore
    from stages.common.params import load_all
    from stages.ssl.encoder import Encoder
    from stages.ssl.inference import encode
    from stages.ssl.views import RandomViews

    store = ImageStore(Path("data/manifest.parquet"), Path("data/images.npy"))
    encoder, ids = Encoder.load(model), store.select("train")[:rows]
    if len(ids) < rows and store.packed is None:
        problem = f"there are {len(ids):,} images, and of streamed ones no views are made"
        raise click.ClickException(f"--rows {rows}: {problem}")
    parts = [features for _, features in encode(encoder, store, ids, layer, 500, "plain images")]
    views = RandomViews(load_all(Path("params.yaml")).views)
    images = torch.from_numpy(np.array(store.packed)).permute(0, 3, 1, 2)
    torch.manual_seed(0)
    with torch.inference_mode():
        for start in range(len(ids), rows, 500):
            some = ids[np.arange(start, min(start + 500, rows)) % len(ids)]
            parts.append(encoder(views(images[some]), layer).numpy())
    x = np.concatenate(parts).astype(np.float64)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def measure(name: str, rows: Path) -> dict:
    """One contender in a process of its own: seconds, peak MiB of the process, its pairs."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.npz"
        command = [sys.executable, __file__, "--contender", name, str(rows), str(out)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return {"failed": (done.stderr.strip().splitlines() or ["killed"])[-1]}
        with np.load(out) as found:
            i, j = found.values()
        return {**json.loads(done.stdout.splitlines()[-1]), "pairs": np.unique(i * 2**32 + j)}


def contend(name: str, rows: Path, out: Path) -> None:
    """The best of at most three runs."""
    x, run = np.load(rows), ({**CONTENDERS} | {n: f for of in SCORES.values() for n, f in of})[name]
    run(x[:256])  # what is loaded and compiled once is not what mining costs
    spent: list[float] = []
    while len(spent) < 3 and sum(spent) < 20:
        began = time.perf_counter()
        i, j = run(x)
        spent.append(time.perf_counter() - began)
    np.savez(out, i=i.astype(np.int64), j=j.astype(np.int64))
    print(json.dumps({"seconds": min(spent), "peak": peak_mib()}))


def peak_mib() -> float:
    """Of this process. What getrusage tells is at least what the parent process had."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def difference(x: np.ndarray, one: np.ndarray, other: np.ndarray) -> str:
    """Of two sets of pairs; float32 may go either way at a bound."""
    differ = np.setxor1d(one, other)
    a, b = x[differ >> 32].astype(np.float64), x[differ & (2**32 - 1)].astype(np.float64)
    cosine = (a * b).sum(1)
    wrong = np.minimum(abs(cosine - LO), abs(cosine - HI)) > TOLERANCE
    if wrong.any():
        return f"{wrong.sum():,} others"
    return f"same but {len(differ)} at a bound" if len(differ) else "same"


def product_rate() -> float:
    """float32 operations a second of a plain matrix product, the best of three."""
    x = np.ones((4096, 1024), np.float32)
    spent = []
    for _ in range(4):
        began = time.perf_counter()
        x @ x.T
        spent.append(time.perf_counter() - began)
    return 2 * len(x) ** 2 * x.shape[1] / min(spent)


def compare(label: str, x: np.ndarray, rate: float) -> Iterator[str]:
    """Lines of the table for one set of rows."""
    rows, dim = x.shape
    operations = rows * rows * dim  # of half of all products, a multiplication and a sum each
    limit = operations / rate
    head = f"{label}, {rows:,} x {dim}"
    size = f"{operations / 1e12:.2f} TFLOP, {x.nbytes / 2**20:.0f} MiB"
    yield f"| {head} | *symmetric product alone: {size}* | {limit:.2f} | | | | |"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        np.save(path, x)
        results = {
            name: measure(name, path) for name in CONTENDERS if rows <= MOST.get(name, 10**9)
        }
    flat, own = results["FAISS flat"], results["pruned (ours)"]
    for name, result in results.items():
        if "failed" in result:
            yield f"| {head} | {name} | {result['failed'][:60]} | | | | |"
            continue
        ratio = flat["seconds"] / result["seconds"]
        yield (
            f"| {head} | {name} | {result['seconds']:.2f} | {ratio:.1f}x "
            f"| {result['seconds'] / limit:.2f}x | {result['peak']:,.0f} "
            f"| {len(result['pairs']):,}, {difference(x, own['pairs'], result['pairs'])} |"
        )


def beside(label: str, x: np.ndarray, score: str) -> Iterator[str]:
    """Lines of the table of what a score costs, beside what it is compared with."""
    first = float("nan")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        np.save(path, x)
        for place, (name, _) in enumerate(SCORES[score]):
            result = measure(name, path)
            head = f"| {label}, {len(x):,} x {x.shape[1]} | {name} |"
            if "failed" in result:
                yield f"{head} {result['failed'][:60]} | | | |"
                continue
            first = first if place else result["seconds"]
            yield (
                f"{head} {result['seconds']:.2f} | {result['seconds'] / first:.2f}x "
                f"| {result['peak']:,.0f} | {len(result['pairs']):,} |"
            )


@command
@click.option("--model", "models", type=Path, multiple=True, help="default: models/sampler")
@click.option("--rows", multiple=True, type=click.IntRange(2), default=(10_000, 30_000, 128_000))
@click.option(
    "--dim",
    "dims",
    multiple=True,
    type=click.IntRange(1),
    default=(128, 256, 512),
    help="of made rows",
)
@click.option("--score", type=click.Choice(list(SCORES)), help="instead: what this score costs")
@click.option("--contender", hidden=True, nargs=3)
def main(
    models: tuple[Path, ...],
    rows: tuple[int, ...],
    dims: tuple[int, ...],
    score: str | None,
    contender: tuple,
) -> None:
    """Print a table of seconds, memory and pairs."""
    if contender:
        contend(contender[0], Path(contender[1]), Path(contender[2]))
        return
    if not models and Path("models/sampler/config.json").exists():
        models = (Path("models/sampler"),)
    rate = product_rate()
    print(f"{cpu()}, {os.cpu_count()} cores, {rate / 1e9:.0f} GFLOP/s in float32; [{LO}, {HI}]\n")
    if score:
        print("| rows | what | seconds | of the first | peak MiB | pairs |")
        print("| --- | --- | ---: | ---: | ---: | ---: |")
    else:
        columns = "| seconds | against FAISS flat | of the product | peak MiB | pairs |"
        print(f"| rows | contender {columns}")
        print("| --- | --- | ---: | ---: | ---: | ---: | --- |")
    sets: list[tuple[str, Callable[[int], np.ndarray]]] = [
        (f"{model.name} {layer}", partial(embedded, model, layer))
        for model in models
        for layer in ("projection", "backbone")
    ]
    sets += [("spectrum 1/k", partial(spectrum, dim=dim)) for dim in dims]
    for label, make in sets:
        whole = make(max(rows))
        for count in rows:
            some = whole[:count]
            for line in beside(label, some, score) if score else compare(label, some, rate):
                print(line, flush=True)


def cpu() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if "model name" in line]
    return names[0].split(":")[1].strip() if names else platform.processor()


if __name__ == "__main__":
    main()
