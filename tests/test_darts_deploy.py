"""Derived cells on their way to the device: TensorFlow's converter and our lowering keep them as they were priced."""

from __future__ import annotations

import numpy as np
import torch

from hil_nas.cost import arena_bytes, plan_bytes
from hil_nas.deploy.convert import to_tflite
from hil_nas.deploy.lower import lower
from hil_nas.deploy.tflite import read_tflite
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.nas.darts.genotype import CHOICES, Cell, DartsGenotype, Edge
from hil_nas.training.network_module import NetworkModule
from tests.test_darts_space import uniform

CONFIG = Mfcc(640, 320, 40, 10)


def every_operator() -> DartsGenotype:
    """All seven operators with and without a stride."""
    names = iter((*CHOICES, *CHOICES))
    normal = Cell(tuple((Edge(n, next(names)), Edge(n + 1, next(names))) for n in range(4)))
    reduction = Cell(tuple((Edge(0, x), Edge(1, y)) for x, y in zip(CHOICES[:4], CHOICES[3:], strict=True)))
    return DartsGenotype(normal, reduction, 3, 8, None, 12)


def test_derived_networks_lower_to_what_was_priced() -> None:
    rng = np.random.default_rng(0)
    for genotype in (every_operator(), uniform("max_pool_3x3")):
        network = genotype.build(CONFIG)
        module = NetworkModule(network, torch.Generator().manual_seed(0)).eval()
        x = rng.normal(0, 1, (8, *network.input_shape)).astype(np.float32)
        assert module(torch.from_numpy(x)).shape == (8, 12)
        plan = lower(read_tflite(to_tflite(network, module.fold(), x)))
        assert [x.kind for x in plan.operators] == [x.kind for x in network.layers]
        assert (plan.arena_bytes, plan.total_bytes) == (arena_bytes(network), plan_bytes(network))
