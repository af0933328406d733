"""Costs against the lowering, against CMSIS-NN's own sources compiled here, and against published numbers."""

from __future__ import annotations

import ctypes
import random
import subprocess
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from deploy_harness import PORTABLE, cell_network, ds_cnn, random_network

from hil_nas.cost import (
    arena,
    arena_bytes,
    network_macs,
    operator_macs,
    parameters,
    plan_buffers,
    plan_bytes,
    without_duplicates,
)
from hil_nas.cost.arena import Buffer
from hil_nas.deploy.lower import lower
from hil_nas.deploy.synthetic import random_graph
from hil_nas.device.firmware import find_third_party
from hil_nas.kernels import call_of, kernel_for
from hil_nas.network import INPUT, Layer, Network

BUFFER_SIZES = """
#include "arm_nnfunctions.h"
int conv(int kh, int kw, int sh, int sw, int dh, int dw, int ph, int pw, int ih, int iw, int ic, int oh, int ow, int oc)
{
    const cmsis_nn_conv_params p = {
        .stride = {.h = sh, .w = sw}, .dilation = {.h = dh, .w = dw}, .padding = {.h = ph, .w = pw}};
    const cmsis_nn_dims in = {1, ih, iw, ic}, filter = {oc, kh, kw, ic}, out = {1, oh, ow, oc};
    return arm_convolve_wrapper_s8_get_buffer_size(&p, &in, &filter, &out);
}
int depthwise(int kh, int kw, int sh, int sw, int dh, int dw, int ph, int pw, int ih, int iw, int ic, int oh, int ow,
              int oc)
{
    const cmsis_nn_dw_conv_params p = {
        .stride = {.h = sh, .w = sw}, .dilation = {.h = dh, .w = dw}, .padding = {.h = ph, .w = pw}};
    const cmsis_nn_dims in = {1, ih, iw, ic}, filter = {1, kh, kw, oc}, out = {1, oh, ow, oc};
    return arm_depthwise_conv_wrapper_s8_get_buffer_size(&p, &in, &filter, &out);
}
int avg_pool(int width, int channels) { return arm_avgpool_s8_get_buffer_size(width, channels); }
"""


@pytest.fixture(scope="module")
def buffer_sizes(tmp_path_factory: pytest.TempPathFactory, build_dir: Path) -> ctypes.CDLL:
    """CMSIS-NN's get_buffer_size functions as they compile for a core with DSP instructions.

    Nothing else of the sources is kept, so that the missing instructions do not matter.
    """
    folder, nn = tmp_path_factory.mktemp("sizes"), find_third_party().cmsis_nn
    (folder / "sizes.c").write_text(BUFFER_SIZES)
    (folder / "names").write_text("{ global: conv; depthwise; avg_pool; local: *; };")
    sources = sorted((nn / "Source" / "ConvolutionFunctions").glob("*.c")) + [
        nn / "Source" / "PoolingFunctions" / "arm_avgpool_s8.c"
    ]
    command = [
        "gcc", "-O2", "-shared", "-fPIC", "-ffunction-sections", "-DARM_MATH_DSP", *PORTABLE, f"-I{nn / 'Include'}",
        "-Wl,--gc-sections", f"-Wl,--version-script={folder / 'names'}", str(folder / "sizes.c"), *map(str, sources),
        "-o", str(folder / "sizes.so"),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(folder / "sizes.so"))


@pytest.mark.usefixtures("cmsis_nn_first")
def test_scratch_is_what_cmsis_nn_asks_for(buffer_sizes: ctypes.CDLL) -> None:
    seen: dict[str, set[bool]] = {}
    for seed in range(150):
        for index, operator in enumerate(random_network(seed).operators()):
            layer, output = operator.layer, operator.output
            if layer.kind == "reshape":
                continue  # nothing runs
            if layer.kind == "average_pool":
                needed = buffer_sizes.avg_pool(output[1], operator.inputs[0][2])
            elif layer.kind in ("conv", "depthwise"):
                plan = lower(random_graph(Network(operator.inputs[0], (_alone(layer),)), index)).operators[0]
                shapes = (*plan.padding, *operator.inputs[0], *output)
                ask = getattr(buffer_sizes, layer.kind)
                needed = ask(*layer.kernel, *layer.stride, *layer.dilation, *shapes)
            else:
                needed = 0
            call = call_of(operator)
            assert kernel_for(call).scratch_bytes(call) == needed, operator
            seen.setdefault(layer.kind, set()).add(needed > 0)
    assert seen["conv"] == seen["depthwise"] == {True, False}


def _alone(layer: Layer) -> Layer:
    return Layer(**{**vars(layer), "inputs": (INPUT,)})


@pytest.mark.parametrize("make", [random_network, cell_network])
@pytest.mark.parametrize("seed", range(60))
def test_a_networks_arena_and_blob_are_those_of_its_plan(make: Callable[[int], Network], seed: int) -> None:
    network = make(seed)
    plan = lower(random_graph(network, seed))
    assert arena_bytes(network) == plan.arena_bytes
    assert plan_bytes(network) == len(plan.to_bytes())


@pytest.mark.usefixtures("cmsis_nn_first")
def test_the_reference_network_costs_what_is_published() -> None:
    network = ds_cnn()
    assert network_macs(network) == 2_656_768  # MLPerf Tiny's keyword spotting model
    assert parameters(network) == 22_604
    assert arena_bytes(network) == 8_000 + 8_000 + 1_152  # two maps of 25 x 5 x 64 and the depthwise column


def test_only_multiplying_kinds_have_macs() -> None:
    operators = {x.layer.kind: operator_macs(x) for x in ds_cnn().operators()}
    assert operators["average_pool"] == 0
    assert operators["depthwise"] == 25 * 5 * 64 * 9
    assert operators["fully_connected"] == 64 * 12


@pytest.mark.parametrize("seed", range(80))
def test_buffers_that_live_together_never_overlap_nor_take_more_than_tensorflows_planner_gives(seed: int) -> None:
    rng = random.Random(seed)
    buffers = []
    for _ in range(rng.randint(1, 40)):
        first = rng.randint(0, 20)
        buffers.append(Buffer(rng.randint(1, 5000), first, first + rng.choice([0, 1, 1, 2, 7])))
    layout = plan_buffers(buffers)
    spans = [(o, o + -(-b.size_bytes // 4) * 4) for o, b in zip(layout.offsets, buffers, strict=True)]
    assert layout.peak_bytes == max(end for _, end in spans)
    assert all(start % 4 == 0 for start, _ in spans)
    for i, one in enumerate(buffers):
        for j, other in enumerate(buffers[:i]):
            if one.first <= other.last and other.first <= one.last:
                assert spans[i][1] <= spans[j][0] or spans[j][1] <= spans[i][0]
    assert plan_buffers(buffers) == layout and layout.peak_bytes <= arena.largest_first(buffers).peak_bytes


@pytest.mark.parametrize("seed", range(20))
def test_a_chain_takes_no_more_than_its_largest_step(seed: int) -> None:
    rng = random.Random(seed)
    sizes = [rng.randint(1, 9000) for _ in range(rng.randint(2, 12))]
    scratch = [rng.choice([0, 100, 1000]) for _ in sizes[1:]]
    steps = [arena.Step((i,), i + 1, x) for i, x in enumerate(scratch)]
    plan = arena.plan_steps(dict(enumerate(sizes)), steps, 0, len(sizes) - 1)
    needed = (sum(-(-size // 4) * 4 for size in x) for x in zip(sizes[:-1], sizes[1:], scratch, strict=True))
    assert plan.arena_bytes == arena.aligned(max(needed))


@pytest.mark.parametrize("last", [0, 160])
@pytest.mark.parametrize("seed", range(20))
def test_a_chain_all_of_whose_steps_fill_the_arena_fits_it(seed: int, last: int) -> None:
    """No buffer has room to move, or only where the last step needs a little more: greedy placements fail at this."""
    rng = random.Random(seed)
    arena_bytes = 16 * rng.randint(40, 300)
    sizes = [16 * rng.randint(1, arena_bytes // 32) for _ in range(rng.randint(8, 30))]
    steps = [arena.Step((i,), i + 1, arena_bytes - x - y) for i, (x, y) in enumerate(pairwise(sizes))]
    steps[-1] = replace(steps[-1], scratch_bytes=steps[-1].scratch_bytes + last)
    arena_bytes += last
    plan = arena.plan_steps(dict(enumerate(sizes)), steps, 0, len(sizes) - 1)
    assert plan.arena_bytes == arena_bytes
    for index, step in enumerate(steps):
        places = [(plan.tensors[x], sizes[x]) for x in (index, index + 1)] + [(plan.scratch[index], step.scratch_bytes)]
        used = sorted((start, start + size) for start, size in places if size)
        assert all(end <= start for (_, end), (start, _) in pairwise(used)) and used[-1][1] <= arena_bytes


@pytest.mark.parametrize("seed", [3711, 107, 1615, 3200])
def test_each_order_of_placing_finds_what_the_others_do_not(seed: int) -> None:
    """Cells that fit the least possible arena by size alone, by life, by their product and by start, in this order."""
    network = cell_network(seed)
    sizes, steps, output = arena.network_steps(network)
    written = {0: 0} | {x.output: i for i, x in enumerate(steps)}
    read = {x: i for i, step in enumerate(steps) for x in step.inputs} | {output: len(steps)}
    needs = []
    for i, step in enumerate(steps):
        alive = sum(size for x, size in sizes.items() if written[x] <= i <= read[x])
        over = [min(sizes[x], sizes[step.output]) for x in step.in_place if read[x] == i]
        needs.append(step.scratch_bytes + alive - max(over, default=0))  # all of them multiples of 4
    assert arena_bytes(network) == arena.aligned(max(needs))


def test_tensorflows_planner_places_the_largest_first_and_of_equal_ones_the_last() -> None:
    """By hand."""
    buffers = [Buffer(30, 0, 1), Buffer(64, 1, 2), Buffer(17, 0, 2), Buffer(100, 2, 3), *[Buffer(9, 3, 3)] * 2]
    # 112 bytes at the bottom and 64 on top; 32 for the third on top of both, 32 for the first where the largest is not
    # yet; and of the two of 16 bytes, which live with the largest alone, the last comes first
    assert arena.largest_first(buffers) == arena.Layout((0, 112, 176, 0, 128, 112), 208)


def test_nothing_takes_no_room() -> None:
    assert plan_buffers([]) == arena.largest_first([]) == arena.Layout((), 0)


def test_two_pools_of_one_map_are_one() -> None:
    pools = (Layer("max_pool", (0,), kernel=(3, 3)),) * 2
    layers = (Layer("conv", (INPUT,), 4), *pools, Layer("add", (1, 2)), Layer("fully_connected", (3,), 12))
    merged, kept = without_duplicates(Network((8, 8, 1), layers))
    assert kept == (0, 1, 3, 4)
    assert merged.layers[2].inputs == (1, 1)
    assert merged.output_shape == (1, 1, 12)
    assert without_duplicates(merged) == (merged, (0, 1, 2, 3))


def test_equal_convolutions_have_weights_of_their_own_and_stay() -> None:
    layers = (Layer("conv", (INPUT,), 4), Layer("conv", (INPUT,), 4), Layer("add", (0, 1)))
    network = Network((8, 8, 1), layers)
    assert without_duplicates(network) == (network, (0, 1, 2))
