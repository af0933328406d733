"""Kernel paths and loop counts, against CMSIS-NN's own wrappers and against loops written out."""

from __future__ import annotations

import ctypes
import subprocess
from collections import deque
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil_nas.kernels import call_of
from hil_nas.kernels.flash_cache import sweep
from hil_nas.latency.kernel_work import kernel_path, kernel_work
from hil_nas.network import INPUT, Layer, Network, Operator

pytestmark = pytest.mark.usefixtures("cmsis_nn_first")
STUBS = """
#include "arm_nnfunctions.h"
#define CONV(name, code) arm_cmsis_nn_status name(const cmsis_nn_context *a, const cmsis_nn_conv_params *b, \\
    const cmsis_nn_per_channel_quant_params *c, const cmsis_nn_dims *d, const int8_t *e, const cmsis_nn_dims *f, \\
    const int8_t *g, const cmsis_nn_dims *h, const int32_t *i, const cmsis_nn_dims *j, int8_t *k) { return code; }
#define DEPTHWISE(name, code) arm_cmsis_nn_status name(const cmsis_nn_context *a, \\
    const cmsis_nn_dw_conv_params *b, const cmsis_nn_per_channel_quant_params *c, const cmsis_nn_dims *d, \\
    const int8_t *e, const cmsis_nn_dims *f, const int8_t *g, const cmsis_nn_dims *h, const int32_t *i, \\
    const cmsis_nn_dims *j, int8_t *k) { return code; }
CONV(arm_convolve_1x1_s8_fast, 1) CONV(arm_convolve_1x1_s8, 2) CONV(arm_convolve_1_x_n_s8, 3)
CONV(arm_convolve_s8, 3) DEPTHWISE(arm_depthwise_conv_3x3_s8, 4) DEPTHWISE(arm_depthwise_conv_s8_opt, 5)
DEPTHWISE(arm_depthwise_conv_s8, 6)
int32_t arm_convolve_1x1_s8_fast_get_buffer_size(const cmsis_nn_dims *a) { return 0; }
int32_t arm_convolve_1_x_n_s8_get_buffer_size(const cmsis_nn_dims *a, const cmsis_nn_dims *b) { return 0; }
int32_t arm_convolve_s8_get_buffer_size(const cmsis_nn_dims *a, const cmsis_nn_dims *b) { return 0; }
int32_t arm_depthwise_conv_s8_opt_get_buffer_size(const cmsis_nn_dims *a, const cmsis_nn_dims *b) { return 0; }
/* in: h w c, out: h w c, kernel h w, stride h w, dilation h w, pad h w */
int choice(int depthwise, const int *v) {
    const cmsis_nn_dims in = {1, v[0], v[1], v[2]}, out = {1, v[3], v[4], v[5]}, kernel = {1, v[6], v[7], 1};
    const cmsis_nn_tile stride = {v[9], v[8]}, dilation = {v[11], v[10]}, pad = {v[13], v[12]};
    const cmsis_nn_conv_params conv = {0, 0, stride, pad, dilation, {-128, 127}};
    const cmsis_nn_dw_conv_params dw = {0, 0, v[5] / v[2], stride, pad, dilation, {-128, 127}};
    return depthwise ? arm_depthwise_conv_wrapper_s8(0, &dw, 0, &in, 0, &kernel, 0, 0, 0, &out, 0)
                     : arm_convolve_wrapper_s8(0, &conv, 0, &in, 0, &kernel, 0, 0, 0, &out, 0);
}
"""
CODES = {
    1: "conv_1x1", 2: "conv_1x1", 3: "conv_im2col",
    4: "depthwise_3x3", 5: "depthwise_opt", 6: "depthwise_generic",
}  # fmt: skip


@pytest.fixture(scope="module")
def wrappers(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The two wrappers as CMSIS-NN ships them, over kernels that only say which one was called."""
    spec = find_spec("bakenn")
    assert spec is not None and spec.origin is not None
    vendor = Path(spec.origin).parent / "backend" / "cmsis_nn" / "vendor"
    source = vendor / "cmsis_nn" / "Source" / "ConvolutionFunctions"
    folder = tmp_path_factory.mktemp("wrappers")
    (folder / "stubs.c").write_text(STUBS)
    (folder / "arm_acle.h").write_text("")  # included unconditionally, nothing of it used in the wrappers
    files = [source / "arm_convolve_wrapper_s8.c", source / "arm_depthwise_conv_wrapper_s8.c", folder / "stubs.c"]
    include = [f"-I{vendor}/cmsis_nn/Include", f"-I{vendor}/cmsis_core/Include"]
    command = ["gcc", "-shared", "-fPIC", "-w", f"-I{folder}", *include, *map(str, files)]
    subprocess.run([*command, "-o", str(folder / "wrappers.so")], check=True)
    return ctypes.CDLL(str(folder / "wrappers.so"))


def operator(kind: str, shape: tuple[int, int, int], **values: object) -> Operator:
    network = Network(shape, (Layer(kind, (INPUT,), **values),))  # type: ignore[arg-type]
    return next(network.operators())


def conv(shape: tuple[int, int, int], outputs: int, kernel: tuple[int, int], **values: object) -> Operator:
    return operator("conv", shape, out_channels=outputs, kernel=kernel, **values)


def geometries() -> list[Operator]:
    calls = []
    sizes, kernels = ((1, 8), (7, 1), (9, 6)), ((1, 1), (1, 3), (3, 1), (3, 3), (5, 3), (4, 4))
    for size, kernel, stride, dilation, padding in product(
        sizes, kernels, ((1, 1), (2, 1), (2, 2)), ((1, 1), (2, 2)), ("same", "valid")
    ):
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        if padding == "valid" and (reach[0] > size[0] or reach[1] > size[1]):
            continue
        values = {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding}
        calls.append(operator("conv", (*size, 8), out_channels=4, **values))
        calls.append(operator("depthwise", (*size, 8), **values))
    return calls


def test_paths_are_those_that_the_wrappers_choose(wrappers: ctypes.CDLL) -> None:
    seen = set()
    for op in geometries():
        layer = op.layer
        numbers = [
            *op.inputs[0], *op.output, *layer.kernel, *layer.stride, *layer.dilation, *call_of(op).padding
        ]  # fmt: skip
        code = wrappers.choice(int(layer.kind == "depthwise"), (ctypes.c_int * 14)(*numbers))
        assert kernel_path(op) == CODES[code], op
        seen.add(code)
    assert seen == set(CODES)


def test_pointwise_counts_by_hand() -> None:
    # 5 pixels = 2 pairs and 1 left over; 7 channels = 3 pairs and 1 odd; depth 22 = 16 + 4 + 2
    counts = kernel_work(conv((5, 1, 22), 7, (1, 1))).counts
    assert counts["products"] == 1 and counts["odd_pairs_16_4_1"] == 3 and counts["weight_sums"] == 3 * 22
    assert counts["tiles_16_4_1"] == 3 * 2 and counts["left_overs_16_4_1"] == 3 and counts["tiles_16"] == 0
    assert counts["tile_by_16"] == 6 and counts["tile_by_4"] == 6 and counts["tile_by_1"] == 12
    assert counts["odd_channel_outputs"] == 5 and counts["odd_channel_macs"] == 5 * 22


def test_strided_pointwise_is_one_product_per_row() -> None:
    counts = kernel_work(conv((8, 6, 16), 4, (1, 1), stride=(2, 2))).counts
    assert counts["products"] == 4 and counts["odd_pairs_16"] == 4 * 2 and counts["tiles_16"] == 4 * 2 * 1
    assert counts["left_overs_16"] == 4 * 2 * 1


def test_pairs_are_told_apart_by_what_their_pixels_run() -> None:
    for pixels, way in ((4, "even"), (5, "odd"), (1, "lone")):
        counts = kernel_work(conv((pixels, 1, 16), 6, (1, 1))).counts
        assert {x: counts[f"{x}_pairs_16"] for x in ("even", "odd", "lone")} == {
            x: 3 * (x == way) for x in ("even", "odd", "lone")
        }


def test_im2col_counts_by_hand() -> None:
    # a 3x3 kernel over 3x3 pixels: 4 corners with 4 taps, 4 edges with 6, the middle with 9
    counts = kernel_work(conv((3, 3, 5), 3, (3, 3))).counts
    assert counts["copied_pixels_4_1"] == 4 * 4 + 4 * 6 + 9 and counts["clears"] == 81 - 49
    assert counts["copied_pixel_by_4"] == 49 and counts["copied_pixel_by_1"] == 49
    assert counts["cleared_bytes"] == 32 * 5 * 2
    assert counts["columns_both"] == 4 and counts["tiles_4_1"] == 4 and counts["odd_channels_4_1"] == 4
    assert counts["tile_by_4"] == 4 * 11 and counts["tile_by_1"] == 4 * 1
    assert counts["single_columns_4_1"] == 3


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 9)),
    kernel=st.tuples(st.integers(1, 6), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 3)),
    kind=st.sampled_from(["conv", "depthwise", "max_pool", "average_pool"]),
)
def test_taps_inside_match_loops_written_out(
    size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], kind: str
) -> None:
    if "pool" in kind:
        dilation = (1, 1)
    extra = {"out_channels": 4} if kind == "conv" else {}
    op = operator(kind, (*size, 4), kernel=kernel, stride=stride, dilation=dilation, **extra)
    pad = call_of(op).padding
    inside = rows = 0
    for y, x in product(range(op.output[0]), range(op.output[1])):
        ys = [y * stride[0] - pad[0] + i * dilation[0] for i in range(kernel[0])]
        xs = [x * stride[1] - pad[1] + i * dilation[1] for i in range(kernel[1])]
        good_rows, good_columns = (sum(0 <= v < n for v in vs) for vs, n in ((ys, size[0]), (xs, size[1])))
        inside += good_rows * good_columns
        rows += good_rows
    work = kernel_work(op)
    actual = {
        "conv_im2col": lambda c: c["copied_pixels_4"],
        "depthwise_3x3": lambda c: c["block_taps"],
        "depthwise_opt": lambda c: c["copied_pixels_4"],
        "depthwise_generic": lambda c: c["taps"] / 4,
        "max_pool": lambda c: c["taps"],
        "average_pool": lambda c: c["taps"],
    }
    if work.path in actual:
        assert actual[work.path](work.counts) == inside
    if work.path == "depthwise_3x3":
        assert work.counts["block_rows"] == rows


def test_every_path_names_the_same_features_for_every_shape() -> None:
    names: dict[str, tuple[str, ...]] = {}
    for op in geometries():
        work = kernel_work(op)
        assert names.setdefault(work.path, tuple(work.counts)) == tuple(work.counts)
        assert all(value >= 0 for value in work.counts.values())


def slow_cache(trace: list[int], passes: int) -> tuple[int, int]:
    """The same cache written down naively: a queue of lines, each with a set of sectors."""
    lines: deque[tuple[int, set[int]]] = deque()
    sectors = fills = 0
    for sector in trace * passes:
        line = sector * 8 // 32
        entry = next((x for x in lines if x[0] == line), None)
        if entry is None:
            fills += 1
            entry = (line, set())
        else:
            lines.remove(entry)
        lines.append(entry)
        if len(lines) > 8:
            lines.popleft()
        if sector not in entry[1]:
            sectors += 1
            entry[1].add(sector)
    return sectors, fills


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=80), st.integers(1, 4))
def test_sweeps_miss_what_a_naive_cache_misses(trace: list[int], passes: int) -> None:
    assert sweep(trace).times(passes) == slow_cache(trace, passes)


def pointwise_trace(depth: int, outputs: int, rows: int) -> list[int]:
    """Every sector that arm_nn_mat_mult_nt_t_s8 reads, in order; constants begin at lines."""
    line_up = -(-4 * outputs // 32) * 32
    bias = -(-depth * outputs // 32) * 32
    trace: list[int] = []

    def read(address: int, size: int) -> None:
        trace.extend(range(address // 8, (address + size - 1) // 8 + 1))

    for channel in range(0, outputs - 1, 2):
        for sweep_number in range(1 + rows // 2 + rows % 2):  # the first one sums the weights
            for i in range(0, depth, 4):
                for row in (channel, channel + 1):
                    read(row * depth + i, min(4, depth - i))
            for table in (bias + line_up, bias + 2 * line_up) if sweep_number else (bias,):
                read(table + 4 * channel, 8)
    return trace


@pytest.mark.parametrize(
    ("depth", "outputs", "rows"), [(64, 16, 9), (96, 96, 5), (40, 80, 6), (112, 66, 4), (30, 70, 7), (128, 40, 3)]
)
def test_what_a_pointwise_convolution_misses(depth: int, outputs: int, rows: int) -> None:
    sectors, lines = slow_cache(pointwise_trace(depth, outputs, rows), 1)
    counts = kernel_work(conv((rows, 1, depth), outputs, (1, 1))).counts
    assert counts["flash_sectors"] == pytest.approx(sectors, rel=0.002)
    assert counts["flash_lines"] == pytest.approx(lines, rel=0.01)


def test_weights_that_do_not_fit_the_cache_are_read_for_every_tile() -> None:
    small = kernel_work(conv((40, 1, 64), 2, (1, 1))).counts  # 128 bytes of weights
    large = kernel_work(conv((40, 1, 256), 2, (1, 1))).counts  # 512 bytes: once for the sums, then 20 tiles
    assert small["flash_sectors"] == 128 / 8 + 3
    assert large["flash_sectors"] == (1 + 20) * 512 / 8 + 1 + 20 * 2


def test_kernel_work_does_not_depend_on_wiring() -> None:
    first = Operator(Layer("add", (0, 1)), ((4, 4, 8), (4, 4, 8)), (4, 4, 8))
    second = Operator(Layer("add", (3, 7)), ((4, 4, 8), (4, 4, 8)), (4, 4, 8))
    assert kernel_work(first) == kernel_work(second)
    assert np.isclose(kernel_work(first).counts["values"], 128)
