"""Prints what a step of a search takes, beside a plain PC-DARTS and beside a step of one network.

    python tests/bench_darts_step.py

A step is one of alpha, beta and gamma and one of the weights: first order, batches of 64 clips, one thread. Variants
take turns, so that other load on the machine meets all of them alike; times are of the processor, not of the clock.

Where there is a GPU, all of it runs there by the clock, and the preset `paper` in its own size beside the others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


from hil_nas.cost import operator_macs
from hil_nas.learning.accelerator import accelerator
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.darts.cost_table import tabulate_darts
from hil_nas.nas.darts.settings import DartsSettings
from hil_nas.nas.darts.space import DartsSpace
from hil_nas.nas.darts.strategy import DartsStrategy
from hil_nas.nas.front_ends.feature_store import FeatureSet
from hil_nas.nas.grid_search import GridSearch
from hil_nas.nas.search_loop import Loop
from hil_nas.nas.spaces import KINDS
from hil_nas.nas.tiny.cost_table import tabulate
from hil_nas.nas.tiny.settings import TinySettings
from hil_nas.nas.tiny.space import Choice, TinySpace
from hil_nas.nas.tiny.strategy import TinyStrategy

DEVICE = accelerator()
BATCH, CLIPS = 64, 512
WARM, ROUNDS = (1, 3) if DEVICE.type == "cpu" else (3, 20)  # the first steps are not timed: they warm up, or compile
CELLS, TINY = DartsSpace(), TinySpace(configs=DartsSpace().configs[6:7])
PAPER = KINDS["paper"].space(configs=CELLS.configs, classes=35)
ChainStep = Callable[[], object]


class PlainEdge(nn.Module):
    """Every operator on a quarter of the channels, weighted by alpha; the others pass; then the shuffle."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        part = channels // 4
        self.part, self.stride = part, stride

        def separable(size: int, dilation: int, step: int) -> list[nn.Module]:
            pad = dilation * (size - 1) // 2
            wide = nn.Conv2d(part, part, size, step, pad, dilation, groups=part, bias=False)
            return [nn.ReLU(), wide, nn.Conv2d(part, part, 1, bias=False), nn.BatchNorm2d(part)]

        reduce = [nn.ReLU(), nn.Conv2d(part, part, 1, 2, bias=False), nn.BatchNorm2d(part)]
        self.operators = nn.ModuleList([
            nn.Sequential(*reduce) if stride == 2 else nn.Identity(),
            nn.Sequential(nn.MaxPool2d(3, stride, 1), nn.BatchNorm2d(part)),
            nn.Sequential(nn.AvgPool2d(3, stride, 1, count_include_pad=False), nn.BatchNorm2d(part)),
            *(nn.Sequential(*separable(size, 1, stride), *separable(size, 1, 1)) for size in (3, 5)),
            *(nn.Sequential(*separable(size, 2, stride)) for size in (3, 5)),
        ])  # fmt: skip

    def forward(self, x: Tensor, alpha: Tensor) -> Tensor:
        mixed = sum(a * operator(x[:, : self.part]) for a, operator in zip(alpha[1:], self.operators, strict=True))
        rest = x[:, self.part :] if self.stride == 1 else F.max_pool2d(x[:, self.part :], 2, 2, ceil_mode=True)
        y = torch.cat([mixed, rest], 1)
        batch, channels, height, width = y.shape
        return y.view(batch, 4, channels // 4, height, width).transpose(1, 2).reshape(batch, channels, height, width)


class PlainCell(nn.Module):
    def __init__(self, nodes: int, before: int, last: int, channels: int, reduction: bool, reduced: bool) -> None:
        super().__init__()
        self.nodes = nodes
        self.entries = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Conv2d(x, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
            for x, stride in ((before, 2 if reduced else 1), (last, 1))
        )
        self.edges = nn.ModuleList(
            PlainEdge(channels, 2 if reduction and source < 2 else 1)
            for node in range(nodes) for source in range(node + 2)
        )  # fmt: skip

    def forward(self, before: Tensor, last: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        states, first = [self.entries[0](before), self.entries[1](last)], 0
        for _ in range(self.nodes):
            devices = range(first, first + len(states))
            shares = torch.softmax(beta[list(devices)], 0)
            first += len(states)
            states.append(sum(s * self.edges[e](x, alpha[e]) for s, e, x in zip(shares, devices, states, strict=True)))
        return torch.cat(states[2:], 1)


class PlainDarts(nn.Module):
    """PC-DARTS as its paper (arXiv:1907.05737) has it, over inputs mixed as in arXiv 2507.15545."""

    def __init__(self, space: DartsSpace) -> None:
        super().__init__()
        self.reductions = space.reductions
        self.front_ends = nn.ModuleList(x.module() for x in space.configs)
        operations = [space.align_operation(x) for x in space.configs]
        self.aligned = nn.ModuleList(
            nn.Identity() if o is None else nn.Conv2d(1, 1, o.kernel, o.stride, (o.kernel[0] // 2, 1), bias=False)
            for o in operations
        )
        channels = space.channels
        self.stem = nn.Sequential(nn.Conv2d(1, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels))
        self.cells, before, last, reduced = nn.ModuleList(), channels, channels, False
        for index in range(space.cells):
            reduction = index in space.reductions
            channels *= 2 if reduction else 1
            self.cells.append(PlainCell(space.nodes, before, last, channels, reduction, reduced))
            before, last, reduced = last, space.nodes * channels, reduction
        self.head = nn.Linear(last, space.classes)
        edges = len(space.edges)
        self.alpha, self.beta = (nn.Parameter(1e-3 * torch.randn(2, edges, *x)) for x in ((8,), ()))
        self.gamma = nn.Parameter(torch.zeros(len(space.configs)))

    def forward(self, waveforms: Tensor) -> Tensor:
        with torch.no_grad():
            features = [extract(waveforms)[:, None] for extract in self.front_ends]
        aligned = [align(x) for align, x in zip(self.aligned, features, strict=True)]
        frames = max(x.shape[2] for x in aligned)
        mixed = [F.pad(x, (0, 0, 0, frames - x.shape[2])) for x in aligned]
        x = sum(g * y for g, y in zip(torch.softmax(self.gamma, 0), mixed, strict=True))
        before = last = self.stem(x)
        for index, cell in enumerate(self.cells):
            kind = int(index in self.reductions)
            alpha = torch.softmax(self.alpha[kind], -1)
            before, last = last, cell(before, last, alpha, self.beta[kind])
        logits: Tensor = self.head(last.mean((2, 3)))
        return logits


def plain_step(space: DartsSpace, batch: int) -> ChainStep:
    torch.manual_seed(0)
    net = PlainDarts(space).to(DEVICE)
    deciding = [net.alpha, net.beta, net.gamma]
    weights = [x for x in net.parameters() if not any(x is y for y in deciding)]
    optimizers = (
        torch.optim.Adam(deciding, 6e-4, betas=(0.5, 0.999), weight_decay=1e-3),
        torch.optim.SGD(weights, 0.1, 0.9, weight_decay=3e-4),
    )
    waveforms = (0.1 * torch.randn(CLIPS, 16000)).to(DEVICE)
    labels = (torch.arange(CLIPS) % space.classes).to(DEVICE)

    def step() -> None:
        for optimizer in optimizers:
            clips = torch.randperm(CLIPS)[:batch].to(DEVICE)
            net.zero_grad()
            F.cross_entropy(net(waveforms[clips]), labels[clips]).backward()
            nn.utils.clip_grad_norm_(weights, 5.0)
            optimizer.step()

    return step


def searched(strategy: Any, settings: Any, cost_table: Any) -> Loop:
    random, generator = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    space, limits = cost_table.space, Limits(cycles=1e9)
    shapes = [(CLIPS, x.frames, x.coefficients) for x in space.configs]
    features = tuple(torch.randn(x, generator=random) for x in shapes)
    data = FeatureSet(features, torch.arange(CLIPS) % space.classes)
    chosen = strategy(cost_table, settings, limits, generator, DEVICE)
    return GridSearch(chosen, data, data, limits, generator, DEVICE).loop


def our_step(loop: Loop) -> None:
    loop.decision_step()
    loop.weight_step()


def largest_step(loop: Loop) -> ChainStep:
    """Of the weights, with the widest and deepest chain of the largest kernels alone."""
    kernels = [(x.kernel[0], -x.stride[0], i) for i, x in enumerate(TINY.operations) if x.kind == "separable"]
    stem = max((x.kernel[0], -x.stride[0], i) for i, x in enumerate(TINY.stems))[2]
    widest = len(TINY.widths) - 1
    choice = Choice(0, (stem, widest), ((max(kernels)[2], widest),) * TINY.positions)
    net: Any = loop.net

    def step() -> None:
        reading = loop.front_end.read("train", 0)
        loss = F.cross_entropy(net(reading.features[0], choice), reading.labels)
        loop.weight_optimizer.zero_grad()
        loss.backward()
        loop.weight_optimizer.step()

    return step


def macs(operators: Any) -> Any:
    return np.array([float(operator_macs(x)) for x in operators])


def main() -> None:
    torch.set_num_threads(1)
    cells, chain = tabulate_darts(CELLS, macs, lambda config: 0.0), tabulate(TINY, macs, lambda config: 0.0)
    tiny = searched(TinyStrategy, TinySettings(), chain)
    steps: dict[str, ChainStep] = {"plain PC-DARTS": plain_step(CELLS, BATCH)}
    for name, drawn in {"all operators": 0, "2 drawn": 2, "1 drawn": 1}.items():
        steps[name] = partial(our_step, searched(DartsStrategy, DartsSettings(drawn=drawn), cells))
    steps["largest chain"] = largest_step(tiny)
    steps["tiny, weights"] = tiny.weight_step
    steps["tiny, alpha"] = tiny.decision_step
    if DEVICE.type != "cpu":
        settings, cost_table = KINDS["paper"].settings(50), tabulate_darts(PAPER, macs, lambda config: 0.0)
        steps["paper, plain PC-DARTS"] = plain_step(PAPER, settings.batch)
        steps["paper, all operators"] = partial(our_step, searched(DartsStrategy, settings, cost_table))
    seconds = timed(steps)
    for name in ("plain PC-DARTS", "all operators", "2 drawn", "1 drawn"):
        share = seconds["plain PC-DARTS"] / seconds[name]
        print(f"darts, {name:14} {seconds[name]:7.4f} s a step; plain PC-DARTS takes {share:.1f} times that")
    for name in ("largest chain", "tiny, weights", "tiny, alpha"):
        share = seconds[name] / seconds["largest chain"]
        print(f"{name:21} {seconds[name]:7.4f} s a step, {share:.1f} times that of the largest chain alone")
    for name in ("paper, plain PC-DARTS", "paper, all operators"):
        if name in seconds:
            print(f"{name:21} {seconds[name]:7.4f} s a step on {torch.cuda.get_device_name()}")


def timed(steps: dict[str, ChainStep]) -> dict[str, float]:
    """The median of each, in seconds."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(WARM + ROUNDS):
        for name, step in steps.items():
            start = clock()
            step()
            if turn >= WARM:
                times[name].append(clock() - start)
    return {name: median(x) for name, x in times.items()}


def clock() -> float:
    """In seconds: of the processor; of a GPU the wall's, behind all work that it was given."""
    if DEVICE.type == "cpu":
        return process_time()
    torch.cuda.synchronize()
    return perf_counter()


if __name__ == "__main__":
    main()
