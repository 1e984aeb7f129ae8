"""Multi-crop: small crops of a row's images, beside its views (Caron et al. 2020, section 3.2)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from stages.ssl.methods import MethodParams
from stages.ssl.views import ExtraViews

Area = Annotated[float, Field(gt=0, le=1)]


class MultiCropParams(MethodParams):
    """Params of a method that takes small crops; `views.crop_area` is that of the large ones."""

    local_views: Annotated[int, Field(ge=0)]  # small crops of each row; 0: none
    local_size: Annotated[int, Field(ge=4)] = 96  # pixels, edge
    local_area_min: Area = 0.05  # share of the image
    local_area_max: Area = 0.14

    @model_validator(mode="after")
    def _ordered(self) -> MultiCropParams:
        if self.local_area_min > self.local_area_max:
            raise ValueError(
                f"local_area_min {self.local_area_min} is above "
                f"local_area_max {self.local_area_max}: lower it"
            )
        return self

    def crops(self) -> ExtraViews | None:
        area = (self.local_area_min, self.local_area_max)
        return ExtraViews(self.local_views, self.local_size, area) if self.local_views else None
