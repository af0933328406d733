"""One front end of a list, by gamma, until it leads with one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from hil_nas.nas.costs.multipliers import Expectation
from hil_nas.nas.front_ends.alignment import decided
from hil_nas.nas.front_ends.feature_store import Batches, FeatureSet, FeatureStore, shifted
from hil_nas.nas.protocols import FrontEndVariable, Half, Reading, Strategy

_MOST_PASSES = 3
_FEWEST_ROUNDS = 300


class FrontEndChoice(FrontEndVariable):
    """As `nas.protocols.FrontEndVariable`.

    Once one gamma is `gamma_ratio` times every other, its front end is settled.

    Args:
        expected: of the strategy's networks, with gamma in it.
        train, validation: disjoint sets of clips, the same as every front end gives them.
        like: the choice that reads the same clips, and takes turns with this one in their order; None: there is none.
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
        like: FrontEndChoice | None = None,
    ) -> None:
        self._strategy, self._expected = strategy, expected
        self._alignment, self._settings = strategy.net.alignment, strategy.settings
        self._generator, self._device, self._configs = generator, device, strategy.space.configs
        batch = self._settings.batch
        if like is None:
            learnt = FeatureStore(train, self._configs, device)
            self._stores: dict[Half, FeatureStore] = {
                "train": learnt, "validation": FeatureStore(validation, self._configs, device, like=learnt)
            }  # fmt: skip
            # of few recordings a part is smaller than a batch
            self._batches = {half: Batches(len(x), min(batch, len(x)), generator) for half, x in self._stores.items()}
        else:
            self._stores, self._batches = like._stores, like._batches
        self.parameter = self._alignment.gamma
        self.rounds = rounds_of(self._settings.rounds, len(train.labels), batch)
        if len(strategy.feasible) == 1:
            self._alignment.chosen = strategy.feasible[0]

    @property
    def phase(self) -> str:
        return "data" if len(self._alignment.configs) > 1 else "network"

    def rate(self, falling: float) -> float:
        return self._settings.gamma_rate

    def read(self, half: Half, epoch: int) -> Reading:
        """Under the front ends that the networks ask for; clips for the weights are shifted in time, all of a batch
        alike."""
        configs = self._strategy.reads(half, self._generator)
        clips = next(self._batches[half]).to(self._device)
        features, labels = self._stores[half].batch(clips, configs)
        if half == "train" and self._settings.shift_s:
            share = 2 * float(torch.rand((), generator=self._generator)) - 1
            features = shifted(features, [self._configs[i] for i in configs], share * self._settings.shift_s)
        return Reading(configs, features, labels, self._expected)

    def expected(self) -> Expectation:
        return self._expected()

    def epoch_ended(self, searching: bool) -> None:
        if searching and self._alignment.chosen is None:
            self._alignment.chosen = decided(self._alignment.weights().detach(), self._settings.gamma_ratio)

    def validation(self, config: int, batch: int, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The first batches of the validation half under one front end, always the same: (columns, batch, frames) and
        labels."""
        store = self._stores["validation"]
        for clips in torch.split(torch.arange(len(store), device=self._device), batch)[:count]:
            (features,), labels = store.batch(clips, (config,))
            yield features, labels

    def figures(self) -> dict[str, Any]:
        return {"gammas": self._alignment.weights().detach().tolist()}

    def state_dict(self) -> dict[str, Any]:
        batches = {half: x.state_dict() for half, x in self._batches.items()}
        return {"chosen": self._alignment.chosen, "batches": batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._alignment.chosen = state["chosen"]
        for half, batches in self._batches.items():
            batches.load_state_dict(state["batches"][half])


def rounds_of(most: int, clips: int, batch: int) -> int:
    """Steps of an epoch, of which a setting says how many there are at most; 0: one pass over the clips.

    Where clips are few, three passes: more of them take minutes, and these clips soon have nothing new to say. But 300
    whatever their number, since alpha and gamma move a little with each step.
    """
    a_pass = max(1, clips // batch)
    return min(most, max(_MOST_PASSES * a_pass, _FEWEST_ROUNDS)) if most else a_pass
