"""What methods that compare views with prototypes share (Caron et al. 2020): multi-crop, small
crops of a row's images beside its views (section 3.2), and prototypes that stay at first."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from stages.common.sections import Views
from stages.ssl.methods import Method, MethodParams

Area = Annotated[float, Field(gt=0, le=1)]


class MultiCropParams(MethodParams):
    """Params of a method that takes small crops, which are like `views` but for size and area."""

    local_views: Annotated[int, Field(ge=0)]  # small crops of each row; 0: none
    local_size: Annotated[int, Field(ge=4)] = 96  # pixels, edge
    local_area_min: Area = 0.05  # share of the image
    local_area_max: Area = 0.14
    freeze_epochs: Annotated[int, Field(ge=0)] = 1  # at first, in which prototypes stay

    @model_validator(mode="after")
    def _ordered(self) -> MultiCropParams:
        if self.local_area_min > self.local_area_max:
            raise ValueError(
                f"local_area_min {self.local_area_min} is above "
                f"local_area_max {self.local_area_max}: lower it"
            )
        return self


class MultiCrop(Method):
    """Base of a method whose constructor makes `self.prototypes`, a module with a `weight`."""

    params: MultiCropParams

    def extra_views(self, views: Views) -> list[Views]:
        p = self.params
        area = (p.local_area_min, p.local_area_max)
        small = views.model_copy(update={"image_size": p.local_size, "crop_area": area})
        return [small] * p.local_views

    def after_backward(self, epoch: int) -> None:
        if epoch < self.params.freeze_epochs:
            self.prototypes.weight.grad = None
