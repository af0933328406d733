"""`--mfcc continuous`: one MFCC configuration by gradient, before the network is searched on it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hil_nas.audio.datasets import KeywordData
from hil_nas.audio.differentiable import continuous_mfcc
from hil_nas.audio.front_end import HostFrontEnd
from hil_nas.audio.tables import front_end_blob
from hil_nas.errors import InputError, RunError
from hil_nas.latency.model import LatencyModel
from hil_nas.mfcc import MfccConfig
from hil_nas.nas.anchors import DataPrices, DataSpace
from hil_nas.nas.continuous import DataSettings, search_data
from hil_nas.nas.derive import feasible_configs
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
        host: HostFrontEnd,
        ram_bytes: int,
        flash_bytes: int,
        limits: Limits,
        classes: int,
        price_front_end: bool,
    ) -> None:
        self.space, self.tiny, self.limits = DataSpace(), TinySpace(classes=classes), limits

        def front_end(config: MfccConfig) -> Cost:
            blob = front_end_blob(config, FEATURE_SCALE, FEATURE_ZERO_POINT)
            own = host.scratch_bytes(blob) + config.frames * config.coefficients
            # Extrapolated where need be: what is found is measured before a network is searched on it.
            cycles = model.extrapolated_front_end_cycles(config) if price_front_end else 0.0
            return Cost(cycles, ram_bytes + own, flash_bytes + len(blob))

        self.prices = DataPrices(model.operator_cycles, model.overhead_cycles, front_end)
        feasible_configs(self.prices.table(replace(self.tiny, configs=(self.space.cheapest,))), limits)

    def find(self, run: Run, data: KeywordData, epochs: int, seed: int, report: Reporter) -> MfccConfig:
        """The configuration, also left in the run's mfcc.json.

        Args:
            epochs: at most, where that is less than a data search takes.
        """
        train, validation = search_clips(data, seed, report)
        settings = DataSettings(epochs=min(epochs, DataSettings.epochs))

        def logged(epoch: dict[str, Any]) -> None:
            run.log({**epoch, "phase": "configuration", "stage": epoch["phase"]})
            loss = epoch["validation_loss"] or epoch["train_loss"]
            found = "/".join(f"{epoch[x]:.0f}" for x in ("window_samples", "hop_samples", "coefficients"))
            note = f"{epoch['phase']}: loss {loss:.3f}, window/hop/coefficients {found}"
            report(Progress("searching the configuration", epoch["epoch"], settings.epochs, note))

        mel_bins, coefficients = self.space.mel_bins, self.space.coefficients[1]
        result = search_data(
            self.space, self.tiny, lambda x, window, hop: continuous_mfcc(x, window, hop, mel_bins, coefficients),
            train, validation, self.prices, self.limits, settings,
            seed=seed, on_epoch=logged, checkpoint=run.path("data_search.pt"), resume=True,
        )  # fmt: skip
        names = ("window_samples", "hop_samples", "coefficients")
        run.write_json("mfcc.json", {"mfcc": str(result.config), **dict(zip(names, result.point, strict=True))})
        return result.config


def found_earlier(run: Run | None) -> MfccConfig | None:
    """The configuration that an interrupted run had settled on."""
    if run is None or not run.path("mfcc.json").exists():
        return None
    try:
        return MfccConfig.parse(json.loads(run.path("mfcc.json").read_text())["mfcc"])
    except (ValueError, KeyError, InputError) as error:
        raise RunError(f"{run.path('mfcc.json')} is damaged: {error}", hint="remove that run folder") from None
