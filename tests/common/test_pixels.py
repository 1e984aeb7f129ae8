"""Images of every format become the same upright RGB, or have one reason why not."""

from __future__ import annotations

import io
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pillow_heif import register_heif_opener
from torch.utils.data import DataLoader

from stages.common.command import one_line
from stages.common.errors import BrokenImage
from stages.common.pixels import FORMATS, TURNS, decode, is_image
from tests.datasets import samples

register_heif_opener()  # so that Pillow writes HEIC, too
RAMP = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 21  # (48, 64) of 0…64,491


def photo(size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Four quarters of a colour each, which lossy formats keep."""
    small = np.array([[(200, 30, 40), (20, 180, 60)], [(50, 60, 220), (230, 220, 40)]], np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.NEAREST)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def difference(found: Image.Image, expected: Image.Image) -> float:
    assert (found.mode, found.size) == ("RGB", expected.size)
    return float(np.abs(np.asarray(found).astype(int) - np.asarray(expected)).mean())


def png(values: np.ndarray, colour: int, bits: int = 16, size: tuple | None = None) -> bytes:
    """A PNG by hand, as Pillow writes none of 16-bit colour; `size` is what its header claims."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    rows = b"".join(b"\0" + row.astype(f">u{bits // 8}").tobytes() for row in values)
    width, height = size or values.shape[1::-1]
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_read(kind: str):
    found = decode(encoded(photo(), kind))
    assert difference(found, photo()) < (0 if kind in ("BMP", "PNG", "PPM") else 6) + 1e-9


def test_ordinary_images_keep_their_pixels(tmp_path: Path):
    """What Pillow's own conversion gives of 8-bit colour and grey."""
    for mode, kind in (("RGB", "PNG"), ("L", "PNG"), ("RGB", "JPEG"), ("L", "JPEG"), ("1", "PNG")):
        content = encoded(Image.fromarray(samples.pixels(1, (33, 21))).convert(mode), kind)
        expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        (tmp_path / "x").write_bytes(content)
        for source in (content, io.BytesIO(content), tmp_path / "x"):
            assert (np.asarray(decode(source)) == expected).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "HEIF", "AVIF"])
def test_photographs_are_turned_upright(kind: str, orientation: int):
    """As a camera writes them: the sensor's pixels, and which way up they are."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    back = {6: 8, 8: 6}.get(orientation, orientation)  # the others are their own inverse
    held = photo().transpose(TURNS[back]) if back in TURNS else photo()
    assert difference(decode(encoded(held, kind, exif=exif.tobytes())), photo()) < 6


def test_broken_exif_turns_nothing():
    content = encoded(photo(), "PNG", exif=b"Exif\0\0garbage!")
    assert difference(decode(content), photo()) == 0


def test_16_bits_become_their_high_byte_in_grey_as_in_colour():
    grey = np.repeat((RAMP >> 8).astype(np.uint8)[..., None], 3, axis=2)
    image = Image.fromarray(RAMP)
    pgm = b"P5 64 48 65535\n" + RAMP.astype(">u2").tobytes()
    files = [png(RAMP, 0), pgm, *(encoded(image, kind) for kind in ("PNG", "TIFF", "JPEG2000"))]
    big_endian = Image.frombytes("I;16B", (64, 48), RAMP.astype(">u2").tobytes())
    for content in [*files, encoded(big_endian, "TIFF")]:
        assert (np.asarray(decode(content)) == grey).all()
    colour = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], 2)
    assert (np.asarray(decode(png(colour, 2))) == colour >> 8).all()
    white = decode(png(np.full((2, 2), 65535), 0))
    assert white.getextrema() == ((255, 255),) * 3


def test_a_tiff_of_12_bits_is_not_black():
    values = np.full((2, 2), 0xFFF)
    packed = bytes([0xFF] * 6)  # two rows of two values, 12 bits each
    tags = {256: 2, 257: 2, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 2, 279: len(packed)}
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    start = 8 + len(packed)
    content = b"II*\0" + struct.pack("<I", start) + packed
    content += struct.pack("<H", len(tags)) + table + struct.pack("<I", 0)
    assert np.asarray(decode(content)).max() == values.max() >> 4


@pytest.mark.parametrize(("kind", "said"), [(np.int32, "of 32 bits"), (np.float32, "floats")])
def test_32_bits_are_refused_with_a_remedy(kind: type, said: str):
    content = encoded(Image.fromarray(RAMP.astype(kind)), "TIFF")
    with pytest.raises(BrokenImage, match=rf"here: .*{said}.* which is white; .*8 or 16 bits"):
        decode(content, "here")


def test_what_is_transparent_lies_over_white():
    """Black on transparent is what many drawings are, whose hidden colour is black as well."""
    alpha = np.zeros((4, 6), np.uint8)
    alpha[:, 3:] = 255
    black = np.zeros_like(alpha)
    expected = np.repeat(255 - alpha[..., None], 3, axis=2)
    shades = Image.merge("LA", [Image.fromarray(x) for x in (black, alpha)])
    palette = Image.fromarray(np.array(alpha > 0, np.uint8)).convert("P")
    palette.putpalette([10, 20, 30, 0, 0, 0])
    files = [encoded(shades, "PNG"), encoded(shades.convert("RGBA"), "PNG")]
    files += [encoded(shades, "TIFF"), encoded(shades.convert("RGBA"), "WEBP", lossless=True)]
    files += [encoded(palette, "PNG", transparency=t) for t in (0, b"\x00\xff")]
    files += [encoded(palette, "GIF", transparency=0)]
    for content in files:
        assert (np.asarray(decode(content)) == expected).all()


def test_cmyk_is_not_inverted():
    for kind in ("JPEG", "TIFF"):
        assert difference(decode(encoded(photo().convert("CMYK"), kind)), photo()) < 8


def test_of_several_pictures_the_first_is_read():
    others = [photo().rotate(180), photo().rotate(90)]
    for kind in ("GIF", "TIFF", "WEBP", "AVIF", "HEIF"):
        content = encoded(photo(), kind, save_all=True, append_images=others)
        assert difference(decode(content), photo()) < 6


BROKEN = {
    b"": "empty",
    b"this is a text": "no image format .*b'this is a text'",
    b"<!DOCTYPE html>\n<html>": "no image format .*DOCTYPE",
    samples.truncated_jpeg(): "truncated",
    encoded(photo(), "AVIF")[:300]: "Truncated",
    encoded(photo(), "HEIF")[:300]: "cut short",
    png(RAMP, 0, size=(30_000, 30_000)): "exceeds limit",
}


@pytest.mark.parametrize(("content", "reason"), BROKEN.items(), ids=range(len(BROKEN)))
def test_what_does_not_decode_has_one_reason(content: bytes, reason: str, tmp_path: Path):
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(BrokenImage, match=rf"x\.jpg: .*\(.*{reason}.*\)") as error:
        decode(tmp_path / "x.jpg")
    assert "\n" not in str(error.value)
    assert "0x7f" not in str(error.value)  # no address in memory


def test_a_missing_file_is_named(tmp_path: Path):
    said = r"absent\.png: image cannot be read \(No such file or directory\); check its name"
    with pytest.raises(BrokenImage, match=said):
        decode(tmp_path / "absent.png")


def test_other_programs_are_not_run():
    """Pillow hands PostScript to Ghostscript."""
    with pytest.raises(BrokenImage, match="no image format"):
        decode(encoded(photo(), "EPS"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, True) for name in ("a.jpg", "a.JPEG", "a.heic", "a.avif", "a.gif", "a.mpo")),
        *((name, True) for name in ("without", "IMG_2019.12.30")),  # by how they begin
        *((name, False) for name in ("a.txt", "a.nef", "Thumbs.db", "a.jpg.part")),
    ],
)
def test_an_image_by_its_suffix_or_without_one_by_its_beginning(
    tmp_path: Path, name: str, expected: bool
):
    (tmp_path / name).write_bytes(encoded(photo(), "TIFF"))
    assert is_image(tmp_path / name) is expected


def test_a_text_without_suffix_is_no_image(tmp_path: Path):
    for content in (b"", b"a list of things"):
        (tmp_path / "LICENSE").write_bytes(content)
        assert not is_image(tmp_path / "LICENSE")


def test_a_broken_image_is_itself_from_another_process():
    """Where it is pickled, and where torch makes one of the worker's whole traceback."""
    error = BrokenImage("a.png", "cut  short")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.where, again.reason) == (str(error), "a.png", "cut short")

    def broken(names: list[str]) -> None:
        raise BrokenImage(names[0], "cut short")

    loader = DataLoader(["b.png"], num_workers=1, collate_fn=broken)
    with pytest.raises(BrokenImage) as raised:
        next(iter(loader))
    assert one_line(raised.value) == "b.png: image does not decode (cut short); mend or remove it"
