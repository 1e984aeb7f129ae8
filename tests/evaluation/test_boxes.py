"""Both layouts say the same of the same images, and what is wrong with them is told in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from stages.common.errors import DataError
from stages.evaluation._boxes import read_coco, read_voc
from tests.evaluation import shapes
from tests.evaluation.shapes import Shape

ONE = [Shape("circle", (3, 4, 13, 24))]


@pytest.fixture(scope="module")
def made():
    return shapes.images(6, seed=0)


@pytest.fixture
def voc(tmp_path, made) -> Path:
    shapes.write_voc(tmp_path, "train", made)
    return tmp_path


@pytest.fixture
def coco(tmp_path, made) -> Path:
    shapes.write_coco(tmp_path, "train", made)
    return tmp_path


def test_both_layouts_have_the_boxes_that_were_drawn(voc, coco, made):
    for pictures in (read_voc(voc, "train"), read_coco(coco, "train")):
        assert len(pictures) == len(made)
        for picture, (image, drawn) in zip(pictures, made, strict=True):
            assert (picture.width, picture.height) == image.size
            assert picture.names.tolist() == [shape.name for shape in drawn]
            assert np.array_equal(picture.boxes, [shape.box for shape in drawn])
            assert not picture.ignored.any()


def test_lists_of_several_years_lie_in_folders(tmp_path, made):
    shapes.write_voc(tmp_path / "VOC2007", "trainval", made)
    assert len(read_voc(tmp_path, "VOC2007/trainval")) == len(made)


def test_images_without_objects_are_images(tmp_path, made):
    empty = [(image, []) for image, _ in made]
    shapes.write_voc(tmp_path, "train", empty)
    shapes.write_coco(tmp_path, "train", empty)
    for pictures in (read_voc(tmp_path, "train"), read_coco(tmp_path, "train")):
        assert [picture.boxes.shape for picture in pictures] == [(0, 4)] * len(made)


def first_xml(root: Path) -> Path:
    return root / "Annotations/train_0000.xml"


def test_difficult_objects_are_ignored(voc):
    size = read_voc(voc, "train")[0].width, read_voc(voc, "train")[0].height
    first_xml(voc).write_text(shapes.voc_xml("train_0000.png", size, ONE, difficult=1))
    picture = read_voc(voc, "train")[0]
    assert picture.ignored.tolist() == [True]
    assert len(picture.without_ignored().boxes) == 0


def change(root: Path, edit) -> None:
    file = root / "annotations/instances_train.json"
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


def test_crowds_are_ignored_and_boxes_without_extent_left_out(coco, caplog):
    before = sum(len(picture.boxes) for picture in read_coco(coco, "train"))

    def edit(content):
        content["annotations"][0]["iscrowd"] = 1
        content["annotations"][1]["bbox"][3] = 0.0

    change(coco, edit)
    pictures = read_coco(coco, "train")
    assert sum(len(picture.boxes) for picture in pictures) == before - 1
    assert sum(picture.ignored.sum() for picture in pictures) == 1
    assert "instances_train.json: 1 boxes without extent are left out" in caplog.text


def test_what_rounding_puts_outside_is_cut(voc):
    picture = read_voc(voc, "train")[0]
    whole = [Shape("circle", (-1, -1, picture.width + 1, picture.height + 1))]
    size = picture.width, picture.height
    first_xml(voc).write_text(shapes.voc_xml("train_0000.png", size, whole))
    assert read_voc(voc, "train")[0].boxes.tolist() == [[0, 0, *size]]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (r"<size>.*</size>", "", "<annotation> has no <size/width>: add it"),
        (r"<bndbox>.*?</bndbox>", "", "<object> has no <bndbox/xmin>: add it"),
        (r"<name>\w+</name>", "", "<object> has no <name>: add it"),
        (r"<xmin>\d+", "<xmin>left", "<bndbox/xmin> 'left' is not a number: mend it"),
        (r"<width>\d+", "<width>nan", "<size/width> 'nan' is not a number: mend it"),
        (r"<xmin>\d+", "<xmin>90", "is inverted or no number: mend it"),
        (r"<xmax>\d+", "<xmax>900", "lies outside of its"),
        (r"<xmin>\d+", "<xmin>-3", "lies outside of its"),
        (r"</annotation>", "", "is not plain XML (no element found"),
        (r"<filename>.*</filename>", "<filename>x.jpg</filename>", "x.jpg: no such image, which"),
    ],
)
def test_a_wrong_xml_is_named(voc, old, new, told):
    size = read_voc(voc, "train")[0].width, read_voc(voc, "train")[0].height
    text = shapes.voc_xml("train_0000.png", size, ONE)
    first_xml(voc).write_text(re.sub(old, new, text, count=1))
    with pytest.raises(DataError) as error:
        read_voc(voc, "train")
    assert told in str(error.value)
    assert str(first_xml(voc)) in str(error.value)
    assert "\n" not in str(error.value)


SWELLING = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
READING = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>'


@pytest.mark.parametrize("doctype", [SWELLING, READING])
def test_entities_are_refused_before_they_are_read(voc, doctype):
    text = first_xml(voc).read_text().replace("<name>", "<name>&a;", 1)
    first_xml(voc).write_text(doctype + text)
    with pytest.raises(DataError, match=r"is not plain XML .*DOCTYPE.*: mend it"):
        read_voc(voc, "train")


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda c: c.pop("categories"), "'categories' is missing"),
        (lambda c: c["annotations"][0].pop("bbox"), "'bbox' is missing"),
        (lambda c: c["annotations"][0].update(category_id=99), "99 is missing"),
        (lambda c: c["annotations"][0].update(image_id=99), "99 is missing"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), "not enough values"),
        (lambda c: c["annotations"][0].update(bbox=[9, 9, -4, 4]), "[9, 9, -4, 4] is inverted"),
        (lambda c: c["annotations"][0].update(bbox=[0, 0, 999, 9]), "lies outside of its"),
        (lambda c: c["images"][0].update(file_name="gone.png"), "gone.png: no such image"),
    ],
)
def test_wrong_instances_are_named(coco, edit, told):
    change(coco, edit)
    with pytest.raises(DataError) as error:
        read_coco(coco, "train")
    assert told in str(error.value)
    assert "instances_train.json" in str(error.value)


@pytest.mark.parametrize("reader", [read_voc, read_coco])
def test_a_missing_list_is_named_with_what_to_set(tmp_path, reader):
    with pytest.raises(DataError, match=r"train\.(txt|json): .*No such file.*: set detection.root"):
        reader(tmp_path, "train")
