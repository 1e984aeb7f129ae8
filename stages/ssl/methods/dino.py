"""DINO (Caron et al. 2021, arXiv:2104.14294): self-distillation with centring and sharpening.

The reference is facebookresearch/dino, `main_dino.py`. Departures: every row has a weight; the
embedding is the head's bottleneck, before it is compared with the prototypes; no gradient clipping;
the head's layers start as torch's do; the teacher moves before a step instead of after the last;
the learning rate decays to 0. Kept is the teacher, which the authors evaluate (`eval_linear.py`).
For batches of 256 they advise a momentum of 0.9995.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import linear, log_softmax, normalize, softmax

from stages.common.sections import Count, ViewChanges
from stages.ssl import distributed
from stages.ssl.heads import HeadSpec, mlp
from stages.ssl.losses import in_float32
from stages.ssl.methods import Batch, Group, NewBackbone, Step, decayed
from stages.ssl.momentum import MomentumEncoder, cosine_momentum
from stages.ssl.multi_crop import MultiCrop, MultiCropParams

Positive = Annotated[float, Field(gt=0)]


class DINOParams(MultiCropParams):
    views: ViewChanges = ViewChanges(crop_area=(0.14, 1.0), saturation=0.2)
    first_view: ViewChanges = ViewChanges(blur=1.0)  # of the two large ones; small ones as `views`
    second_view: ViewChanges = ViewChanges(blur=0.1, solarize=0.2)
    prototypes: Count = 65536
    student_temperature: Positive = 0.1
    teacher_temperature: Positive = 0.04
    warmup_temperature: Positive = 0.04  # the teacher's at first
    warmup_temperature_epochs: Annotated[int, Field(ge=0)] = 0
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.996  # of the teacher at first; 1 at the end
    center_momentum: Annotated[float, Field(ge=0, le=1)] = 0.9
    local_views: Annotated[int, Field(ge=0)] = 8  # small crops, which the student alone sees
    hidden_dim: Count = 2048
    bottleneck_dim: Count = 256
    base_lr: Positive = 0.03
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    warmup_epochs: Annotated[int, Field(ge=0)] = 10


class DINO(MultiCrop):
    """A row's weight multiplies its cross-entropies, and is its share in the centre, which is the
    mean of a sample in which the row occurs `weight` times."""

    Params = DINOParams
    params: DINOParams

    def __init__(self, params: DINOParams, new_backbone: NewBackbone) -> None:
        super().__init__(params, new_backbone)
        self.prototypes = Prototypes(params.bottleneck_dim, params.prototypes)
        self.teacher = MomentumEncoder(self.backbone, self.projection, self.prototypes)
        self.center: Tensor
        self.register_buffer("center", torch.zeros(params.prototypes))

    def projection_spec(self) -> HeadSpec:
        hidden, out = self.params.hidden_dim, self.params.bottleneck_dim
        return mlp(self.feature_dim, hidden, hidden, out, norm=None, activation="gelu")

    def step(self, first: Tensor, second: Tensor, batch: Batch) -> Step:
        """Cross-entropy of the student's views with the teacher's other views (Algorithm 1)."""
        p = self.params
        momentum = cosine_momentum(p.momentum, batch.progress)
        self.teacher.update(momentum, self.backbone, self.projection, self.prototypes)
        both = torch.cat([first, second])
        embedding = self.projection(self.backbone(both))
        if batch.extra:
            local = self.projection(self.backbone(torch.cat(list(batch.extra))))
            embedding = torch.cat([embedding, local])
        student = self.prototypes(embedding).chunk(2 + len(batch.extra))
        teacher = self.teacher(both).chunk(2)
        temperatures = (p.student_temperature, self._teacher_temperature(batch.epoch))
        loss = distillation(student, teacher, self.center, temperatures)
        self._update_center(torch.stack(teacher).mean(0), batch.weight)
        return Step((loss * batch.weight).mean(), embedding[: len(first)])

    def _teacher_temperature(self, epoch: int) -> float:
        p = self.params
        epochs = p.warmup_temperature_epochs  # the last of which has the final value
        done = epoch / max(1, epochs - 1) if epoch < epochs else 1.0
        return p.warmup_temperature + (p.teacher_temperature - p.warmup_temperature) * done

    @torch.no_grad()
    @in_float32
    def _update_center(self, scores: Tensor, weight: Tensor) -> None:  # (B, K), (B,)
        """Eq. 4, from all devices' rows, after the loss."""
        total = distributed.mean(torch.cat([weight @ scores, weight.sum()[None]]))
        self.center.lerp_(total[:-1] / total[-1], 1 - self.params.center_momentum)

    def kept(self) -> tuple[nn.Module, nn.Module]:
        """The teacher's, as the authors do; its last move, by a momentum of 1, would be none."""
        backbone, projection, _ = self.teacher.average
        return backbone, projection

    def groups(self) -> list[Group]:
        """Biases and batch norms are spared from weight decay, with SGD too."""
        return decayed(self.parameters(), spare_vectors=True)


class Prototypes(nn.Module):
    """Cosine of a vector to each prototype: a linear layer whose rows have length 1."""

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, dim))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # as a linear layer's

    @in_float32
    def forward(self, z: Tensor) -> Tensor:  # (B, dim) -> (B, count)
        return linear(normalize(z), normalize(self.weight))


@in_float32
def distillation(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    center: Tensor,
    temperatures: tuple[float, float],
) -> Tensor:
    """Eq. 1 to 3, mean over all pairs of a teacher's view with another view of the student's.

    Args:
        student: (B, K) scores of each view; the first ones are the teacher's views.
        teacher: (B, K) scores of the two large views.
        center: (K,), taken from the teacher's scores.
        temperatures: the student's, the teacher's.

    Returns:
        (B,)
    """
    targets = [softmax((scores - center) / temperatures[1], dim=1) for scores in teacher]
    logs = [log_softmax(scores / temperatures[0], dim=1) for scores in student]
    terms = [
        -(target * log).sum(1)
        for i, target in enumerate(targets)
        for j, log in enumerate(logs)
        if i != j
    ]
    return torch.stack(terms).mean(0)
