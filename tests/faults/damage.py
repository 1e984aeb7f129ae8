"""Files that are cut short, or hold what they should not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.faults.bench import Bench, bits
from tests.faults.cases import Told, case
from tests.faults.kills import repaired
from tests.faults.running import end, fails, finish, said, start, wait_for

READ = {  # by stage, what it reads
    "sampler": ("data/manifest.parquet", "data/images.npy"),
    "embed": ("data/manifest.parquet", "models/sampler/model.safetensors"),
    "explore": ("data/embeddings.parquet",),
    "mine": ("data/embeddings.parquet", "data/manifest.parquet"),
    "combine": ("data/pairs.parquet",),
    "pretrain": ("data/combined/sepp-0.parquet",),
    "linear_eval": ("models/sepp-0/model.safetensors", "models/sepp-0/config.json"),
    "report": ("data/explored/pairs.parquet", "data/pairs.parquet"),
}


def cut(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])


def cut_short(bench: Bench, stage: str) -> Told:
    folder, random = bench.results(f"cut-{stage}"), bench.random(f"cut {stage}")
    finish(folder, stage)
    whole, times, reasons = bits(folder, stage), 0, set()
    for name in READ[stage]:
        content = (folder / name).read_bytes()
        for share in (0, *(random.random() for _ in range(max(1, bench.kills // 10)))):
            cut(folder / name, share)
            line = fails(folder, stage)
            assert name.removesuffix("/model.safetensors").removesuffix("/config.json") in line, (
                line
            )
            reasons.add(f"`{name}`")
            (folder / name).write_bytes(content)
            times += 1
    finish(folder, stage)
    assert bits(folder, stage) == whole, "other bits"
    return Told(times, f"one line, that names {', '.join(sorted(reasons))}; restored, same bits")


for _stage in READ:
    case(f"an input cut short, {_stage}", quick=_stage == "combine", stage=_stage)(cut_short)


@case("outputs cut short, then `dvc repro`")
def cut_and_repro(bench: Bench) -> Told:
    checkout = bench.checkout("cut-repro", fresh=False)
    names = ("data/pairs.parquet", "models/sampler/model.safetensors", "models/sepp-0/config.json")
    for name in names:
        (checkout.folder / name).chmod(0o644)
        cut(checkout.folder / name, 0.5)
    return Told(len(names), repaired(bench, checkout))


@case("a training's saved state cut short, or damaged within")
def damaged_state(bench: Bench) -> Told:
    folder, random = bench.results("damaged-state"), bench.random("state")
    finish(folder, "sampler")
    whole, times = bits(folder, "sampler"), 0
    for kind in ("last.ckpt", "last.ckpt", "damaged", "cost.json"):
        name = "last.ckpt" if kind == "damaged" else kind
        process = start(folder, "sampler")
        wait_for(lambda: list(folder.glob(".state/sampler/*/cost.json")), process)
        process.kill()
        process.join()
        (file,) = folder.glob(f".state/sampler/*/{name}")
        content = bytearray(file.read_bytes())
        if kind == "damaged":
            content[len(content) // 2] ^= 0xFF
        else:
            content = content[: int(random.random() * len(content))]
        file.write_bytes(content)
        finish(folder, "sampler")
        assert bits(folder, "sampler") == whole, "other bits"
        if name == "last.ckpt":
            assert "is damaged, so this training starts afresh" in said(folder), said(folder)
        times += 1
    return Told(times, "it says so and starts afresh (a damaged cost is forgotten); same bits")


@case("NaN in one embedding")
def not_a_number(bench: Bench) -> Told:
    folder = bench.results("nan")
    file = folder / "data/embeddings.parquet"
    content = file.read_bytes()
    table = pq.read_table(file)
    x = np.stack(table["embedding"].to_numpy()).copy()
    x[7, 3] = np.nan
    column = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), x.shape[1])
    field = table.schema.field("embedding")
    pq.write_table(table.set_column(1, field, column.cast(field.type)), file)
    for stage in ("explore", "mine"):
        line = fails(folder, stage)
        assert f"image {table['id'][7]}: NaN or infinite" in line, line
    file.write_bytes(content)
    for stage in ("explore", "mine"):
        assert end(start(folder, stage)) == 0
    same = {name: digest for name, digest in bench.bits.items() if name in bits(folder)}
    assert bits(folder) == same, "other bits"
    return Told(2, "explore and mine name the image in one line; restored, same bits")
