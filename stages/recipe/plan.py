"""What is to be trained, and how long each stage of it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from stages.recipe.images import Images
from stages.recipe.machine import Machine

ARMS = ("vanilla", "sepp")
PROBE_EPOCHS = 100  # of the linear classifier
EXPLORED = 4e9  # similarities that `explore` looks at, at most
MINED = 100_000  # images that pairs are mined among, at most: the time grows as their square


class Network(NamedTuple):
    """What is trained: a backbone, and the views that it sees."""

    view: int  # pixels, edge
    backbone: str
    stem: str


class Setting(NamedTuple):
    """How a network is trained on the images at hand."""

    network: Network
    method: str  # simclr | moco
    batch: int  # rows of a step, over all devices
    stored: int  # pixels, edge of the images that views are cropped from
    resize: bool  # whether they are made so large
    packed: bool  # whether they are held decoded, or decoded for each view


class Costs(NamedTuple):
    """Seconds on this machine."""

    light: float  # to start a stage that trains nothing, with DVC's share
    heavy: float  # to start one that loads torch
    step: float  # of training, with images that are decoded
    embed: float  # of a decoded image
    probe: float  # an epoch of the linear classifier
    compare: float  # one similarity of two embeddings


UNKNOWN = Costs(*[0.0] * len(Costs._fields))


class Line(NamedTuple):
    """A stage of the pipeline."""

    stage: str
    runs: int
    seconds: float  # of each run


@dataclass(frozen=True)
class Plan:
    images: Images
    machine: Machine
    setting: Setting
    costs: Costs
    seeds: tuple[int, ...]
    epochs: int  # of an encoder's whole training, whose first part is the sampler's

    @property
    def sampler_epochs(self) -> int:
        return self.epochs // 2

    @property
    def steps(self) -> int:
        """That an encoder takes in an epoch."""
        return self.images.train // self.setting.batch

    @property
    def rows(self) -> int:
        """That an encoder sees in all: two views each."""
        return self.epochs * self.images.train

    @property
    def mined(self) -> int:
        """Images among which pairs are mined."""
        return min(self.images.train, MINED)

    @property
    def expected(self) -> list[Line]:
        """The stages of `dvc repro`, in their order."""
        costs, images, runs = self.costs, self.images, len(ARMS) * len(self.seeds)
        every, epoch, embed = images.kept, self.steps * self._step, self._embed
        looks = 1 + self.setting.packed  # to check an image, and to pack it
        pairs = self.mined**2 / 2
        # Multiples of `light` are what such runs took: of FAISS to start, of charts to draw.
        evaluated = images.train + images.test if images.evaluable else 0
        probe = evaluated * embed + PROBE_EPOCHS * costs.probe if evaluated else 0.0
        return [
            Line("source", 1, 2 * costs.light),  # and DVC's own start
            Line("prepare", 1, costs.light + looks * every * images.sample.decode),
            Line("sampler", 1, costs.heavy + self.sampler_epochs * epoch),
            Line("embed", 1, costs.heavy + self.mined * embed),
            Line("explore", 1, 1.5 * costs.light + 2 * min(pairs, EXPLORED) * costs.compare),
            Line("mine", 1, 1.5 * costs.light + 4 * pairs * costs.compare),
            Line("combine", runs, costs.light),
            Line("pretrain", runs, costs.heavy + (self.epochs - self.sampler_epochs) * epoch),
            Line("linear_eval", runs, costs.heavy + probe),
            Line("report", 1, 5 * costs.light),
        ]

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(line.runs * line.seconds for line in self.expected)

    @property
    def _decode(self) -> float:
        """Seconds an image, where the workers of all devices decode."""
        return self.images.sample.decode / self.machine.decoders

    @property
    def _step(self) -> float:
        return self._beside(self.costs.step, self.setting.batch)

    @property
    def _embed(self) -> float:
        return self._beside(self.costs.embed, 1)

    def _beside(self, seconds: float, images: int) -> float:
        """Work on `images`, and decoding them where they are streamed: at the same time if a GPU
        works, else by the same cores."""
        decode = 0.0 if self.setting.packed else images * self._decode
        return max(seconds, decode) if self.machine.gpu else seconds + decode
