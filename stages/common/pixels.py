"""From an image file to pixels, in one place: what packs, streams or embeds images sees the same.

An image is read in RGB with 8 bits a channel, as it is meant to be looked at:

- turned as its EXIF orientation says, which photographs of phones rely on;
- of an animation, a multi-page TIFF or a HEIC sequence the first picture;
- of 16 bits the high byte, as Pillow itself reads 16-bit colour: 65,535 is white in every image, so
  that two images stay comparable. Stretching each to its own range would not;
- what is transparent over white, as on a page: the colour stored below is often arbitrary;
- without regard to colour profiles, as torchvision and timm do.

Floats, and integers of 32 bits or with a sign, are refused: nothing says which value is white.
"""

from __future__ import annotations

import functools
import io
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from stages.common.errors import BrokenImage

# Of photographs and drawings, the usual ones first. Others that Pillow opens run programs (EPS), or
# decode nothing.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "AVIF", "HEIF", "JPEG2000")
TURNS = {  # by EXIF orientation, what makes the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(source: Path | bytes | BinaryIO, name: str = "") -> Image.Image:
    """The image in RGB, upright.

    Raises:
        BrokenImage: it cannot be read, or does not decode; names `name`, else the path, and one
            reason.
    """
    name = name or (str(source) if isinstance(source, Path) else "an image")
    content = read(source, name)
    _set_up()
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            image.load()
            return upright(image)
    except MemoryError:
        raise  # of this machine, and not of the file
    except UnidentifiedImageError:  # its own message is an address in memory
        reason = f"no image format that is read here, or cut short: begins with {content[:16]!r}"
        raise BrokenImage(name, reason) from None
    except Exception as error:  # Pillow's plugins raise nearly anything on a broken file
        raise BrokenImage(name, str(error).rstrip(".") or type(error).__name__) from None


def read(source: Path | bytes | BinaryIO, name: str) -> bytes:
    """The encoded image; raises BrokenImage where there is none."""
    if isinstance(source, bytes):
        content = source
    else:
        try:
            content = source.read_bytes() if isinstance(source, Path) else source.read()
        except OSError as error:
            told = "image cannot be read", "check its name and that it is there"
            raise BrokenImage(name, error.strerror or error, *told) from None
    if not content:
        raise BrokenImage(name, "empty, 0 bytes")
    return content


def square(image: Image.Image, edge: int | None) -> Image.Image:
    """The central square of an image, with an edge of so many pixels: what lies beside it is lost.
    None, or an image that is such a square already: as it is."""
    if edge is None or image.size == (edge, edge):
        return image
    return ImageOps.fit(image, (edge, edge), Image.Resampling.BICUBIC)


def is_image(path: Path) -> bool:
    """Whether a file is to be read: by its suffix, and without one by what it begins with.

    A broken one counts, so that whoever reads it is told. What has another suffix does not, though
    it may begin like an image: a camera's raw file is a TIFF with a thumbnail to Pillow.
    """
    suffix = path.suffix.lower()
    if suffix.strip(".0123456789"):  # a number after a dot, as in a date, is no suffix
        return suffix in _suffixes()
    _set_up()
    try:
        with Image.open(path, formats=FORMATS):
            return True
    except UnidentifiedImageError:
        return False
    except Exception:  # something there begins like one
        return True


@functools.cache
def _suffixes() -> frozenset[str]:
    _set_up()
    known = Image.registered_extensions().items()
    # MPO, of several pictures, is a JPEG to Pillow's reader.
    return frozenset(suffix for suffix, kind in known if kind in (*FORMATS, "MPO"))


@functools.cache
def _set_up() -> None:
    """Lets Pillow read HEIC, once a process; and silences what names no file."""
    from pillow_heif import register_heif_opener  # 40 ms, which not all need

    register_heif_opener()
    # From 89 megapixels; what is twice as large is refused.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    warnings.filterwarnings("ignore", "Corrupt EXIF data", UserWarning)


def upright(image: Image.Image) -> Image.Image:
    """An opened image as `decode` gives it."""
    shown = _eight_bits(image)
    if shown.has_transparency_data:
        page = Image.new("RGBA", shown.size, "white")
        page.alpha_composite(shown.convert("RGBA"))
        shown = page
    shown = shown.convert("RGB")
    shown.info = {}  # which says that it is to be turned
    turn = TURNS.get(_orientation(image))
    return shown if turn is None else shown.transpose(turn)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Pillow's own conversion would make all above 255 white, without a word."""
    # Pillow spreads a PGM of more than 8 bits over 0…65,535.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        tags = getattr(image, "tag_v2", {})
        bits = tags.get(ExifTags.Base.BitsPerSample, (16,))[0]  # a TIFF may have 12
        return Image.fromarray((np.asarray(image) >> (bits - 8)).astype(np.uint8))
    if image.mode[0] in "IF":
        kind = "floats" if image.mode[0] == "F" else "integers of 32 bits or with a sign"
        raise ValueError(f"{kind}, of which nothing says which is white; save it with 8 or 16 bits")
    return image


def _orientation(image: Image.Image) -> object:
    """The EXIF orientation. Of TIFF and HEIC there is none by now: they are turned as they load."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # EXIF that does not read, for which Pillow raises nearly anything
        return None
