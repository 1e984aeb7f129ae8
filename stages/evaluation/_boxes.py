"""Images with boxes around their objects, in the two layouts that detection sets come in.

Either reader checks every box and the presence of every image, so that a fault is told before a
training starts and not in the middle of it.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from stages.common.errors import DataError

log = logging.getLogger(__name__)
Corners = tuple[float, float, float, float]  # left, top, right, bottom
ELSEWHERE = "set detection.root, train and test in evaluations.yaml to what is there"
EXTENT = 0.001  # pixels; what is narrower, float32 may not tell from nothing
OVERHANG = 1.0  # pixels by which a rounded coordinate may lie outside of its image: it is cut


@dataclass(frozen=True)
class Picture:
    """One image and its objects, parallel arrays of length B."""

    file: Path
    width: int  # pixels
    height: int
    annotation: Path  # where its boxes are from, for messages
    boxes: np.ndarray  # (B, 4) float32: left, top, right, bottom, in pixels; (0, 0) is the corner
    names: np.ndarray  # (B,) str, classes
    ignored: np.ndarray  # (B,) bool: neither found nor missed in a test

    def without_ignored(self) -> Picture:
        kept = ~self.ignored
        return replace(
            self, boxes=self.boxes[kept], names=self.names[kept], ignored=self.ignored[kept]
        )


Reader = Callable[[Path, str], list[Picture]]


def read_voc(root: Path, name: str) -> list[Picture]:
    """The images of one list of PASCAL VOC (Everingham et al. 2010): ``VOC2007/trainval`` are those
    of ``VOC2007/ImageSets/Main/trainval.txt``, with ``VOC2007/Annotations/<image>.xml`` and
    ``VOC2007/JPEGImages``; ``trainval`` alone is a list of the root itself.

    Pixels are counted from 1, the last one included. Objects marked as difficult are `ignored`.

    Raises:
        DataError: names the file that is missing or wrong, the value, and the remedy.
    """
    folder, _, split = name.rpartition("/")
    base = root / folder
    text = _bytes(base / "ImageSets/Main" / f"{split}.txt", ELSEWHERE).decode(errors="replace")
    images = [line.split()[0] for line in text.splitlines() if line.strip()]
    return [_voc_picture(base, image) for image in images]


def _voc_picture(base: Path, image: str) -> Picture:
    file = base / "Annotations" / f"{image}.xml"
    tree = _parse(file)
    width, height = (int(_number(tree, f"size/{x}", file)) for x in ("width", "height"))
    # Its name alone: what a file says leads nowhere else.
    called = Path(tree.findtext("filename") or "").name or f"{image}.jpg"
    boxes, names, ignored = [], [], []
    for thing in tree.iterfind("object"):
        corners = [_number(thing, f"bndbox/{x}", file) for x in ("xmin", "ymin", "xmax", "ymax")]
        left, top, right, bottom = corners
        boxes.append(_checked((left - 1, top - 1, right, bottom), width, height, corners, file))
        names.append(_word(thing, "name", file))
        ignored.append((thing.findtext("difficult") or "0").strip() == "1")
    return _picture(base / "JPEGImages" / called, (width, height), file, boxes, names, ignored)


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses a document type, where entities that swell or read other files would be declared."""

    def doctype(self, *_: object) -> None:
        raise ValueError("it declares a document type (DOCTYPE)")


def _parse(file: Path) -> ElementTree.Element:
    content = _bytes(file, "put it back, or take the image off its list")
    try:
        return ElementTree.fromstring(content, ElementTree.XMLParser(target=_NoDoctype()))
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{file}: is not plain XML ({error}): mend it") from None


def _word(tree: ElementTree.Element, path: str, file: Path) -> str:
    text = (tree.findtext(path) or "").strip()
    if not text:
        raise DataError(f"{file}: <{tree.tag}> has no <{path}>: add it")
    return text


def _number(tree: ElementTree.Element, path: str, file: Path) -> float:
    text = _word(tree, path, file)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{file}: <{path}> {text!r} is not a number: mend it")
    return number


def read_coco(root: Path, name: str) -> list[Picture]:
    """The images of one split of COCO (Lin et al. 2014): ``train2017`` are those of
    ``annotations/instances_train2017.json`` in the folder ``train2017``.

    Boxes around a crowd are `ignored`. Boxes without extent, of which COCO's own files have two,
    are left out and counted.

    Raises:
        DataError: names the file that is missing or wrong, the value, and the remedy.
    """
    file, folder = root / "annotations" / f"instances_{name}.json", root / name
    try:
        content = json.loads(_bytes(file, ELSEWHERE))
        classes = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
        images = {entry["id"]: entry for entry in content["images"]}
        objects: dict[Any, list[dict]] = {number: [] for number in images}
        for thing in content["annotations"]:
            objects[thing["image_id"]].append(thing)
        pictures = [
            _coco_picture(folder, entry, objects[number], classes, file)
            for number, entry in images.items()
        ]
    except (ValueError, TypeError, KeyError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise DataError(f"{file}: is not COCO's instances ({reason}): mend it") from None
    empty = len(content["annotations"]) - sum(len(picture.boxes) for picture in pictures)
    if empty:
        log.warning("%s: %d boxes without extent are left out", file, empty)
    return pictures


def _coco_picture(
    folder: Path, entry: dict, things: list[dict], classes: dict[Any, str], file: Path
) -> Picture:
    width, height = int(entry["width"]), int(entry["height"])
    boxes, names, ignored = [], [], []
    for thing in things:
        left, top, across, down = map(float, thing["bbox"])
        if 0 <= min(across, down) < EXTENT:
            continue
        corners = left, top, left + across, top + down
        boxes.append(_checked(corners, width, height, thing["bbox"], file))
        names.append(classes[thing["category_id"]])
        ignored.append(bool(thing.get("iscrowd")))
    image = folder / Path(entry["file_name"]).name
    return _picture(image, (width, height), file, boxes, names, ignored)


READERS: dict[str, Reader] = {"voc": read_voc, "coco": read_coco}


def _checked(corners: Corners, width: int, height: int, written: object, file: Path) -> Corners:
    """The box within the image.

    Args:
        written: as the file has it.
    """
    left, top, right, bottom = corners
    if not (left < right and top < bottom):
        raise DataError(f"{file}: box {written} is inverted or no number: mend it")
    cut = max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height)
    outside = max(abs(a - b) for a, b in zip(corners, cut, strict=True)) > OVERHANG
    if outside or cut[0] >= cut[2] or cut[1] >= cut[3]:
        raise DataError(
            f"{file}: box {written} lies outside of its {width} x {height} image: mend it"
        )
    return cut


def _picture(
    image: Path,
    extent: tuple[int, int],
    annotation: Path,
    boxes: list[Corners],
    names: list[str],
    ignored: list[bool],
) -> Picture:
    if not image.is_file():
        raise DataError(f"{image}: no such image, which {annotation} is about: put it back")
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    return Picture(
        image, *extent, annotation, corners, np.array(names, object), np.array(ignored, bool)
    )


def _bytes(file: Path, remedy: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: does not read ({error.strerror}): {remedy}") from None
