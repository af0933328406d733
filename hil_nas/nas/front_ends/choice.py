"""One front end of a list: gamma weighs all of them in one mixed input, until it leads with one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from hil_nas.nas.costs.multipliers import Expectation
from hil_nas.nas.front_ends.alignment import decided
from hil_nas.nas.front_ends.feature_store import Batches, FeatureSet, FeatureStore, shifted
from hil_nas.nas.protocols import FrontEndVariable, Half, Reading, Strategy


class FrontEndChoice(FrontEndVariable):
    """As `nas.protocols.FrontEndVariable`.

    Once one gamma is `gamma_ratio` times every other, its front end is settled and the others' features are dropped.

    Args:
        expected: of the strategy's networks, with gamma in it.
        train, validation: disjoint sets of clips, the same as every front end gives them.
    """

    autocast = True

    def __init__(
        self,
        strategy: Strategy[Any],
        expected: Callable[[], Expectation],
        train: FeatureSet,
        validation: FeatureSet,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self._alignment, self._settings, self._expected = strategy.net.alignment, strategy.settings, expected
        self._generator, self._device, self._configs = generator, device, strategy.space.configs
        learnt = FeatureStore(train, self._configs, device)
        self._stores: dict[Half, FeatureStore] = {
            "train": learnt, "validation": FeatureStore(validation, self._configs, device, like=learnt)
        }  # fmt: skip
        batch = self._settings.batch
        self._batches = {half: Batches(len(x), batch, generator) for half, x in self._stores.items()}
        self.parameter, self.rounds = self._alignment.gamma, len(train.labels) // batch
        if len(strategy.feasible) == 1:
            self._settle(strategy.feasible[0])

    @property
    def phase(self) -> str:
        return "data" if len(self._alignment.configs) > 1 else "network"

    def rate(self, falling: float) -> float:
        return self._settings.gamma_rate

    def read(self, half: Half, epoch: int) -> Reading:
        """Clips for the weights are shifted in time, all of a batch alike."""
        configs = self._alignment.configs
        clips = next(self._batches[half]).to(self._device)
        features, labels = self._stores[half].batch(clips, configs)
        if half == "train" and self._settings.shift_s:
            share = 2 * float(torch.rand((), generator=self._generator)) - 1
            features = shifted(features, [self._configs[i] for i in configs], share * self._settings.shift_s)
        return Reading(features, labels, self._expected)

    def expected(self) -> Expectation:
        return self._expected()

    def epoch_ended(self, searching: bool) -> None:
        if searching and self._alignment.chosen is None:
            config = decided(self._alignment.weights().detach(), self._settings.gamma_ratio)
            if config is not None:
                self._settle(config)

    def _settle(self, config: int) -> None:
        self._alignment.chosen = config
        for store in self._stores.values():
            store.drop_all_but(config)

    def figures(self) -> dict[str, Any]:
        return {"gammas": self._alignment.weights().detach().tolist()}

    def state_dict(self) -> dict[str, Any]:
        batches = {half: x.state_dict() for half, x in self._batches.items()}
        return {"chosen": self._alignment.chosen, "batches": batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["chosen"] is not None and self._alignment.chosen is None:
            self._settle(state["chosen"])
        for half, batches in self._batches.items():
            batches.load_state_dict(state["batches"][half])
