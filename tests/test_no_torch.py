"""Stages that train nothing start without torch: in well under a second, and with little memory."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

HEAVY = ("torch", "lightning", "torchvision", "kornia", "lightly")


STAGES = ("source", "prepare", "checkpoint", "explore", "mine", "combine", "evaluation_source")
STAGES = (*STAGES, "report", "cli")
# Of the other commands, scores runs the encoder.
COMMANDS = ("preset", "summary", "doctor", "clean_state", "thresholds", "label", "compare")
COMMANDS += ("study", "export", "features", "similar")  # which load it once they know that they run
# Which commands and stages load late.
LIBRARIES = ("mining.scores", "comparison.page", "comparison.table", "evaluation._sources")
LIBRARIES += ("study.present", "study.show", "study.worker")


@pytest.mark.parametrize("module", [*STAGES, *(f"commands.{c}" for c in COMMANDS), *LIBRARIES])
def test_importing_it_loads_no_torch(module):
    code = f"import sys, stages.{module}; print(*(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_nothing_that_all_stages_share_loads_torch():
    names = sorted(f.stem for f in (REPOSITORY / "stages/common").glob("[a-z]*.py"))
    imports = "; ".join(f"import stages.common.{name}" for name in names)
    code = f"{imports}; import sys; print(*(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_images_that_are_not_there_are_missed_before_torch_is_loaded(tmp_path):
    code = (
        "import sys, click; from stages.commands.preset import main\n"
        "try: main(['auto', '--data', 'imagefolder', '--force'], standalone_mode=False)\n"
        f"except click.ClickException: print(*(set({HEAVY!r}) & set(sys.modules)), 'refused')"
    )
    environment = {**os.environ, "SEPP_DATA_ROOT": str(tmp_path / "nowhere")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "refused"
