"""What the two methods with prototypes and small crops, SwAV and DINO, have in common."""

from __future__ import annotations

import pytest

from tests.ssl import tiny
from tests.ssl.tiny import images

VIEWS = tiny.common_views()
BOTH = pytest.mark.parametrize("name", ["swav", "dino"])


@BOTH
def test_prototypes_stand_still_in_the_first_epochs(name):
    model = tiny.new(name, freeze_epochs=2)
    for epoch, frozen in enumerate([True, True, False]):
        model.step(images(4, 1), images(4, 2), tiny.batch([0, 1, 2, 3])).loss.backward()
        model.after_backward(epoch)
        assert (model.prototypes.weight.grad is None) == frozen
        assert model.projection.layers[0].weight.grad is not None


@BOTH
def test_small_crops_are_asked_for_as_the_parameters_say(name):
    sizes = {"local_size": 16, "local_area_min": 0.1, "local_area_max": 0.3}
    changes = {"views": {"saturation": 0.1}, "first_view": {"blur": 1.0}}
    *two, one, second, third = tiny.new(name, local_views=3, **sizes, **changes).row_views(VIEWS)
    assert [view.image_size for view in two] == [224, 224]
    like = {"image_size": 16, "crop_area": (0.1, 0.3), "saturation": 0.1}
    assert one == second == third == VIEWS.model_copy(update=like)
    assert len(tiny.new(name, local_views=0).row_views(VIEWS)) == 2
