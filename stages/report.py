"""Put all results on one page.

Reads what every stage measured, the mined pairs, and what other intervals of similarity would give,
with the images, and the pairs that people have judged. Writes
reports/summary.json, the numbers that `dvc metrics diff` compares, reports/index.html, which opens
from disk and needs nothing else, and reports/pairs.png, the pairs for a README. Numbers are of the
arms and seeds in params.yaml alone, whatever older files lie beside theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from stages.common import artifacts
from stages.common.command import command, params_option
from stages.common.cost import cost_path, measured
from stages.common.errors import ArtifactError
from stages.common.explored import Explored, read_explored
from stages.common.images import ImageStore
from stages.common.judged import LABELS, read_answers
from stages.common.pairs import Pairs
from stages.common.params import StageParams
from stages.common.scores import read_scores
from stages.common.sections import Arm, Named, Seed
from stages.common.sepp_sections import Round
from stages.common.unedited import unedited
from stages.reporting.blocks import Blocks, pair_blocks
from stages.reporting.breakdown import Breakdown, make_breakdown
from stages.reporting.explorer import make_explorer
from stages.reporting.freshness import stale
from stages.reporting.gallery import make_gallery
from stages.reporting.inputs import (
    Mined,
    read_evaluations,
    read_further,
    read_histories,
    read_mining,
    read_round,
    read_sampler,
    read_sampler_history,
)
from stages.reporting.page import Findings, render
from stages.reporting.picture import draw
from stages.reporting.scores import compare_scores
from stages.reporting.summary import summarise


@dataclass(frozen=True)
class Inputs:
    manifest: Path = Path("data/manifest.parquet")
    images: Path = Path("data/images.npy")
    pairs: Path = Path("data/pairs.parquet")
    mine: Path = Path("reports/metrics/mine.json")
    rounds: Path = Path("reports/metrics/rounds")  # <round>-<seed>.json
    explored: Path = Path("data/explored")
    answers: Path = LABELS
    sampler: Path = Path("reports/metrics/sampler.json")
    evaluations: Path = Path("reports/metrics/linear_eval")  # <arm>-<seed>.json
    further: Path = Path("reports/metrics/evaluations")  # <evaluation>/<arm>-<seed>.json
    histories: Path = Path("reports/plots/pretrain")  # <arm>-<seed>.csv
    sampler_history: Path = Path("reports/plots/sampler.csv")
    scores: Path = Path("reports/scores.csv")  # its header alone until `sepp scores` ran
    scores_about: Path = Path("reports/metrics/scores.json")


@dataclass(frozen=True)
class Outputs:
    summary: Path = Path("reports/summary.json")
    page: Path = Path("reports/index.html")
    picture: Path = Path("reports/pairs.png")
    cost: Path = cost_path("report")


class Params(StageParams):
    arms: list[Arm]
    seeds: list[Seed]
    sampler: Named
    pretrain: Named
    rounds: list[Round]
    evaluations: list[str]


def run(params: Params, inputs: Inputs, outputs: Outputs, changed: str | None = None) -> None:
    """Raises ArtifactError if a result is missing or not whole, DataError if an image is gone.

    `changed` is what the page says has changed since the results were made.
    """
    mining, sampler = read_mining(inputs.mine), read_sampler(inputs.sampler)
    # As DVC calls the stages of each: those of rounds by their place in the list.
    arms = {arm: f"@{arm}" for arm in params.arms}
    arms |= {one.name: f"_again@round{place}" for place, one in enumerate(params.rounds)}
    runs = read_evaluations(inputs.evaluations, arms, params.seeds)
    further = read_further(inputs.further, params.evaluations, arms, params.seeds)
    rounds = {
        one.name: Mined(
            one.start, one.at, read_round(inputs.rounds, one.name, arms[one.name], params.seeds)
        )
        for one in params.rounds
    }
    pairs = artifacts.open_parquet(inputs.pairs, artifacts.PAIRS, "mine")
    about = artifacts.metadata(pairs.schema_arrow)
    if not {"min", "max"} <= about.keys():
        raise ArtifactError(inputs.pairs, "does not say its similarity interval", "mine")
    interval, per_image = (about["min"], about["max"]), about.get("pairs_per_image")
    explored, answers = read_explored(inputs.explored), read_answers(inputs.answers)
    store = ImageStore(inputs.manifest, inputs.images)
    blocks = pair_blocks(inputs.pairs, inputs.manifest, len(store.ids))
    data = {
        "name": store.name,
        **{split: len(store.select(split)) for split in ("train", "test")},
        "classes": len(np.unique(store.labels[store.labels >= 0])),
    }
    findings = Findings(
        summary=summarise(data, mining, runs, sampler, rounds, further),
        changed=changed,
        mining=mining,
        runs=runs,
        interval=interval,
        per_image=per_image,
        methods=(params.sampler.method, params.pretrain.method),
        curve=explored.curve(),
        sampler=read_sampler_history(inputs.sampler_history, sampler),
        histories=read_histories(inputs.histories, arms, runs),
        gallery=make_gallery(blocks, store),
        explorer=make_explorer(explored, store, answers, interval, per_image),
        scores=compare_scores(read_scores(inputs.scores, inputs.scores_about), about),
        breakdown=_breakdown(blocks, store, explored, interval[1]),
    )
    page = render(findings)
    picture = draw(findings.gallery, store, findings.summary)
    artifacts.write_json(outputs.summary, findings.summary)
    with artifacts.atomic(outputs.page) as partial:
        partial.write_text(page, encoding="utf-8")
    with artifacts.atomic(outputs.picture) as partial:
        partial.write_bytes(picture)


def _breakdown(
    blocks: Blocks, store: ImageStore, explored: Explored, limit: float
) -> Breakdown | None:
    """What the mined pairs are, and what lies above `limit`, sepp.max."""
    labels = np.where(store.splits == "train", store.labels, -1)
    shown = (explored.shown[name].to_numpy() for name in ("anchor", "positive", "similarity"))
    first, last = explored.bins(limit, 1.0)
    # Known where the limit is an edge: pairs of a bin that it divides are on either side.
    edge = first <= last and abs(explored.edges[first] - limit) < 1e-9
    above = explored.count(first, last) if edge else None
    return make_breakdown(blocks, store, labels, limit, Pairs(*shown), above)


@command
@params_option
def main(params_file: Path) -> None:
    """Write the report: reports/index.html, to be opened in a browser, reports/summary.json, and
    reports/pairs.png, the pairs as a picture.

    Means and sample standard deviations are over the seeds in params.yaml, of the last epoch.
    """
    # DVC runs the stage after all that it reads, so that nothing is stale; by hand anything may be.
    inputs, outputs = Inputs(), Outputs()
    current = partial(Params.load, params_file)
    reading = unedited("stages.report", current, vars(inputs).values())
    with measured(outputs.cost), reading:
        run(Params.load(params_file), inputs, outputs, changed=stale(but="report"))


if __name__ == "__main__":
    main()
