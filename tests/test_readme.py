"""README's recipes under "Use the encoder" run as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import stages
from tests.conftest import REPOSITORY
from tests.retrieval.photos import write_encoder, write_photos
from tests.test_cli import sepp

NAMES = [f"photos/{folder}/{place}.jpg" for folder in ("cats", "dogs") for place in range(4)]


@pytest.mark.slow
def test_use_the_encoder(tmp_path, monkeypatch):
    """In one process, as each of its own would take seconds to load torch."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEPP_ACCELERATOR", "cpu")
    write_encoder(Path("models/sepp-0"))
    write_photos(tmp_path, NAMES)
    page = (REPOSITORY / "README.md").read_text().split("## Use the encoder\n")[1].split("\n## ")[0]
    assert len(page.splitlines()) <= 45
    blocks = re.findall(r"```(\w+)\n(.*?)```", page, re.DOTALL)
    assert [kind for kind, _ in blocks] == ["python", "sh", "sh"]
    for kind, code in blocks:
        if kind == "python":
            known: dict = {}
            exec(code, known)
            assert known["x"].shape == (2, 64)
            assert known["y"].shape == (1, 4)
        for line in code.splitlines() if kind == "sh" else ():
            command, *arguments = shlex.split(line, comments=True)
            assert command == "sepp"
            result = sepp(*arguments)
            assert result.exit_code == 0, result.output
    table = pd.read_parquet("features.parquet")
    assert table.path.to_list() == NAMES
    expected = stages.load_encoder("models/sepp-0").embed(NAMES).numpy()
    assert np.array_equal(np.stack(table.embedding), expected)
    made = {"encoder.safetensors", "encoder-timm.safetensors", "encoder.onnx", "encoder-hf"}
    assert made <= {path.name for path in Path().iterdir()}
    assert Path("reports/similar.html").exists()
