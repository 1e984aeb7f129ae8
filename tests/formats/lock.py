"""A dvc.lock as DVC writes it."""

from __future__ import annotations

from pathlib import Path


def write_lock(path: Path, stages: dict[str, dict]) -> None:
    """Stages by name, each with deps, outs and params by their paths and names."""
    lines = ["schema: '2.0'", "stages:"]
    for name, stage in stages.items():
        lines += [f"  {name}:", f"    cmd: python -m stages.{name.split('@')[0]}"]
        for kind in ("deps", "params", "outs"):
            found = stage.get(kind, {})
            lines += [f"    {kind}:"] if found else []
            lines += ["      params.yaml:"] if found and kind == "params" else []
            for key, value in found.items():
                if kind == "params":
                    lines.append(f"        {key}: {value}")
                else:
                    lines += [f"    - path: {key}", "      hash: md5", f"      md5: {value}"]
                    lines.append("      size: 3")
    path.write_text("\n".join(lines) + "\n")
