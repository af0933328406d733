"""The darts space: its shapes, its genotypes and the networks they stand for."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import product

import numpy as np
import pytest

from hil_nas.errors import InputError
from hil_nas.front_ends import paper_grid
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.nas.darts.genotype import CHOICES, Cell, DartsGenotype, Edge
from hil_nas.nas.darts.space import DartsSpace
from hil_nas.network import Network


def random_cell(rng: np.random.Generator, nodes: int) -> Cell:
    pairs = []
    for node in range(nodes):
        one, other = sorted(rng.choice(node + 2, 2, replace=False).tolist())
        pairs.append((Edge(one, str(rng.choice(CHOICES))), Edge(other, str(rng.choice(CHOICES)))))
    return Cell(tuple(pairs))


def random_genotype(space: DartsSpace, config: Mfcc, rng: np.random.Generator) -> DartsGenotype:
    cells = (random_cell(rng, space.nodes), random_cell(rng, space.nodes))
    return DartsGenotype(*cells, space.cells, space.channels, space.align_operation(config), space.classes)


def uniform(operator: str) -> DartsGenotype:
    """One operator everywhere, reading the cell's inputs alone."""
    cell = Cell(tuple((Edge(0, operator), Edge(1, operator)) for _ in range(3)))
    return DartsGenotype(cell, cell, 5, 8, None, 12)


@pytest.mark.parametrize("align", ["pad", "conv"])
@pytest.mark.parametrize("coefficients", [4, 10, 40])
def test_every_configuration_has_shapes(align: str, coefficients: int) -> None:
    """Four frames of coefficients stay a map behind a stem and both reductions."""
    rng = np.random.default_rng(0)
    for cells, nodes in ((3, 2), (5, 3), (8, 4)):
        space = DartsSpace(paper_grid(coefficients), align=align, cells=cells, nodes=nodes)  # type: ignore[arg-type]
        for config in space.configs:
            network = random_genotype(space, config, rng).build(config)
            assert network.input_shape == (config.frames, coefficients, 1)
            assert network.output_shape == (1, 1, 12)
            assert min(min(x) for x in network.shapes) >= 1
            by_cell = space.shapes_of_cells(space.aligned_shape(config))
            assert [x.kind for x in by_cell].count("reduction") == 2
            assert [i for i, x in enumerate(by_cell) if x.kind == "reduction"] == list(space.reductions)
            end = network.shapes[-3]  # before the average and the logits
            assert end == (*by_cell[-1].node[:2], nodes * 4 * space.channels)


def test_places_follow_the_halvings() -> None:
    space = DartsSpace((Mfcc(400, 200, 40, 40),), cells=6, nodes=4, channels=8)
    by_cell = space.shapes_of_cells((79, 40, 1))
    assert space.reductions == (2, 4)
    assert [x.node for x in by_cell] == [
        (40, 20, 8), (40, 20, 8), (20, 10, 16), (20, 10, 16), (10, 5, 32), (10, 5, 32),
    ]  # fmt: skip
    assert [x.strides for x in by_cell] == [(1, 1), (1, 1), (1, 1), (2, 1), (1, 1), (2, 1)]
    assert by_cell[3].sources == ((40, 20, 32), (20, 10, 64))
    assert [space.edges[i] for i in space.edges_of(2)] == [(2, 0), (2, 1), (2, 2), (2, 3)]
    assert [space.stride("reduction", i) for i in space.edges_of(2)] == [2, 2, 1, 1]
    assert {space.stride("normal", i) for i in range(len(space.edges))} == {1}


@pytest.mark.parametrize("operator", CHOICES)
def test_an_operator_has_its_layers(operator: str) -> None:
    layers = uniform(operator).build(Mfcc(400, 200, 40, 40)).layers
    window = (int(operator[-1]),) * 2 if "_conv_" in operator or "_pool_" in operator else (1, 1)
    kinds = {"sep": "depthwise", "dil": "depthwise", "max": "max_pool", "avg": "average_pool", "ski": "conv"}
    kind = kinds[operator[:3]]
    assert any((x.kind, x.kernel) == (kind, window) for x in layers)
    dilated = [x for x in layers if x.dilation != (1, 1)]
    assert bool(dilated) == operator.startswith("dil")
    assert all(x.stride == (1, 1) for x in dilated)  # TFLite has no dilation with a stride
    depthwise = sum(x.kind == "depthwise" for x in layers)
    assert depthwise == {"sep": 2, "dil": 1}.get(operator[:3], 0) * 5 * 3 * 2  # cells, nodes, edges


def test_equal_pools_are_one_and_every_layer_is_read() -> None:
    config = Mfcc(640, 320, 40, 40)
    pools = uniform("max_pool_3x3").build(config)
    # all nodes of a cell do the same: two pools and one addition stay, read three times
    assert [x.kind for x in pools.layers].count("max_pool") == 5 * 2
    assert [x.kind for x in pools.layers].count("add") == 5
    assert all(len(x.inputs) == 3 for x in pools.layers if x.kind == "concatenation")
    node = (Edge(1, "sep_conv_3x3"), Edge(2, "skip_connect"))
    late = Cell(((Edge(0, "skip_connect"), Edge(1, "skip_connect")), node, node))
    for genotype in (DartsGenotype(late, late, 5, 8, None, 12), uniform("skip_connect")):
        network = genotype.build(config)
        read = {i for x in network.layers for i in x.inputs}
        assert set(range(len(network.layers) - 1)) <= read


def test_genotypes_survive_json_and_networks_too() -> None:
    rng = np.random.default_rng(1)
    for align, config in product(("pad", "conv"), paper_grid()):
        genotype = random_genotype(DartsSpace(align=align), config, rng)  # type: ignore[arg-type]
        again = DartsGenotype.from_json(json.loads(json.dumps(genotype.to_json())))
        assert again == genotype
        network = genotype.build(config)
        assert Network.from_json(json.loads(json.dumps(network.to_json()))) == network == again.build(config)


def test_skips_are_counted() -> None:
    assert uniform("skip_connect").skips == 12 and uniform("sep_conv_3x3").skips == 0


def damaged(**change: object) -> dict[str, object]:
    return {**uniform("sep_conv_3x3").to_json(), **change}


def nodes(one: int, operator: str, other: int) -> dict[str, object]:
    edges = [{"source": one, "operator": operator}, {"source": other, "operator": "skip_connect"}]
    return {"nodes": [edges] * 3}


@pytest.mark.parametrize(
    "data",
    [
        None, {}, damaged(more=1), damaged(cells="5"), damaged(cells=2), damaged(channels=6),
        damaged(normal={"nodes": 3}), damaged(normal=nodes(0, "none", 1)), damaged(normal=nodes(1, "skip_connect", 1)),
        damaged(normal=nodes(0, "skip_connect", 2)), damaged(normal=nodes(0, "conv_3x3", 1)),
        damaged(align={"kind": "conv", "kernel": [3, 3], "stride": [0, 1]}), damaged(align="conv"),
    ],
)  # fmt: skip
def test_what_is_no_genotype_is_refused(data: object) -> None:
    with pytest.raises(InputError):
        DartsGenotype.from_json(data)


@pytest.mark.parametrize("values", [{"cells": 2}, {"nodes": 1}, {"channels": 6}, {"classes": 1}, {"configs": ()}])
def test_what_is_no_space_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(InputError):
        DartsSpace(**values)  # type: ignore[arg-type]


def test_the_space_needs_no_torch() -> None:
    code = "import sys, hil_nas.nas.darts.derive; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
