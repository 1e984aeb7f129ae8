"""Results of a small experiment, written as the stages write them, and the report on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from stages import explore, report
from stages.common import artifacts
from stages.common.sections import Named
from stages.common.sepp_sections import SeppScore
from stages.common.unit import unit_rows
from tests.conftest import write_data
from tests.made import write_embeddings

ARMS, SEEDS = ["vanilla", "sepp"], [0, 1]
LINEAR = {("vanilla", 0): 90.0, ("vanilla", 1): 91.0, ("sepp", 0): 92.0, ("sepp", 1): 95.0}


def write_results(folder: Path, train: int = 48) -> None:
    """Data and results of two arms and two seeds; the working directory is `folder`."""
    write_data(folder, train)  # labels 0 1 2 0 1 2 …
    write_pairs([(0, 3, 0.97), (1, 4, 0.98), (0, 1, 0.975)])
    write_mining(accuracy=2 / 3)
    write_explored(np.arange(train) % 3)
    artifacts.write_csv(report.Inputs.sampler_history, history(5.0))
    write_sampler(rows_seen=288)
    for (arm, seed), top1 in LINEAR.items():
        write_run(arm, seed, linear_top1=top1, knn_top1=top1 - 1)


def write_explored(labels: np.ndarray) -> None:
    """Of embeddings (K, 6) that lie about a centre of their label, and some a bit astray."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((labels.max() + 1, 6))
    x = centres[labels] + rng.uniform(0.1, 0.9, (len(labels), 1)) * rng.standard_normal(
        (len(labels), 6)
    )
    ids = np.arange(len(labels))
    inputs = explore.Inputs()
    write_embeddings(inputs.embeddings, ids, unit_rows(x.astype(np.float32), ids, Path("made")))
    sepp = SeppScore(transform="none", shrinkage=0.0, neighbours=0, memory=1.0)
    explore.run(explore.Params(seed=0, sepp=sepp), inputs, explore.Outputs())


def forget_labels() -> None:
    manifest = artifacts.read_parquet(report.Inputs.manifest, artifacts.MANIFEST, "prepare")
    none = pa.array(np.full(len(manifest), -1, np.int32))
    manifest = manifest.set_column(2, "label", none)
    artifacts.write_parquet(
        report.Inputs.manifest, manifest, artifacts.MANIFEST, artifacts.metadata(manifest)
    )
    sepp = SeppScore(transform="none", shrinkage=0.0, neighbours=0, memory=1.0)
    explore.run(explore.Params(seed=0, sepp=sepp), explore.Inputs(), explore.Outputs())


def write_sampler(rows_seen: int | None) -> None:
    known = rows_seen is not None
    facts = {"method": "nnclr", "epochs": 6, "steps": 18, "batch_size": 16}
    facts = {key: value if known else None for key, value in facts.items()}
    artifacts.write_json(report.Inputs.sampler, {**facts, "rows_seen": rows_seen})


def history(loss: float) -> list[dict]:
    return [{"epoch": e, "loss": loss / e, "embedding_std": 0.9, "lr": 0.1} for e in (1, 2, 3)]


def write_pairs(rows: list[tuple], **more: object) -> None:
    table = pa.table([pa.array(c) for c in zip(*rows, strict=True)], artifacts.PAIRS.names)
    about = {"min": 0.97, "max": 0.99, "engine": "faiss", **more}
    artifacts.write_parquet(report.Inputs.pairs, table, artifacts.PAIRS, about)


def write_mining(accuracy: float | None, **more: str) -> None:
    known = {"accuracy_low": 0.2, "accuracy_high": 0.9, "chance": 1 / 3, "judged": 3}
    known = dict.fromkeys(known) if accuracy is None else known
    metrics = {
        "count": 3, "accuracy": accuracy, **known, "anchors_covered": 4, "images": 48, **more,
    }  # fmt: skip
    artifacts.write_json(report.Inputs.mine, metrics)


def write_run(arm: str, seed: int, **result: object) -> None:
    about = {
        "arm": arm,
        "seed": seed,
        "epochs": 3,
        "rows": 48,
        "steps": 9,
        "steps_before": 0,
        "test_images": 24,
        "batch_size": 16,
    }
    artifacts.write_json(report.Inputs.evaluations / f"{arm}-{seed}.json", {**about, **result})
    artifacts.write_csv(report.Inputs.histories / f"{arm}-{seed}.csv", history(4.0 + seed))


def run(arms=ARMS, seeds=SEEDS, evaluations=(), **more) -> tuple[dict, str]:
    names = {"sampler": Named(method="nnclr"), "pretrain": Named(method="fnc"), "rounds": []}
    names["evaluations"] = list(evaluations)
    params = report.Params.model_construct(arms=arms, seeds=seeds, **names)
    outputs = report.Outputs()
    report.run(params, report.Inputs(), outputs, **more)
    return json.loads(outputs.summary.read_text()), outputs.page.read_text()
