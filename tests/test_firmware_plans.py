"""No plan, however damaged, makes the engine touch a byte outside its blob and arena: under AddressSanitizer."""

from __future__ import annotations

import struct
import subprocess
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from deploy_harness import PORTABLE, engine_sources
from every_operator import PLAN_KINDS, every_operator
from firmware_wire import SANITIZERS

from hil_nas import kernels
from hil_nas.deploy.lower import lower
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite import read_tflite
from hil_nas.device.firmware import find_third_party
from hil_nas.kernels import KernelCall, cmsis_nn, dsp, plain
from hil_nas.network import Layer, Network
from hil_nas.operators.table import PLAN_CODES

HEADER, OP = 64, 128
# struct plan_op: where each field stands, and its size.
OP_FIELDS = {
    "kind": (0, 2), "input_count": (2, 2), "input0": (4, 4), "input1": (8, 4), "output": (12, 4), "scratch": (16, 4),
    "scratch_bytes": (20, 4), "in_h": (24, 2), "in_w": (26, 2), "in_c": (28, 2), "out_h": (30, 2), "out_w": (32, 2),
    "out_c": (34, 2), "kernel_h": (36, 2), "kernel_w": (38, 2), "stride_h": (40, 2), "stride_w": (42, 2),
    "dilation_h": (44, 2), "dilation_w": (46, 2), "pad_top": (48, 2), "pad_left": (50, 2), "offset0": (52, 4),
    "offset1": (56, 4), "output_offset": (60, 4), "low": (64, 4), "high": (68, 4), "weights": (72, 4), "bias": (76, 4),
    "multipliers": (80, 4), "shifts": (84, 4), "multiplier0": (88, 4), "multiplier1": (92, 4), "shift0": (96, 4),
    "shift1": (100, 4), "out_multiplier": (104, 4), "out_shift": (108, 4), "left_shift": (112, 4),
    "second_h": (116, 2), "second_w": (118, 2), "second_c": (120, 2), "kernel_list": (122, 2), "reserved": (124, 4),
}  # fmt: skip
CONV, DEPTHWISE, DILATED, POOL, ADD, CONCAT, MAX, DENSE, SOFTMAX = range(9)
# of the other plan, the first of each
LOOKUP, MEAN, MUL, SUB, SCALAR, COPY = map(PLAN_KINDS.index, ("lookup", "mean", "mul", "sub", "add", "copy"))
NETWORK = Network(
    (9, 7, 2),
    (
        Layer("conv", (-1,), 6, kernel=(3, 3), stride=(2, 1), relu=True),
        Layer("depthwise", (0,), kernel=(3, 3), relu=True),
        Layer("depthwise", (0,), kernel=(3, 3), dilation=(2, 2)),
        Layer("average_pool", (1,), kernel=(3, 3)),
        Layer("add", (2, 3)),
        Layer("concatenation", (4, 1)),
        Layer("max_pool", (5,), kernel=(2, 2), stride=(2, 2)),
        Layer("fully_connected", (6,), 5),
        Layer("softmax", (7,)),
    ),
)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory, boards_dir: Path, build_dir: Path) -> Path:
    """engine_jobs.c with the engine, built with sanitizers."""
    nn, program = find_third_party().cmsis_nn, tmp_path_factory.mktemp("jobs") / "jobs"
    sources = [Path(__file__).with_name("engine_jobs.c"), *engine_sources(boards_dir)]
    folders = ("ConvolutionFunctions", "FullyConnectedFunctions", "NNSupportFunctions", "PoolingFunctions")
    sources += [y for x in folders for y in sorted((nn / "Source" / x).glob("*.c"))]
    flags = ["-std=gnu11", "-O1", "-g", *PORTABLE, *SANITIZERS]
    includes = [f"-I{boards_dir / 'include'}", f"-isystem{nn / 'Include'}"]
    subprocess.run(["gcc", *flags, *includes, *map(str, sources), "-o", str(program)], check=True)
    return program


@pytest.fixture(scope="module")
def plan() -> bytes:
    """Of CMSIS-NN's kernels and the plain ones."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kernels, "LISTS", (cmsis_nn.KERNELS, plain.KERNELS))
        return lower(random_graph(NETWORK, 3)).to_bytes()


@pytest.fixture(scope="module")
def dsp_plan() -> bytes:
    """The same network with our own kernels where they take it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kernels, "LISTS", (dsp.KERNELS, cmsis_nn.KERNELS, plain.KERNELS))
        return lower(random_graph(NETWORK, 3)).to_bytes()


@pytest.fixture(scope="module")
def other() -> bytes:
    """A plan of the operators that people's models have beside those of searches."""
    return lower(read_tflite(every_operator(6, 5, classes=4))).to_bytes()


@pytest.fixture(scope="module")
def verdicts(jobs: Path) -> Callable[[Sequence[bytes]], list[str]]:
    def run(plans: Sequence[bytes]) -> list[str]:
        data = b"".join(struct.pack("<I", len(x)) + x for x in plans)
        done = subprocess.run([str(jobs)], input=data, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()[-3000:]
        return done.stdout.decode().splitlines()

    return run


def sealed(plan: bytes | bytearray) -> bytes:
    """The plan with the CRC that its contents ask for, so that what is behind the CRC is reached."""
    return bytes(plan[:12]) + struct.pack("<I", zlib.crc32(plan[16:])) + bytes(plan[16:])


def changed(plan: bytes, op: int, **values: int) -> bytes:
    data = bytearray(plan)
    for name, value in values.items():
        offset, size = OP_FIELDS[name]
        at = HEADER + OP * op + offset
        data[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
    return sealed(data)


def field(plan: bytes, op: int, name: str) -> int:
    offset, size = OP_FIELDS[name]
    return int.from_bytes(plan[HEADER + OP * op + offset :][:size], "little")


def test_the_plan_itself_runs(verdicts: Callable[[Sequence[bytes]], list[str]], plan: bytes) -> None:
    assert verdicts([plan, sealed(plan)]) == ["ran", "ran"]


def test_the_other_plan_runs(verdicts: Callable[[Sequence[bytes]], list[str]], other: bytes) -> None:
    assert verdicts([other]) == ["ran"]


@pytest.mark.parametrize(
    ("op", "values", "reason"),
    [
        (CONV, {"kind": 0}, "unknown operator"),
        (CONV, {"kind": max(PLAN_CODES.values()) + 1}, "unknown operator"),
        (CONV, {"input_count": 2}, "wrong number of inputs"),
        (CONV, {"reserved": 1}, "reserved fields are not 0"),
        (CONV, {"input0": 0xFFFFFFF0}, "an input outside the arena"),
        (CONV, {"output": 0x7FFFFFFF}, "output outside the arena"),
        (CONV, {"scratch": 0xFFFFFFFC}, "scratch memory outside the arena or unaligned"),
        (CONV, {"scratch_bytes": 4}, "less scratch memory than the kernel asks for"),
        (CONV, {"in_h": 200}, "an input outside the arena"),
        (CONV, {"out_h": 200}, "output outside the arena"),
        (CONV, {"stride_h": 3}, "kernel, stride, padding and shapes do not fit together"),
        (CONV, {"stride_w": 0}, "kernel, stride, padding and shapes do not fit together"),
        (CONV, {"kernel_w": 0}, "kernel, stride, padding and shapes do not fit together"),
        (CONV, {"pad_left": 3}, "kernel, stride, padding and shapes do not fit together"),
        (CONV, {"pad_top": 65535}, "kernel, stride, padding and shapes do not fit together"),
        (CONV, {"dilation_h": 20000}, "a window too large for the kernel"),
        (CONV, {"kernel_h": 16384}, "kernel too large for the engine"),
        (CONV, {"weights": 0xFFFFFFF0}, "weights outside the plan or unaligned"),
        (CONV, {"weights": 64}, "weights outside the plan or unaligned"),
        (CONV, {"bias": 8}, "bias outside the plan or unaligned"),
        (CONV, {"shifts": 0xFFFFFFF0}, "multipliers or shifts outside the plan or unaligned"),
        (CONV, {"low": 5, "high": 4}, "a zero point or an activation limit that is no int8"),
        (CONV, {"offset0": 129}, "a zero point or an activation limit that is no int8"),
        (CONV, {"output_offset": 128}, "a zero point or an activation limit that is no int8"),
        (DEPTHWISE, {"in_c": 4}, "output channels are no multiple of the input's"),
        (DEPTHWISE, {"pad_left": 0}, "3x3 kernel that begins in the last column"),
        (POOL, {"out_c": 3}, "pooling that changes the channels"),
        (POOL, {"kernel_h": 0}, "kernel, stride, padding and shapes do not fit together"),
        (ADD, {"input_count": 1}, "wrong number of inputs"),
        (ADD, {"in_c": 3}, "inputs that do not broadcast to the output's shape"),
        (ADD, {"second_w": 2}, "inputs that do not broadcast to the output's shape"),
        (ADD, {"second_h": 0}, "an input outside the arena"),
        (ADD, {"kernel_list": 2}, "this firmware has no such kernel"),
        (ADD, {"left_shift": 21}, "a multiplier or shift out of range"),
        (ADD, {"shift1": 1}, "a multiplier or shift out of range"),
        (ADD, {"input1": 0xFFFFFFF0}, "an input outside the arena"),
        (CONCAT, {"input_count": 65535}, "table of inputs outside the plan or unaligned"),
        (CONCAT, {"input_count": 1}, "inputs that are not the size of the output"),
        (CONCAT, {"in_h": 1}, "inputs that are not the size of the output"),
        (DENSE, {"out_h": 2}, "fully connected with more than one row"),
        (DENSE, {"out_c": 65}, "weights outside the plan or unaligned"),
        (DENSE, {"out_shift": 31}, "a multiplier or shift out of range"),
        (DENSE, {"out_multiplier": -1}, "a multiplier or shift out of range"),
        (SOFTMAX, {"shift0": 31}, "a multiplier or shift out of range"),
        (SOFTMAX, {"left_shift": -255, "shift0": 30}, "a multiplier or shift out of range"),
        (SOFTMAX, {"left_shift": 1}, "a multiplier or shift out of range"),
    ],
)
def test_a_damaged_operator_is_refused(
    verdicts: Callable[[Sequence[bytes]], list[str]], plan: bytes, op: int, values: dict[str, int], reason: str
) -> None:
    assert verdicts([changed(plan, op, **values)]) == [f"{op} {reason}"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"scratch_bytes": 8}, "less scratch memory than the kernel asks for"),
        ({"weights": 64}, "weights outside the plan or unaligned"),
        ({"weights": 0xFFFFFFF0}, "weights outside the plan or unaligned"),
        ({"weights": 0}, "weights outside the plan or unaligned"),
        ({"in_c": 1, "weights": 2**31}, "weights outside the plan or unaligned"),
        ({"kernel_h": 16384}, "a window too large for the kernel"),
        ({"dilation_h": 32768}, "a window too large for the kernel"),
    ],
)
def test_a_damaged_convolution_of_our_own_is_refused(
    verdicts: Callable[[Sequence[bytes]], list[str]], dsp_plan: bytes, values: dict[str, int], reason: str
) -> None:
    assert field(dsp_plan, CONV, "kernel_list") == dsp.KERNELS.number
    assert verdicts([dsp_plan, changed(dsp_plan, CONV, **values)]) == ["ran", f"{CONV} {reason}"]


def test_scalings_of_our_own_convolution_are_looked_at(
    verdicts: Callable[[Sequence[bytes]], list[str]], dsp_plan: bytes
) -> None:
    """The last words of its two groups: of every channel a multiplier, what is added, a shift."""
    call = KernelCall("conv", ((9, 7, 2),), (5, 7, 6), (3, 3), (2, 1), (1, 1), (1, 1), relu=True)
    (size,) = dsp.KERNELS.kernels["conv"].constant_bytes(call)
    end, plans = field(dsp_plan, CONV, "weights") + size, []
    for group_end in (end, end - size // 2):
        for word, value in ((-1, 23), (-1, -1), (-12, -1), (-10, 1 << 31)):
            data = bytearray(dsp_plan)
            struct.pack_into("<I", data, group_end + 4 * word, value & 0xFFFFFFFF)
            plans.append(sealed(data))
    assert verdicts(plans) == [f"{CONV} a multiplier or shift out of range"] * len(plans)


@pytest.mark.parametrize(
    ("op", "values", "reason"),
    [
        (MUL, {"second_c": 5}, "inputs that do not broadcast to the output's shape"),
        (MUL, {"in_c": 0}, "an input outside the arena"),
        (MUL, {"out_shift": 15}, "a multiplier or shift out of range"),
        (MUL, {"offset1": -128}, "a zero point or an activation limit that is no int8"),
        (MUL, {"input1": 0xFFFFFFF0}, "an input outside the arena"),
        (SUB, {"weights": 64}, "a constant input outside the plan or unaligned"),
        (SUB, {"weights": 0xFFFFFFE0}, "a constant input outside the plan or unaligned"),
        (SUB, {"input_count": 1}, "wrong number of inputs"),
        (SCALAR, {"bias": 72}, "a constant input outside the plan or unaligned"),
        (SCALAR, {"left_shift": 19}, "a multiplier or shift out of range"),
        (LOOKUP, {"weights": 0}, "table of values outside the plan or unaligned"),
        (LOOKUP, {"weights": 0xFFFFFF00}, "table of values outside the plan or unaligned"),
        (LOOKUP, {"in_w": 4}, "a function of single values that changes the shape"),
        (MEAN, {"out_w": 2, "out_c": 2}, "a mean of another shape"),
        (MEAN, {"in_h": 2, "in_w": 15}, "a mean of another shape"),
        (MEAN, {"out_shift": 7}, "a multiplier or shift out of range"),
        (COPY, {"weights": 8}, "table of steps outside the plan or unaligned"),
        (COPY, {"in_h": 1, "in_w": 1}, "a copy from beyond the input"),
    ],
)
def test_a_damaged_operator_of_peoples_models_is_refused(
    verdicts: Callable[[Sequence[bytes]], list[str]], other: bytes, op: int, values: dict[str, int], reason: str
) -> None:
    assert verdicts([changed(other, op, **values)]) == [f"{op} {reason}"]


def test_a_damaged_table_of_steps_is_refused(verdicts: Callable[[Sequence[bytes]], list[str]], other: bytes) -> None:
    table, plans = field(other, COPY, "weights"), []
    for place in range(4):
        for value in (200, 0xFFFFFFFF):
            data = bytearray(other)
            struct.pack_into("<I", data, table + 4 * place, value)
            plans.append(sealed(data))
    assert verdicts(plans) == [f"{COPY} a copy from beyond the input"] * len(plans)


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [
        (0, 0, "not a plan"),
        (4, 0x400001, "a plan of another version"),
        (8, 64, "not the size that the plan says"),
        (12, 0, "the plan's CRC is wrong"),
        (16, 0, "no operators, or too many"),
        (16, 257, "no operators, or too many"),
        (16, 256, "operators behind the end"),
        (20, 65552, "the arena does not fit in RAM"),
        (20, 8, "an arena that is no multiple of 16 bytes"),
        (24, 0xFFFFFFF0, "the input is outside the arena"),
        (28, 0, "the input is outside the arena"),
        (32, 0x7FFFFFF0, "the output is outside the arena"),
        (36, 0xFFFFFFFF, "the output is outside the arena"),
        (56, 1, "reserved fields are not 0"),
    ],
)
def test_a_damaged_header_is_refused(
    verdicts: Callable[[Sequence[bytes]], list[str]], plan: bytes, offset: int, value: int, reason: str
) -> None:
    damaged = plan[:offset] + struct.pack("<I", value) + plan[offset + 4 :]
    assert verdicts([sealed(damaged) if offset > 12 else damaged]) == [f"-1 {reason}"]


def test_every_bit_of_the_header_is_checked(verdicts: Callable[[Sequence[bytes]], list[str]], plan: bytes) -> None:
    """Scales and places too: a plan whose zero point flipped in flash would compute, and answer wrongly."""
    flipped = []
    for bit in range(8 * HEADER):
        data = bytearray(plan)
        data[bit // 8] ^= 1 << bit % 8
        flipped.append(bytes(data))
    assert all(x.startswith("-1 ") for x in verdicts(flipped))


def test_every_truncation_is_refused(verdicts: Callable[[Sequence[bytes]], list[str]], plan: bytes) -> None:
    lengths = [*range(1, 80), *range(80, len(plan), 97)]
    answers = verdicts([plan[:x] for x in lengths])
    assert len(answers) == len(lengths) and all(x.startswith("-1 ") for x in answers)


@pytest.mark.parametrize("which", ["plan", "dsp_plan", "other"])
def test_no_value_of_any_field_leads_outside(
    verdicts: Callable[[Sequence[bytes]], list[str]], request: pytest.FixtureRequest, which: str
) -> None:
    """Each field of each operator at its edges and at random; whatever is not refused runs, and ASan watches."""
    random, plan = np.random.default_rng(6), request.getfixturevalue(which)
    plans, operators = [], struct.unpack_from("<I", plan, 16)[0]
    for op in range(operators):
        for name, (_, size) in OP_FIELDS.items():
            top, now = (1 << 8 * size) - 1, field(plan, op, name)
            near = [now + 1, now - 1, now + 16, now - 16, now * 2, now // 2, 0, 1, top, top // 2, top // 2 + 1]
            plans += [changed(plan, op, **{name: x}) for x in (*near, *map(int, random.integers(0, 200, 4)))]
    for _ in range(1500):  # several at once
        damaged = plan
        for _ in range(int(random.integers(2, 5))):
            name = str(random.choice(list(OP_FIELDS)))
            op = int(random.integers(0, operators))
            damaged = changed(damaged, op, **{name: int(random.integers(0, 12))})
        plans.append(damaged)
    for _ in range(1500):  # bytes anywhere behind the header: operators and constants
        data = bytearray(plan)
        for at in random.integers(HEADER, len(plan), 2):
            data[at] = int(random.integers(0, 256))
        plans.append(sealed(data))
    answers = verdicts(plans)
    assert len(answers) == len(plans) and "a kernel refused" not in answers
    assert 0.1 < answers.count("ran") / len(answers) < 0.9
