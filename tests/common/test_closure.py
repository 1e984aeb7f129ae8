"""Which files a module's code is made of."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from stages.common import closure
from stages.common.closure import ROOT, imported_files
from tests.conftest import REPOSITORY


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes a package `stages` of the given modules, named as Python names them."""

    def write(**files: str) -> None:
        for name, text in {"__init__": "", **files}.items():
            path = tmp_path / "stages" / f"{name.replace('.', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    monkeypatch.setattr(closure, "ROOT", tmp_path)
    return write


def test_imports_are_followed_in_all_their_forms(package):
    package(
        one="import stages.two\nimport os, json",
        two="from stages.three import x",
        three="from stages import four\nx = 1",
        four="def f():\n    from stages.five import y",
        five="y = 1",
        six="z = 1",
    )
    expected = {f"stages/{name}.py" for name in ("one", "two", "three", "four", "five")}
    assert imported_files("stages.one") == expected


def test_modules_that_import_each_other_end(package):
    package(one="import stages.two", two="import stages.one")
    assert imported_files("stages.one") == {"stages/one.py", "stages/two.py"}


def test_packages_count_where_they_hold_code(package, tmp_path):
    package(**{"p.__init__": '"""Words."""', "p.m": "x = 1", "one": "from stages.p.m import x"})
    assert imported_files("stages.one") == {"stages/one.py", "stages/p/m.py"}
    (tmp_path / "stages/p/__init__.py").write_text("x = 2")
    assert imported_files("stages.one") == {
        "stages/one.py",
        "stages/p/m.py",
        "stages/p/__init__.py",
    }


def test_templates_beside_a_module_are_its_code(package, tmp_path):
    package(**{"p.m": "x = 1", "one": "import stages.p.m"})
    (tmp_path / "stages/p/page.html.j2").write_text("")
    assert "stages/p/page.html.j2" in imported_files("stages.one")


def test_what_the_whole_package_offers_its_users_is_no_stages_code(package):
    package(__init__="def f():\n    import stages.two", one="x = 1", two="x = 1")
    assert imported_files("stages.one") == {"stages/one.py"}


def test_the_whole_package_runs_nothing_of_ours_when_imported():
    code = "import sys, stages; print(*(n for n in sys.modules if n.split('.')[0] == 'stages'))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["stages"]


def test_several_modules_are_joined(package):
    package(one="x = 1", two="x = 1")
    assert imported_files("stages.one", "stages.two") == {"stages/one.py", "stages/two.py"}


def test_it_holds_every_project_file_that_python_loads():
    """An import that the walk overlooked would be missing here."""
    code = (
        "import sys, stages.mine\n"
        "print(*(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'stages'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    loaded = {file.removeprefix(f"{ROOT}/") for file in done.stdout.split()}
    loaded.remove("stages/__init__.py")  # which serves users
    without_code = {
        file for file in loaded if not closure._has_code(ast.parse((ROOT / file).read_text()))
    }
    assert loaded - without_code <= imported_files("stages.mine")
    assert "stages/mining/rows.py" in loaded
