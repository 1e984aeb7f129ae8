"""`sepp preset auto`: times some steps on this machine, and makes a plan for images of them."""

from __future__ import annotations

import logging
from pathlib import Path

from stages.common.all_params import AllParams
from stages.common.param_file import validate
from stages.recipe.choose import TooShort, choose
from stages.recipe.clock import Clock, allowed
from stages.recipe.duration import spoken
from stages.recipe.images import Images
from stages.recipe.leaves import params_text
from stages.recipe.machine import machine
from stages.recipe.plan import UNKNOWN, Costs, Plan, Setting
from stages.recipe.text import values_of, with_header
from stages.recipe.timing import Meter
from stages.recipe.told import header, print_least, print_plan

log = logging.getLogger(__name__)


def planned(images: Images, budget: float, loading: float = 0.0) -> str:
    """The text of a recipe for `images`, to be trained on within `budget` seconds.

    Args:
        loading: seconds that this process took to load torch.

    Raises:
        DataError: there are too few images.
        TooShort: a budget in which nothing can be trained; what the least takes is printed.
    """
    here, limit = machine(), allowed(budget)
    log.info("timing what a training takes on this machine, for %s at most", spoken(limit))
    meter = Meter(Clock(limit), loading)

    def measure(setting: Setting) -> Costs | None:
        if not meter.has_time:
            log.info("%s: no time to time it, so it is not considered", setting.network.backbone)
            return None
        params = _params(Plan(images, here, setting, UNKNOWN, (0,), 2))
        return meter.costs(params, setting, images, here)

    try:
        plan = choose(images, here, budget, measure)
    except TooShort as error:
        print_least(error.least)
        raise
    print_plan(plan)
    return with_header(params_text(plan), header(plan, budget))


def _params(plan: Plan) -> AllParams:
    """What would be written of `plan`, as the stages read it."""
    return validate(Path("params.yaml"), AllParams, values_of(params_text(plan)))
