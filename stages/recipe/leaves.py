"""A plan as a recipe: the nearest preset's text, with the plan's leaves in place of its own."""

from __future__ import annotations

from stages.common.sections import BUNDLED
from stages.recipe.images import Images
from stages.recipe.plan import ARMS, MINED, PROBE_EPOCHS, Plan, Setting
from stages.recipe.text import Leaf, preset, values_of, with_leaves

COLOURS = {"saturation": 0.4, "hue": 0.1, "grayscale": 0.2}  # MoCo-v2's, as are contrast and blur
SHARP = 48  # pixels of a view below which a blur leaves nothing to see
NARROW = "resnet10-w16"  # with the fewest features, 128
DRAWN = 64  # pixels below which grey images are taken for drawings


def params_text(plan: Plan) -> str:
    """The whole recipe but its header."""
    images, setting = plan.images, plan.setting
    base = "imagenet" if setting.method == "moco" else "characters"
    leaves = {
        **_data(plan),
        **_views(images, setting),
        **_training(plan),
        **_pairs(plan),
        **_queues(plan, values_of(preset(base))["methods"]),
        **_method(plan),
        **_evaluation(plan),
    }
    return with_leaves(preset(base), leaves)


def _data(plan: Plan) -> dict[str, Leaf]:
    images, setting, sample = plan.images, plan.setting, plan.images.sample
    leaves = {
        "data.name": Leaf(images.name),
        "data.watch": Leaf([] if images.name in BUNDLED else [images.name]),
        "data.split": Leaf(images.split),
        "data.resize": Leaf(setting.stored if setting.resize else None),
        "data.unlabelled": Leaf(images.no_labels),
        "data.pack_gib": Leaf(plan.machine.room),
    }
    if sample.broken:
        looked_at = sample.broken + sample.count
        note = f"of {looked_at}, {sample.broken} without decoding; false: stop there"
        leaves["data.skip_broken"] = Leaf(True, note)
    return leaves


def _drawn(images: Images) -> bool:
    """Whether they are taken for drawings, as characters are, and not for photographs."""
    return images.sample.grey and images.sample.edge < DRAWN


def _views(images: Images, setting: Setting) -> dict[str, Leaf]:
    sample, view = images.sample, setting.network.view
    leaves = {
        "views.image_size": Leaf(view, f"pixels, edge of a view; the images have {sample.edge}"),
        "views.mean": Leaf(sample.mean, f"measured, as std, on {sample.count} images at random"),
        "views.std": Leaf(sample.std),
    }
    if _drawn(images):
        return leaves | {
            "views.flip": Leaf(0.0, "0.5 if a mirrored image shows the same thing"),
            "views.saturation": Leaf(0.0, "the images have no colour"),
        }
    colours = dict.fromkeys(COLOURS, 0.0) if sample.grey else COLOURS
    note = "the images have no colour" if sample.grey else ""
    return leaves | {
        "views": Leaf(comment="MoCo-v2's augmentation; every draw is per sample"),
        "views.crop_area": Leaf([0.2, 1.0]),
        "views.flip": Leaf(0.5, "0.0 if a mirrored image shows another thing, as with letters"),
        "views.jitter": Leaf(0.8),
        "views.contrast": Leaf(0.4),
        "views.saturation": Leaf(colours["saturation"], note),
        "views.hue": Leaf(colours["hue"]),
        "views.grayscale": Leaf(colours["grayscale"]),
        "views.blur": Leaf(0.5 if view >= SHARP else 0.0),
    }


def _training(plan: Plan) -> dict[str, Leaf]:
    network, setting = plan.setting.network, plan.setting
    leaves = {
        "sampler": Leaf(comment="the encoder that mines the pairs"),
        "sampler.method": Leaf(setting.method, "a file of stages/ssl/methods"),
        "sampler.epochs": Leaf(plan.sampler_epochs, "without pairs; then the arms go on"),
        "sampler.of_epochs": Leaf(plan.epochs),
        "pretrain.method": Leaf(setting.method),
        "pretrain.epochs": Leaf(plan.epochs, f"{plan.epochs * plan.steps:,} steps in all"),
        "pretrain.start": Leaf("sampler"),
        "pretrain.match_steps": Leaf(True),
        "seeds": Leaf(list(plan.seeds), _seeds(plan)),
        "arms": Leaf(list(ARMS), "of vanilla | sepp | duplicate | random | oracle"),
    }
    for section in ("sampler", "pretrain"):
        leaves[f"{section}.backbone"] = Leaf(network.backbone)
        leaves[f"{section}.stem"] = Leaf(network.stem)
        leaves[f"{section}.batch_size"] = Leaf(setting.batch)
    leaves["sampler.batch_size"] = Leaf(setting.batch, "rows per step, over all devices")
    return leaves


def _seeds(plan: Plan) -> str:
    if len(plan.seeds) > 1:
        return "the fewest that tell whether a gain is one"
    if plan.images.evaluable:
        return "[0, 1, 2] tells whether a gain is one, and takes longer"
    return "without labels there is no accuracy to tell seeds by"


def _pairs(plan: Plan) -> dict[str, Leaf]:
    """Drawings: walks, as in `characters`; photographs: centred cosines, which found the most."""
    drawing = _drawn(plan.images)
    every = plan.images.train <= MINED
    return {
        "embed.k": Leaf(1.0 if every else MINED, "K: all training images" if every else "K"),
        "embed.layer": Leaf("projection", "projection | backbone"),
        "sepp.transform": Leaf("whiten" if drawing else "center"),
        "sepp.neighbours": Leaf(10 if drawing else 0),
        "sepp.min": Leaf(0.9, "counts only with pairs_per_image: null"),
        "sepp.max": Leaf(1.0),
        "sepp.pairs_per_image": Leaf(
            2.0 if drawing else 1.0, "so many of the most similar; `sepp scores` compares choices"
        ),
        "sepp.memory": Leaf(min(2.0, plan.machine.room), "GiB for mining"),
    }


def _queues(plan: Plan, blocks: dict[str, dict]) -> dict[str, Leaf]:
    most = 2 ** ((plan.images.train // 2).bit_length() - 1)  # keys of a step fit: two rows' a row
    return {
        f"methods.{name}.queue": Leaf(min(most, block["queue"]))
        for name, block in blocks.items()
        if "queue" in block
    }


def _method(plan: Plan) -> dict[str, Leaf]:
    setting = plan.setting
    warmup = 10 if setting.batch > 256 and plan.epochs >= 50 else 0
    if setting.method == "moco":
        devices = plan.machine.devices
        large = setting.network.backbone == "resnet50"
        return {
            "methods.moco.momentum": Leaf(0.999 if large else 0.99, "of the key encoder"),
            "methods.moco.hidden_dim": Leaf(2048 if large else 512),
            "methods.moco.bn_splits": Leaf(devices if 8 % devices else 8),
            "methods.moco.warmup_epochs": Leaf(warmup),
        }
    # What photographs and characters were trained with: a peak of 0.2 at batches of 64 and 128.
    # Above, with which nothing was, it grows as the root of the batch.
    peak = 0.2 * max(1.0, setting.batch / 128) ** 0.5
    rate = round(peak * 256 / max(64, setting.batch), 3)
    return {
        "methods.simclr.temperature": Leaf(0.2),
        "methods.simclr.base_lr": Leaf(rate, "at batch size 256, scaled linearly"),
        "methods.simclr.warmup_epochs": Leaf(warmup),
    }


def _evaluation(plan: Plan) -> dict[str, Leaf]:
    images = plan.images
    each = max(1, images.labelled // max(1, images.classes))
    leaves = {
        "linear_eval": Leaf(comment="a linear classifier, and kNN, on frozen features"),
        "linear_eval.protocol": Leaf("cached"),
        "linear_eval.epochs": Leaf(PROBE_EPOCHS),
        "linear_eval.batch_size": Leaf(256 if images.labelled >= 4_096 else 64),
        "linear_eval.knn_k": Leaf(min(200, each), "at most the images of a class"),
    }
    if plan.setting.method == "simclr":  # MoCo's features are of the scale that MoCo's rate is for
        rate = 1.0 if plan.setting.network.backbone == NARROW else 0.1
        leaves["linear_eval.lr"] = Leaf(rate, "lower, if it warns of a loss above chance")
    return leaves
