"""`--front-end continuous`: one front end by gradient, before the network is searched on it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hil_nas.audio.datasets import KeywordData
from hil_nas.errors import InputError, RunError
from hil_nas.front_ends import FrontEnd, parse_front_end
from hil_nas.latency.model import LatencyModel
from hil_nas.nas.anchors import DataPrices, DataSpace
from hil_nas.nas.derive import feasible_configs
from hil_nas.nas.front_end_search import search_front_end
from hil_nas.nas.front_ends.continuous import ContinuousSettings
from hil_nas.nas.prices import Cost, Limits
from hil_nas.nas.space import TinySpace
from hil_nas.progress import Progress, Reporter
from hil_nas.runs import Run
from hil_nas.workflows.features import search_clips
from hil_nas.workflows.profile import FEATURE_SCALE, FEATURE_ZERO_POINT


class ConfigSearch:
    """A data search with what it needs of board and model.

    Args:
        ram_bytes, flash_bytes: of every product, beside network and front end.
        classes: of the task.
        price_front_end: whether the cycles of front ends count.

    Raises:
        InfeasibleError: where no network holds the limits even on the cheapest configuration.
    """

    def __init__(
        self,
        model: LatencyModel,
        ram_bytes: int,
        flash_bytes: int,
        limits: Limits,
        classes: int,
        price_front_end: bool,
    ) -> None:
        self.space, self.tiny, self.limits = DataSpace(), TinySpace(classes=classes), limits

        def front_end(config: FrontEnd) -> Cost:
            blob = config.blob(FEATURE_SCALE, FEATURE_ZERO_POINT)
            own = config.scratch_bytes + config.output_bytes
            # Extrapolated where need be: what is found is measured before a network is searched on it.
            cycles = model.extrapolated_front_end_cycles(config) if price_front_end else 0.0
            return Cost(cycles, ram_bytes + own, flash_bytes + len(blob))

        self.prices = DataPrices(model.operator_cycles, model.overhead_cycles, front_end)
        feasible_configs(self.prices.table(replace(self.tiny, configs=(self.space.cheapest,))), limits)

    def find(self, run: Run, data: KeywordData, epochs: int, seed: int, report: Reporter) -> FrontEnd:
        """The configuration, also left in the run's front_end.json.

        Args:
            epochs: at most, where that is less than a data search takes.
        """
        train, validation = search_clips(data, seed, report)
        settings = ContinuousSettings(epochs=min(epochs, ContinuousSettings.epochs))

        def logged(epoch: dict[str, Any]) -> None:
            run.log({**epoch, "phase": "configuration", "stage": epoch["phase"]})
            loss = epoch["validation_loss"] or epoch["train_loss"]
            found = "/".join(f"{epoch[x]:.0f}" for x in ("window_samples", "hop_samples", "coefficients"))
            note = f"{epoch['phase']}: loss {loss:.3f}, window/hop/coefficients {found}"
            report(Progress("searching the configuration", epoch["epoch"], settings.epochs, note))

        like = self.space.like.with_columns(self.space.coefficients[1])
        result = search_front_end(
            self.space, self.tiny, like.continuous(),
            train, validation, self.prices, self.limits, settings,
            seed=seed, on_epoch=logged, checkpoint=run.path("data_search.pt"), resume=True,
        )  # fmt: skip
        names = ("window_samples", "hop_samples", "coefficients")
        found = dict(zip(names, result.point, strict=True))
        run.write_json("front_end.json", {"front_end": str(result.config), **found})
        return result.config


def found_earlier(run: Run | None) -> FrontEnd | None:
    """The configuration that an interrupted run had settled on."""
    if run is None or not run.path("front_end.json").exists():
        return None
    try:
        return parse_front_end(json.loads(run.path("front_end.json").read_text())["front_end"])
    except (ValueError, KeyError, InputError) as error:
        raise RunError(f"{run.path('front_end.json')} is damaged: {error}", hint="remove that run folder") from None
