"""The device that is checked beside the CPU, and the table of what was found.

`make gpu-check` runs these where torch sees a GPU; elsewhere they are skipped, unless
`pytest tests/gpu --on cpu` compares the CPU with itself, which only tells that the checks run.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

Tell = Callable[[str], None]
UNNAMED = Path()  # where this folder was not named: then pytest does not ask for its options


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--on", default="cuda", choices=["cuda", "cpu"], help="what is checked")
    parser.addoption("--table", type=Path, help="file that the table is written to, as well")


@pytest.fixture(scope="session")
def on(request: pytest.FixtureRequest) -> torch.device:
    """The device that is checked; what it shows is compared with the CPU."""
    device = torch.device(request.config.getoption("--on", "cuda"))
    if device.type == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    return device


@pytest.fixture
def real(on: torch.device) -> bool:
    """Whether sizes are those that tell something, which a GPU can do in seconds."""
    return on.type == "cuda"


@pytest.fixture
def accelerate(on: torch.device, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Makes the project compute on the checked device, or (False) on the CPU."""

    def choose(checked: bool) -> None:
        monkeypatch.setenv("SEPP_ACCELERATOR", "gpu" if checked and on.type == "cuda" else "cpu")

    choose(True)
    return choose


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Puts a figure into the row of this check."""
    return lambda figure: record_property("figure", figure)


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    path = config.getoption("--table", UNNAMED)
    if path is UNNAMED:
        return
    reports = [
        (outcome, report)
        for outcome in ("passed", "failed", "error", "skipped")
        for report in terminalreporter.stats.get(outcome, [])
        if report.nodeid.startswith("tests/gpu/")
    ]
    if not path and all(report.skipped for _, report in reports):  # among all other tests
        return
    lines = [f"Measured on {device_name(config)}; {versions()}.", ""]
    lines += ["| check | figure | outcome |", "| --- | --- | --- |"]
    for outcome, report in reports:
        figure = "; ".join(str(value) for _, value in report.user_properties)
        why = f": {report.longrepr[2].removeprefix('Skipped: ')}" if report.skipped else ""
        lines.append(f"| {words(report.nodeid)} | {figure} | {outcome}{why} |")
    terminalreporter.write_line("\n" + "\n".join(lines))
    if path:
        path.write_text("\n".join(lines) + "\n")


def words(node: str) -> str:
    """`tests/gpu/test_x.py::test_a_thing[moco]` as `a thing, moco`."""
    name, _, variant = node.rpartition("::")[2].removeprefix("test_").partition("[")
    return ", ".join(filter(None, (name.replace("_", " "), variant.rstrip("]"))))


def device_name(config: pytest.Config) -> str:
    if config.getoption("--on") == "cpu":
        return f"the CPU, beside itself ({platform.processor() or platform.machine()})"
    if not torch.cuda.is_available():
        return "nothing: torch sees no GPU"
    count = torch.cuda.device_count()
    return f"{f'{count} x ' if count > 1 else ''}{torch.cuda.get_device_name()}"


def versions() -> str:
    return f"torch {torch.__version__}, Python {platform.python_version()}"
