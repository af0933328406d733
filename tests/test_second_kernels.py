"""A second list of kernels is one folder of C and its twin: arena, plan, features, engine and export follow them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deploy_harness import build_engine, random_inputs

from hil_nas import kernels
from hil_nas.cost import arena_bytes, plan_bytes
from hil_nas.deploy.lower import lower
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.device.firmware import build_firmware, find_third_party
from hil_nas.errors import UnsupportedError
from hil_nas.kernels import Constants, Counts, Fault, Kernel, KernelCall, KernelList, call_of, kernel_for, list_for
from hil_nas.latency.kernel_work import kernel_path, kernel_work
from hil_nas.network import Layer, Network

pytestmark = pytest.mark.usefixtures("cmsis_nn_first")
SOURCE = Path(__file__).with_name("second_kernels")
CHANNELS = 16
LISTS = "KERNEL_LISTS=LIST(second) LIST(cmsis_nn) LIST(plain)"
NETWORK = Network(
    (9, 6, 3),
    (
        Layer("conv", (-1,), 32, kernel=(3, 3), stride=(2, 1), relu=True),
        Layer("conv", (0,), 48, relu=True),  # the second list's
        Layer("depthwise", (1,), kernel=(3, 3), relu=True),
        Layer("conv", (2,), 16),  # the second list's
        Layer("conv", (3,), 12),  # no multiple of 16
        Layer("conv", (4,), 16, stride=(2, 2)),
        Layer("fully_connected", (5,), 5),
    ),
)
RUN_BY = [2, 77, 2, 77, 2, 2, 2]


def fault(call: KernelCall) -> Fault | None:
    window = (call.kernel, call.stride, call.dilation, call.padding)
    taken = window == ((1, 1), (1, 1), (1, 1), (0, 0)) and call.output[2] % CHANNELS == 0
    return None if taken else Fault("is no 1x1 convolution of 16 channels", "use another kernel")


def constant_bytes(call: KernelCall) -> tuple[int, ...]:
    return (call.inputs[0][2] * call.output[2], 4 * call.output[2], 8 * call.output[2])


def packed(call: KernelCall, fields: Mapping[str, Any], constants: Constants) -> Constants:
    weights = constants["weights"].reshape(call.output[2] // CHANNELS, CHANNELS, call.inputs[0][2])  # (blocks, 16, in)
    sums = constants["weights"].reshape(call.output[2], -1).sum(axis=1, dtype=np.int32)
    return {
        "weights": weights.transpose(0, 2, 1),  # (blocks, in, 16)
        "bias": (constants["bias"] + fields["input_offsets"][0] * sums).astype("<i4"),
        "multipliers": np.stack([constants["multipliers"], constants["shifts"]], axis=1),  # (out, 2)
    }


def counts(call: KernelCall) -> Counts:
    blocks = prod(call.output[:2]) * call.output[2] // CHANNELS
    return {"blocks": blocks, "block_macs": blocks * call.inputs[0][2]}


SECOND = KernelList(
    "second",
    77,
    {
        "conv": Kernel(
            fault=fault,
            scratch_bytes=lambda call: 64,
            constant_bytes=constant_bytes,
            packed=packed,
            path=lambda call: "second_1x1",
            counts={"second_1x1": counts},
        )
    },
)


@pytest.fixture
def with_second(monkeypatch: pytest.MonkeyPatch, cmsis_nn_first: None) -> None:
    monkeypatch.setattr(kernels, "LISTS", (SECOND, *kernels.LISTS))


@pytest.fixture
def tree(tmp_path: Path, boards_dir: Path) -> Path:
    """The firmware's sources with the second list's folder."""
    shutil.copytree(boards_dir, tmp_path / "boards")
    shutil.copytree(SOURCE, tmp_path / "boards" / "src" / "kernels" / "second")
    return tmp_path / "boards"


def test_no_two_lists_have_one_name_or_number(boards_dir: Path) -> None:
    assert len({x.name for x in kernels.LISTS}) == len({x.number for x in kernels.LISTS}) == len(kernels.LISTS)
    for x in kernels.LISTS:
        table = (boards_dir / "src" / "kernels" / x.name / f"{x.name}.c").read_text()
        assert f"const struct kernel_list {x.name}_kernels = {{.number = {x.number}," in table


@pytest.mark.usefixtures("with_second")
def test_plan_arena_and_features_follow_the_list() -> None:
    plan = lower(random_graph(NETWORK, 3))
    assert [x.kernel_list for x in plan.operators] == RUN_BY
    assert [x.scratch_bytes for x in plan.operators if x.kernel_list == 77] == [64, 64]
    assert all(x.shifts_data == 0 for x in plan.operators if x.kernel_list == 77)
    assert arena_bytes(NETWORK) == plan.arena_bytes and plan_bytes(NETWORK) == plan.total_bytes
    operators = list(NETWORK.operators())
    assert [kernel_path(x) for x in operators[:4]] == ["conv_im2col", "second_1x1", "depthwise_3x3", "second_1x1"]
    assert kernel_work(operators[1]).counts == {"calls": 1, "blocks": 5 * 6 * 3, "block_macs": 5 * 6 * 3 * 32}
    pointwise = call_of(operators[4])
    assert kernel_path(operators[4]) == "conv_1x1" and kernel_for(pointwise).scratch_bytes(pointwise) == 0


def test_without_the_list_nothing_is_different() -> None:
    plan = lower(random_graph(NETWORK, 3))
    assert [x.kernel_list for x in plan.operators] == [2] * len(RUN_BY)
    assert kernel_path(list(NETWORK.operators())[1]) == "conv_1x1"


def test_what_no_list_takes_is_refused_with_what_the_last_one_says(monkeypatch: pytest.MonkeyPatch) -> None:
    strided = call_of(list(NETWORK.operators())[5])
    monkeypatch.setattr(kernels, "LISTS", (SECOND,))
    with pytest.raises(UnsupportedError, match="'expand' is no 1x1 convolution of 16 channels"):
        list_for(strided, "'expand'")
    with pytest.raises(UnsupportedError, match="no kernel runs a fully_connected"):
        kernel_for(call_of(list(NETWORK.operators())[6]))


def test_its_engine_gives_tflms_bits(
    tmp_path: Path, tree: Path, build_dir: Path, boards_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = random_graph(NETWORK, 3)
    both = build_engine(tmp_path, tree, build_dir, "-UKERNEL_LISTS", f"-D{LISTS}")
    plain_plan = lower(graph)
    monkeypatch.setattr(kernels, "LISTS", (SECOND, *kernels.LISTS))
    plan = lower(graph)
    inputs = random_inputs(np.random.default_rng(2), 20, NETWORK.input_shape)
    expected = Tflm(write_tflite(graph)).run(inputs).reshape(20, -1)
    assert plan.to_bytes() != plain_plan.to_bytes() and len(np.unique(expected)) > 20
    for one in (plan, plain_plan):
        assert np.array_equal(both.run(one.to_bytes(), inputs, one.arena_bytes), expected)


def test_the_build_links_what_is_listed(
    tree: Path, tmp_path: Path, build_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, third_party = tmp_path / "build", find_third_party()
    (out / "firmware").mkdir(parents=True)
    (out / "firmware" / "objects").symlink_to((build_dir / "firmware" / "objects").resolve())
    without = build_firmware("native", tree, out, third_party)
    monkeypatch.setattr(kernels, "LISTS", (SECOND, *kernels.LISTS))
    both = build_firmware("native", tree, out, third_party)
    text = b"no 1x1 kernel, or channels that are no multiple of 16"
    assert text in both.elf.read_bytes() and text not in without.elf.read_bytes()
    assert both.kernels_id != without.kernels_id
