"""`--front-end continuous`: one front end by gradient, before the network is searched on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hil_nas.audio.datasets import KeywordData
from hil_nas.errors import InputError, RunError
from hil_nas.front_ends import FrontEnd, parse_front_end
from hil_nas.nas.costs.network_limits import Cost
from hil_nas.nas.front_ends.anchors import FrontEndCosts, FrontEndSpace
from hil_nas.nas.front_ends.point import ContinuousSettings
from hil_nas.nas.front_ends.search_continuous import search_front_end
from hil_nas.nas.tiny.derive import feasible_configs
from hil_nas.nas.tiny.space import TinySpace
from hil_nas.progress import Progress, Reporter
from hil_nas.runs import Run
from hil_nas.workflows.footprint import Footprint
from hil_nas.workflows.measure import FEATURE_SCALE, FEATURE_ZERO_POINT
from hil_nas.workflows.search_board import SearchBoard
from hil_nas.workflows.search_data import search_clips

_POINT = ("window_samples", "hop_samples", "coefficients")


def front_end_by_gradient(
    target: SearchBoard, classes: int, data: Callable[[], KeywordData], new_run: Callable[[], Run],
    progress: Reporter,
) -> FrontEnd:  # fmt: skip
    """The configuration, also left in the run's front_end.json.

    Args:
        classes: of the task.
        data, new_run: called once it is sure that there is something to search.

    Raises:
        InfeasibleError: where no network holds the limits even on the cheapest configuration.
    """
    space, networks, config = FrontEndSpace(), TinySpace(classes=classes), target.config
    footprint = target.footprint([space.cheapest], classes)
    costs, limits = _costs(target, footprint), target.limits(footprint)
    feasible_configs(costs.table(replace(networks, configs=(space.cheapest,))), limits)
    run = new_run()
    train, validation = search_clips(data(), config.seed, progress)
    settings = ContinuousSettings(epochs=min(config.search_epochs, ContinuousSettings.epochs))
    result = search_front_end(
        space, networks, space.like.with_columns(space.coefficients[1]).continuous(),
        train, validation, costs, limits, settings, seed=config.seed,
        on_epoch=lambda epoch: _logged(run, epoch, settings.epochs, progress), checkpoint=run.path("data_search.pt"),
        resume=True,
    )  # fmt: skip
    run.write_json("front_end.json", {"front_end": str(result.config), **dict(zip(_POINT, result.point, strict=True))})
    return result.config


def _costs(target: SearchBoard, footprint: Footprint) -> FrontEndCosts:
    model, config = target.model, target.config

    def front_end(x: FrontEnd) -> Cost:
        blob = x.blob(FEATURE_SCALE, FEATURE_ZERO_POINT)
        own = x.scratch_bytes + x.output_bytes
        # Extrapolated where need be: what is found is measured before a network is searched on it.
        cycles = model.extrapolated_front_end_cycles(x) if config.price_front_end else 0.0
        return Cost(cycles, footprint.ram_bytes + own, footprint.flash_bytes + len(blob))

    return FrontEndCosts(model.operator_cycles, model.overhead_cycles, front_end)


def _logged(run: Run, epoch: dict[str, Any], epochs: int, progress: Reporter) -> None:
    run.log({**epoch, "phase": "configuration", "stage": epoch["phase"]})
    loss = epoch["validation_loss"] or epoch["train_loss"]
    point = "/".join(f"{epoch[x]:.0f}" for x in _POINT)
    note = f"{epoch['phase']}: loss {loss:.3f}, window/hop/coefficients {point}"
    progress(Progress("searching the configuration", epoch["epoch"], epochs, note))


def settled_front_end(run: Run | None) -> FrontEnd | None:
    """The configuration that an interrupted run had settled on."""
    if run is None or not run.path("front_end.json").exists():
        return None
    try:
        return parse_front_end(json.loads(run.path("front_end.json").read_text())["front_end"])
    except (ValueError, KeyError, InputError) as error:
        raise RunError(f"{run.path('front_end.json')} is damaged: {error}", hint="remove that run folder") from None
