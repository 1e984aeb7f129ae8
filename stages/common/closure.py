"""Which of our files a module imports, directly or not.

DVC does not follow Python imports: dvc.yaml must list a stage's code, a test holds it against this
closure, and a training's fingerprint is made of it.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "stages"
PAGE = ("*.j2", "*.css", "*.js")


def imported_files(*modules: str) -> set[str]:
    """Paths, relative to the repository, of all project files that `modules` run when imported.

    Packages whose `__init__` holds a docstring alone are left out: they change no result. So is the
    whole's own, whose function is for users, and no stage calls it. The templates, styles and
    scripts of a page that lie beside a module are its code, too.
    """
    seen: set[str] = {PACKAGE}
    code: set[Path] = set()
    todo = list(modules)
    while todo:
        name = todo.pop()
        path = _file(name)
        if path is None or name in seen:
            continue
        seen.add(name)
        tree = ast.parse(path.read_text(), str(path))
        if _has_code(tree):
            code.add(path)
        todo += _imports(tree)
        todo += [name.rpartition(".")[0]] if "." in name else []
    pages = {file for path in code for kind in PAGE for file in path.parent.glob(kind)}
    return {str(path.relative_to(ROOT)) for path in code | pages}


def _file(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def _imports(tree: ast.Module) -> list[str]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in names if name.split(".")[0] == PACKAGE]


def _has_code(tree: ast.Module) -> bool:
    return any(
        not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)) for n in tree.body
    )
