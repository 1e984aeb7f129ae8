"""Make an arm's training index: every image as an instance pair, then the arm's extra rows.

Reads the manifest and the mined pairs, writes rows (anchor, positive, weight, kind); images are
never copied. Arms differ in their extra rows alone, and have as many of them as `sepp` has, so
that a gain of `sepp` can be told from a gain by more rows. The vanilla index does not depend on
what was mined, so what was trained on it stays valid when a threshold changes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

import click
import numpy as np
import pyarrow as pa

from stages.common import artifacts
from stages.common.command import arm_option, command, params_option, seed_option
from stages.common.cost import cost_path, measured
from stages.common.draws import draw, draw_pairs
from stages.common.errors import ArtifactError, DataError, SeppError
from stages.common.params import StageParams
from stages.common.rounds import Again
from stages.common.sections import Arm
from stages.common.sepp_sections import SeppRows
from stages.common.unedited import unedited

logger = logging.getLogger(__name__)
KIND = {"sepp": "semantic", "duplicate": "duplicate", "random": "random", "oracle": "oracle"}


@dataclass(frozen=True)
class Inputs:
    manifest: Path = Path("data/manifest.parquet")
    pairs: Path = Path("data/pairs.parquet")

    @classmethod
    def again(cls, again: Again) -> Inputs:
        return cls(pairs=again.folder / "pairs.parquet")


@dataclass(frozen=True)
class Outputs:
    combined: Path
    cost: Path

    @classmethod
    def of(cls, arm: str, seed: int) -> Outputs:
        name = f"{arm}-{seed}"
        return cls(Path(f"data/combined/{name}.parquet"), cost_path("combine", name))


class Params(StageParams):
    sepp: SeppRows


def run(params: Params, inputs: Inputs, outputs: Outputs, arm: str, seed: int) -> int:
    """Returns how many images there are.

    Raises SeppError for an unknown arm, DataError for an oracle without labels."""
    if arm not in get_args(Arm):
        raise SeppError(f"--arm {arm}: no such arm; there are {', '.join(get_args(Arm))}")
    if seed < 0:
        raise SeppError(f"--seed {seed}: needs to be 0 or more")
    train, labels = read_train(inputs.manifest)
    anchor, positive = np.empty((2, 0), np.int64)
    # A row of weight 0 would teach nothing, but change the batches of all others: without it,
    # lambda = 0 is the vanilla training bit for bit.
    if arm != "vanilla" and params.sepp.lambda_ > 0:
        anchor, positive = extra_rows(arm, params.sepp, inputs, train, labels, seed)
    kinds = [artifacts.KINDS.index(name) for name in ("instance", KIND.get(arm, "instance"))]
    lengths = [len(train), len(anchor)]
    weights = np.array([1.0, params.sepp.lambda_], np.float32)
    kind = pa.DictionaryArray.from_arrays(
        pa.array(np.repeat(np.array(kinds, np.int8), lengths)), pa.array(artifacts.KINDS)
    )
    columns = [np.concatenate([train, anchor]), np.concatenate([train, positive])]
    columns += [np.repeat(weights, lengths), kind]
    table = pa.table(columns, schema=artifacts.COMBINED)
    # Kept with the rows, so that an arm without partners does not depend on it.
    masked = params.sepp.mask_partners and bool((anchor != positive).any())
    artifacts.write_parquet(outputs.combined, table, artifacts.COMBINED, {"mask_partners": masked})
    logger.info("%s: %s images and %s extra rows", outputs.combined, *(f"{n:,}" for n in lengths))
    return len(train)


def read_train(manifest: Path) -> tuple[np.ndarray, np.ndarray]:
    """(N,) ids of the training images, ascending, and (N,) their labels, -1 = none."""
    file = artifacts.open_parquet(manifest, artifacts.MANIFEST, "prepare")
    table = file.read(columns=["id", "split", "label"])
    train = np.array(table.column("split")) == "train"
    ids = table.column("id").to_numpy()[train]
    labels = table.column("label").to_numpy()[train]
    order = np.argsort(ids, kind="stable")
    return ids[order], labels[order]


def extra_rows(
    arm: str, sepp: SeppRows, inputs: Inputs, train: np.ndarray, labels: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """(M,) anchors and positives of any arm but vanilla; M is twice the pairs if `ordered`."""
    file = artifacts.open_parquet(inputs.pairs, artifacts.PAIRS, "mine")
    count = file.metadata.num_rows
    rng = np.random.default_rng([seed, *arm.encode()])  # independent between the arms
    if arm == "duplicate":
        same = np.sort(train[draw(len(train), count * (1 + sepp.ordered), rng)])
        return same, same
    if arm == "sepp":
        table = file.read()
        i, j = (table.column(name).to_numpy() for name in ("anchor", "positive"))
        if not np.isin(np.concatenate([i, j]), train).all():
            problem = f"names images that are not in the train split of {inputs.manifest}"
            raise ArtifactError(inputs.pairs, problem, "mine")
    elif arm == "random":
        i, j = draw_pairs([train], count, rng)
    else:
        i, j = _same_label_pairs(inputs.manifest, train, labels, count, rng)
    if sepp.ordered:
        return np.concatenate([i, j]), np.concatenate([j, i])
    return i, j


def _same_label_pairs(
    manifest: Path, train: np.ndarray, labels: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    classes, sizes = np.unique(labels[labels >= 0], return_counts=True)
    known, pairs = int(sizes.sum()), int((sizes * (sizes - 1) // 2).sum())
    if 0 < known < len(train):
        told = f"{known:,}", f"{len(train):,}"
        logger.info("oracle: pairs the %s of %s images that have a label", *told)
    if 0 < pairs < count:
        told = f"{count:,}", f"{pairs:,}"
        logger.warning("oracle: its %s rows repeat the only %s pairs of equal label", *told)
    try:
        return draw_pairs([train[labels == label] for label in classes], count, rng)
    except ValueError:
        why = "no two training images have the same label" if len(classes) else "no labels"
        raise DataError(
            f"{manifest}: {why}, so arm oracle, which pairs equal labels, cannot be made: "
            "remove oracle from arms in params.yaml"
        ) from None


@command
@params_option
@arm_option
@seed_option
@click.option("--again", is_flag=True, help="ARM is a round: its rows are the pairs it has mined.")
def main(params_file: Path, arm: str, seed: int, again: bool) -> None:
    """Write the rows that an arm trains on to data/combined/ARM-SEED.parquet.

    ARM is vanilla (no extra rows), sepp (the mined pairs), or a control with as many extra rows:
    duplicate (an image with itself), random (any two images), oracle (two of the same label).
    """
    inputs = Inputs.again(Again(arm, seed)) if again else Inputs()
    outputs = Outputs.of(arm, seed)
    current = partial(Params.load, params_file)
    reading = unedited("stages.combine", current, vars(inputs).values())
    with measured(outputs.cost) as cost, reading:
        kind = "sepp" if again else arm
        cost.images = run(Params.load(params_file), inputs, outputs, kind, seed)


if __name__ == "__main__":
    main()
