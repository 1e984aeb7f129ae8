"""A preset on another data set: the statistics are that data's, all else is the preset's."""

from __future__ import annotations

import click

from stages.common.sections import BUNDLED
from stages.recipe.images import look_at
from stages.recipe.text import Leaf, preset, values_of, with_leaves

SMALL = 64  # pixels: a smaller view of a much larger image shows hardly anything of it


def on_other_data(name: str, data: str) -> str:
    """The text of preset `name` for `data`, at which it looks; says what is the preset's.

    Raises:
        DataError: the data is not there, or no image of it decodes.
    """
    found = look_at(data)
    sample, plain = found.sample, preset(name)
    view = values_of(plain)["views"]["image_size"]
    measured = f"measured on {sample.count} images of {data}"
    unfit = misfit(view, sample.edge)
    line = f"views of {view} pixels are the recipe's; the images have {sample.edge}"
    click.echo(f"mean and std: {measured}; {line}")
    if unfit:
        click.echo(f"warning: {unfit}; `sepp preset auto --data {data}` chooses for these images")
    head = f"# The recipe {name} on {data}: mean and std {measured};\n# {line}.\n#\n"
    leaves = {
        "data.name": Leaf(data),
        "data.watch": Leaf([] if data in BUNDLED else [data]),
        "views.image_size": Leaf(view, f"pixels, edge of a view; the images have {sample.edge}"),
        "views.mean": Leaf(sample.mean, measured),
        "views.std": Leaf(sample.std),
    }
    return head + with_leaves(plain, leaves)


def misfit(view: int, edge: int) -> str | None:
    """What is wrong with views of `view` pixels of images whose shorter edge has `edge`, if that
    is so."""
    if view < SMALL and edge >= 4 * view:
        return f"views of {view} pixels show hardly anything of images of {edge}"
    if view >= 2 * edge:
        return f"views of {view} pixels enlarge images of {edge}, which shows no more"
    return None
