"""The loop of every search: weights on one half of the data, decisions on the other, inside the limits.

An epoch alternates steps of the decisions (alpha and the front end) on a validation batch, down its loss and down
the expected cost where that is above a limit, with steps of the weights on a training batch. Warm-up epochs train
weights alone. What differs between searches stands behind `Networks`, `FrontEndVariable` and `Observer`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hil_nas.learning import checkpoint as checkpoints
from hil_nas.learning.gradients import finite, gradients, step, summed
from hil_nas.nas.costs.multipliers import Multipliers
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.protocols import FrontEndVariable, Half, Networks, Observer, Reading
from hil_nas.nas.schedule import Schedule

_COSTS = ("cycles", "ram_bytes", "flash_bytes")  # the names of `Expectation.values()`


class Epochs(ABC):
    """What advances by epochs until it has ended."""

    @property
    @abstractmethod
    def ended(self) -> bool: ...

    @abstractmethod
    def advance(self) -> None:
        """One epoch."""

    @abstractmethod
    def last_epoch(self) -> Any:
        """The figures of the last epoch."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """All that the next epoch depends on."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None: ...

    def run(
        self,
        identity: dict[str, Any],
        *,
        on_epoch: Callable[[Any], None] | None = None,
        checkpoint: Path | None = None,
        resume: bool = False,
    ) -> None:
        """Epochs until it has ended.

        Args:
            identity: what decides the result, as JSON has it.
            on_epoch: called after every epoch with its figures, before the checkpoint that skips it: a kill between
                the two tells an epoch twice and loses none.
            checkpoint: written after every epoch.
            resume: go on from `checkpoint` where it exists; on a CPU the result is the uninterrupted one's, bit by bit.

        Raises:
            RunError: where the checkpoint is of another search.
        """
        if resume and checkpoint is not None and checkpoint.exists():
            self.load_state_dict(checkpoints.load(checkpoint, identity))
        while not self.ended:
            self.advance()
            if on_epoch is not None:
                on_epoch(self.last_epoch())
            if checkpoint is not None:
                checkpoints.save(checkpoint, identity, self.state_dict())


class Loop(Epochs):
    """A search between two epochs; its construction trains nothing.

    Args:
        networks, front_end: what is decided.
        generator: of everything that is drawn.
        observer: what looks at the search after every epoch.
        like: the loop whose weights those of these networks are, and whose optimizer moves them; None: its own.
    """

    def __init__(
        self,
        networks: Networks,
        front_end: FrontEndVariable,
        limits: Limits,
        generator: torch.Generator,
        device: torch.device,
        observer: Observer | None = None,
        like: Loop | None = None,
    ) -> None:
        self.networks, self.front_end, self.observer = networks, front_end, observer
        self.net, self.settings = networks.net, networks.settings
        self.generator, self.device = generator, device
        self.weights: list[nn.Parameter] = (
            list(self.net.weight_parameters().values()) if like is None else like.weights
        )
        gamma = self.net.alignment.gamma  # a decision where the front end makes it one
        alphas = [x for x in self.net.architecture_parameters().values() if x is not gamma]
        self.decisions = [*alphas, front_end.parameter]
        self.weight_optimizer: torch.optim.Optimizer = (
            networks.weight_optimizer(self.weights) if like is None else like.weight_optimizer
        )
        groups: list[dict[str, Any]] = [
            {"params": alphas, "weight_decay": self.settings.alpha_decay},
            {"params": [front_end.parameter], "lr": front_end.rate(1.0)},
        ]
        self.decision_optimizer = torch.optim.Adam(groups, self.settings.alpha_rate, betas=(0.5, 0.999))
        with torch.no_grad():
            start = [float(x) for x in front_end.expected().values()]
        self.multipliers = Multipliers(limits, self.settings.floor, start, self.settings.multiplier_rate)
        self.schedule = Schedule(self.settings.epochs, self.settings.warmup_epochs)
        self.epoch = 0
        self.history: list[dict[str, Any]] = []
        self._losses: dict[Half, list[float]] = {"train": [], "validation": []}  # of the epoch under way

    @property
    def ended(self) -> bool:
        return self.epoch >= self.settings.epochs or self.front_end.ended(self.epoch)

    @property
    def searching(self) -> bool:
        """Whether this epoch's steps decide; those of the warm-up train weights alone."""
        return self.epoch >= self.settings.warmup_epochs

    def advance(self) -> None:
        for index in range(rounds := self.front_end.rounds):
            now = self.epoch + index / rounds
            if self.searching and index % self.settings.decide_every == 0:
                self.decide(now)
            self.learn(now)
        self.end_epoch()

    def decide(self, now: float) -> None:
        """One step of the decisions, so many epochs after the beginning."""
        self._set_rates(now)
        self.multipliers.tighten(self.schedule.searched(now))
        self._losses["validation"].append(self.decision_step())

    def learn(self, now: float) -> None:
        """One step of the weights."""
        self._set_rates(now)
        self._losses["train"].append(self.weight_step())
        self.front_end.round_ended()

    def end_epoch(self) -> None:
        searching, phase = self.searching, self.front_end.phase if self.searching else "warm-up"
        self.epoch += 1
        self.front_end.epoch_ended(searching)
        if self.observer is not None:
            self.observer.epoch_ended(self.epoch, searching=searching, last=self.ended)
        self.history.append(self._figures(phase, *map(_mean, self._losses.values())))
        for losses in self._losses.values():
            losses.clear()

    def last_epoch(self) -> dict[str, Any]:
        return self.history[-1]

    def _set_rates(self, epoch: float) -> None:
        falling = self.schedule.cosine(epoch)
        for group in self.weight_optimizer.param_groups:
            group["lr"] = self.settings.weight_rate * falling
        self.decision_optimizer.param_groups[1]["lr"] = self.front_end.rate(falling)

    def weight_step(self) -> float:
        """One step of the weights on a fresh training batch; its loss."""
        with torch.no_grad():
            reading = self.front_end.read("train", self.epoch)
        loss = self.loss(reading, "train")
        value = finite(loss, f"the training of the supernet, epoch {self.epoch + 1}")
        # None for what was not drawn: it stays as it is
        step(self.weight_optimizer, self.weights, gradients(loss, self.weights), self.settings.clip)
        return value

    def decision_step(self) -> float:
        """One step of the decisions on a fresh validation batch; the loss without its penalty."""
        reading = self.front_end.read("validation", self.epoch)
        loss = self.loss(reading, "validation")
        value = finite(loss, f"the validation of the supernet, epoch {self.epoch + 1}")
        learned = gradients(loss, self.decisions)
        self.front_end.bound(learned[-1])
        expected = reading.expected()
        priced = gradients(self.multipliers.penalty(expected), self.decisions)
        step(self.decision_optimizer, self.decisions, summed(learned, priced))
        self.front_end.stepped()
        self.multipliers.ascend(expected)
        return value

    def loss(self, reading: Reading, half: Half) -> Tensor:
        """What a step learns from."""
        halves = self.device.type == "cuda" and self.front_end.autocast
        with torch.autocast("cuda", torch.bfloat16) if halves else nullcontext():
            return self.networks.loss(reading, half, self.generator)

    def _figures(self, phase: str, train_loss: float | None, validation_loss: float | None) -> dict[str, Any]:
        """What an epoch tells: nothing that would differ between two equal runs."""
        with torch.no_grad():
            expected = self.front_end.expected()
        return {
            "epoch": self.epoch,
            "phase": phase,
            "train_loss": train_loss,
            "validation_loss": validation_loss,
            "expected": dict(zip(_COSTS, map(float, expected.values()), strict=True)),
            "multipliers": dict(zip((*_COSTS, "floor"), self.multipliers.state, strict=True)),
            **self.front_end.figures(),
            **({} if self.observer is None else self.observer.figures()),
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "history": self.history,
            "generator": self.generator.get_state(),
            "multipliers": list(self.multipliers.state),
            **{name: part.state_dict() for name, part in self._parts().items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.history = state["epoch"], state["history"]
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.generator.set_state(state["generator"])
        self.multipliers.state = list(state["multipliers"])

    def _parts(self) -> dict[str, Any]:
        parts = {
            "net": self.net,
            "front_end": self.front_end,
            "weight_optimizer": self.weight_optimizer,
            "decision_optimizer": self.decision_optimizer,
        }
        return parts if self.observer is None else {**parts, "observer": self.observer}


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
