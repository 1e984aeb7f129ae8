"""The gallery's sample of mined pairs as one small PNG, which a README can show.

On a background of its own, so that it looks alike on a light and on a dark page. Whether a pair is
right is told by a mark as well as by the colour of its frame.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from stages.reporting.gallery import CRISP, Card, Images
from stages.reporting.words import right_words

LIMIT = 100_000  # bytes, at most
COLUMNS = 6
EDGE = 96  # pixels of an image; README pages show the whole at about two thirds
GAP, PAD, LINE, TOP = 6, 10, 34, 104  # between two images, in a card, its caption, the title
SPACE = 14  # between cards
PAPER, INK, MUTED, PANEL = "#ffffff", "#17202a", "#54606e", "#f0f2f5"
FRAMES = {"same": "#157a4a", "different": "#b3261e", "unknown": "#8593a3"}
MEANING = {"same": "equal labels", "different": "different labels"}
# Tried in turn until the file is small enough: pixels of an image that are told apart, colours.
FINENESS = ((EDGE, None), (EDGE, 256), (48, 256), (32, 256), (32, 64), (24, 32))


def draw(cards: Sequence[Card], images: Images, summary: dict) -> bytes:
    """The PNG of the sampled cards, at most 100 KB; the same cards give the same bytes.

    `summary` has the data set's name, and of all pairs the number and the accuracy.
    """
    shown = [card for card in cards if card.sampled]
    for fineness, colours in FINENESS:
        sheet = _sheet(shown, images, summary, fineness)
        if colours:
            sheet = sheet.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        stream = io.BytesIO()
        sheet.save(stream, "PNG", optimize=True)
        if stream.tell() <= LIMIT:
            break
    return stream.getvalue()


def _sheet(shown: list[Card], images: Images, summary: dict, fineness: int) -> Image.Image:
    card_width, card_height = 2 * EDGE + GAP + 2 * PAD, EDGE + LINE + PAD
    across, down = COLUMNS, -(-len(shown) // COLUMNS)
    width = SPACE + across * (card_width + SPACE)
    sheet = Image.new("RGB", (width, TOP + down * (card_height + SPACE)), PAPER)
    pen = ImageDraw.Draw(sheet)
    _title(sheet, pen, shown, summary)
    for i, card in enumerate(shown):
        x = SPACE + i % COLUMNS * (card_width + SPACE)
        y = TOP + i // COLUMNS * (card_height + SPACE)
        box = (x, y, x + card_width - 1, y + card_height - 1)
        pen.rounded_rectangle(box, 6, PANEL, FRAMES[card.kind], 3)
        for place, picture in enumerate((card.anchor, card.positive)):
            image = _thumbnail(images.read(picture.id), fineness)
            left = x + PAD + place * (EDGE + GAP) + (EDGE - image.width) // 2
            sheet.paste(image, (left, y + PAD + (EDGE - image.height) // 2))
        middle = y + PAD + EDGE + LINE // 2
        pen.text((x + PAD, middle), card.similarity, INK, _font(20), "lm")
        _mark(sheet, card.kind, x + card_width - PAD - 20, middle - 10)
    pen.rectangle((0, 0, sheet.width - 1, sheet.height - 1), outline="#d5dbe2")
    return sheet


def _title(sheet: Image.Image, pen: ImageDraw.ImageDraw, shown: list[Card], summary: dict) -> None:
    """What there is, and what is shown of it; then what the marks mean, where there are any."""
    pairs, of = summary["pairs"], summary["data"]["name"]
    known = ""
    if pairs["accuracy"] is not None:
        known = f", {pairs['accuracy']:.1%} {right_words(pairs)}"
    title = f"{pairs['count']:,} mined pairs{f' of {of}' if of else ''}{known}"
    pen.text((SPACE, 30), title, INK, _font(30), "lm")
    part = f"{len(shown)} of them at random, in true proportion"
    part = part if len(shown) < pairs["count"] else "All of them" if shown else "None to show"
    text = f"{part}, with their similarity."
    pen.text((SPACE, 74), text, MUTED, _font(22), "lm")
    x = SPACE + pen.textlength(text, _font(22)) + 26
    for kind in [kind for kind in MEANING if any(card.kind == kind for card in shown)]:
        _mark(sheet, kind, int(x), 64)
        pen.text((x + 28, 74), MEANING[kind], MUTED, _font(22), "lm")
        x += 28 + pen.textlength(MEANING[kind], _font(22)) + 26


def _thumbnail(image: Image.Image, fineness: int) -> Image.Image:
    """At most EDGE pixels a side; small images with their pixels as squares."""
    image = image.convert("RGB")
    crisp = max(image.size) <= min(CRISP, fineness)
    if not crisp:
        image.thumbnail((fineness, fineness), Image.Resampling.LANCZOS)
    scale = max(1, EDGE // max(image.size))
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def _mark(sheet: Image.Image, kind: str, x: int, y: int) -> None:
    """A white check or cross on a disc of 20 pixels; nothing where it is not known."""
    strokes = {
        "same": [((24, 42), (35, 53), (57, 29))],
        "different": [((27, 27), (53, 53)), ((53, 27), (27, 53))],
    }.get(kind)
    if strokes is None:
        return
    disc = Image.new("RGBA", (80, 80), FRAMES[kind] + "00")  # drawn large, for smooth edges
    pen = ImageDraw.Draw(disc)
    pen.ellipse((0, 0, 79, 79), FRAMES[kind])
    for stroke in strokes:
        pen.line(stroke, "white", 10, "curve")
    disc = disc.resize((20, 20), Image.Resampling.LANCZOS)
    sheet.paste(disc, (x, y), disc)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own, so that the picture does not depend on what a machine has installed."""
    return ImageFont.load_default(size)
