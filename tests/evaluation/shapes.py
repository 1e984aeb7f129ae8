"""A made set of shapes on noise, in both layouts: what a detector learns in a minute or two."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("circle", "square", "triangle")


class Shape(NamedTuple):
    name: str
    box: tuple[int, int, int, int]  # left, top, right, bottom; the last ones are outside


Made = tuple[Image.Image, list[Shape]]


def draw(rng: np.random.Generator, edges: tuple[int, int], first: int) -> Made:
    """An image of noise with one to three shapes that do not overlap, each of a colour that says
    nothing about its class, which is `first` of the first."""
    width, height = (int(x) for x in rng.integers(edges[0], edges[1] + 1, 2))
    noise = rng.integers(0, 110, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    pen, shapes = ImageDraw.Draw(image), []
    for number in range(int(rng.integers(1, 4))):
        edge = int(rng.integers(16, 33))
        left, top = (int(rng.integers(0, side - edge + 1)) for side in (width, height))
        box = (left, top, left + edge, top + edge)
        if any(overlap(box, other.box) for other in shapes):
            continue
        name = CLASSES[rng.integers(len(CLASSES)) if number else first]
        colour = tuple(int(x) for x in rng.integers(150, 256, 3))
        ends = (left, top, box[2] - 1, box[3] - 1)
        if name == "circle":
            pen.ellipse(ends, fill=colour)
        elif name == "square":
            pen.rectangle(ends, fill=colour)
        else:
            pen.polygon(
                [(left, ends[3]), (ends[2], ends[3]), ((left + ends[2]) // 2, top)], fill=colour
            )
        shapes.append(Shape(name, box))
    return image, shapes


def overlap(a: Sequence[int], b: Sequence[int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def images(count: int, seed: int, edges: tuple[int, int] = (64, 96)) -> list[Made]:
    """With shortest and longest edge in pixels; every class is in any three."""
    rng = np.random.default_rng(seed)
    return [draw(rng, edges, i % len(CLASSES)) for i in range(count)]


def write_voc(root: Path, split: str, made: Sequence[Made]) -> None:
    """`ImageSets/Main/<split>.txt` and what belongs to it, below `root`."""
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    names = [f"{split}_{i:04}" for i in range(len(made))]
    (root / f"ImageSets/Main/{split}.txt").write_text("".join(f"{name}\n" for name in names))
    for name, (image, shapes) in zip(names, made, strict=True):
        image.save(root / f"JPEGImages/{name}.png")
        (root / f"Annotations/{name}.xml").write_text(voc_xml(f"{name}.png", image.size, shapes))


def voc_xml(file: str, size: tuple[int, int], shapes: Sequence[Shape], difficult: int = 0) -> str:
    """As PASCAL VOC writes it: pixels are counted from 1, the last ones included."""
    things = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>"
        f"<xmin>{left + 1}</xmin><ymin>{top + 1}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
        "</bndbox></object>"
        for name, (left, top, right, bottom) in shapes
    )
    extent = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return f"<annotation><filename>{file}</filename>{extent}{things}</annotation>\n"


def write_coco(root: Path, split: str, made: Sequence[Made]) -> None:
    """`annotations/instances_<split>.json` and the folder `<split>`."""
    for folder in ("annotations", split):
        (root / folder).mkdir(parents=True, exist_ok=True)
    entries, things = [], []
    for number, (image, shapes) in enumerate(made, start=1):
        name = f"{number:06}.png"
        image.save(root / split / name)
        width, height = image.size
        entries.append({"id": number, "file_name": name, "width": width, "height": height})
        for kind, (left, top, right, bottom) in shapes:
            thing = {"id": len(things) + 1, "image_id": number, "iscrowd": 0}
            thing |= {"category_id": 7 + CLASSES.index(kind)}  # COCO's own have gaps
            thing |= {"bbox": [left, top, right - left, bottom - top]}
            things.append(thing)
    categories = [{"id": 7 + i, "name": name} for i, name in enumerate(CLASSES)]
    content = {"images": entries, "annotations": things, "categories": categories}
    (root / f"annotations/instances_{split}.json").write_text(json.dumps(content))
