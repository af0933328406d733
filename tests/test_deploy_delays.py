"""Models of streams: their variables become delay lines, and back; TFLM is the oracle over sequences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deploy_harness import Engine, random_inputs
from step_networks import step_network
from tflite_maker import Maker

from hil_nas.deploy.lower import lower
from hil_nas.deploy.quiet import quiet
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite import read_tflite
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.device.hosts import open_device
from hil_nas.errors import InputError, UnsupportedError

KEPT, NEW, CHANNELS, ZERO = 4, 2, 3, 7
SCALE = (0.05, ZERO)


def stream(
    *,
    kept: int = KEPT,
    slice_by: str = "STRIDED_SLICE",
    whole: bool = False,
    first: int | None = ZERO,
    read_twice: bool = False,
    begin: int | None = None,
    extra: Callable[[Maker, dict[str, int]], None] = lambda _, __: None,
    swapped: bool = False,
    early: bool = False,
    initialise: str = "ASSIGN_VARIABLE",
    kind: Any = np.int8,
) -> bytes:
    """A variable of `kept` rows before (1, 2, 1, 3) new ones, and a pool over both.

    Args:
        slice_by: the operator that takes the last rows.
        whole: the variable has all rows, and its last are read.
        first: what the variable begins with, None: no CALL_ONCE.
        begin: of the slice, where it is another than it should be.
        extra: adds operators, given the tensors by name.
        swapped: what is new comes first.
        early: it is assigned before it is read.
        initialise: the operator of the subgraph that CALL_ONCE runs.
    """
    maker = Maker()
    rows = kept + NEW
    source = maker.tensor((1, NEW, 1, CHANNELS), *SCALE)
    if first is not None:
        maker.operator("CALL_ONCE", [], [], "CallOnceOptions", initSubgraphIndex=1)
    handle = maker.variable("state")
    state = maker.tensor((1, rows if whole else kept, 1, CHANNELS), *SCALE, kind)
    joined, last = maker.tensor((1, rows, 1, CHANNELS), *SCALE), maker.tensor((1, kept, 1, CHANNELS), *SCALE)

    def tail(of: int, extent: int, out: int) -> None:
        at = extent - kept if begin is None else begin
        if slice_by == "SLICE":
            bounds = [maker.constant(x) for x in ([0, at, 0, 0], [1, kept, 1, CHANNELS])]
            maker.operator("SLICE", [of, *bounds], out, "SliceOptions")
        else:
            ends = [1, at + kept, 1, CHANNELS]
            bounds = [maker.constant(x) for x in ([0, at, 0, 0], ends, [1, 1, 1, 1])]
            maker.operator("STRIDED_SLICE", [of, *bounds], out, "StridedSliceOptions")

    def assign() -> None:
        maker.operator("ASSIGN_VARIABLE", [handle, joined if whole else last], [], "AssignVariableOptions")

    if early:
        assign()
    maker.operator("READ_VARIABLE", [handle], state, "ReadVariableOptions")
    if read_twice:
        maker.operator("READ_VARIABLE", [handle], maker.tensor((1, kept, 1, CHANNELS), *SCALE), "ReadVariableOptions")
    if whole:
        tail(state, rows, last)
    pair = [last if whole else state, source]
    maker.operator("CONCATENATION", pair[::-1] if swapped else pair, joined, "ConcatenationOptions", axis=1)
    if not whole:
        tail(joined, rows, last)
    if not early:
        assign()
    output = maker.tensor((1, 1, 1, CHANNELS), *SCALE)
    extra(maker, {"state": state, "joined": joined, "last": last, "handle": handle, "source": source})
    maker.operator("AVERAGE_POOL_2D", [joined], output, "Pool2DOptions", padding=1, strideW=1, strideH=1,
                   filterWidth=1, filterHeight=rows)  # fmt: skip
    if first is not None:
        beginning = Maker(maker)
        shape = (1, rows if whole else kept, 1, CHANNELS)
        value = beginning.constant(np.full(shape, first), *SCALE, np.int8)
        beginning.operator(initialise, [beginning.variable("state"), value], [], "AssignVariableOptions")
    return maker.finish(source, output)


def same_over_a_sequence(engine: Engine, model: bytes, steps: int = 30) -> list[str]:
    """The kinds of the graph's operators, once the engine has given TFLM's bits step by step."""
    graph = read_tflite(model)
    plan, shape = lower(graph), graph.tensors[graph.input].shape[1:]
    inputs = np.random.default_rng(5).integers(-128, 128, (steps, *shape), np.int8)
    expected = Tflm(model).run(inputs)
    assert len(np.unique(expected, axis=0)) > steps // 2
    assert np.array_equal(engine.run(plan.to_bytes(), inputs, plan.arena_bytes), expected)
    return [x.kind for x in graph.operators]


def read_last(maker: Maker, tensors: dict[str, int]) -> None:
    """The slice of the last rows has a reader of its own."""
    maker.operator("RELU6", [tensors["last"]], maker.tensor((1, KEPT, 1, CHANNELS), *SCALE))


@pytest.mark.parametrize("slice_by", ["STRIDED_SLICE", "SLICE"])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("kept", [1, 2, 4, 9])
@pytest.mark.parametrize("first", [ZERO, None])
def test_the_patterns_of_streaming_layers_are_delay_lines(
    engine: Engine, slice_by: str, whole: bool, kept: int, first: int | None
) -> None:
    model = stream(slice_by=slice_by, whole=whole, kept=kept, first=first)
    assert same_over_a_sequence(engine, model) == ["delay", "average_pool"]


def test_a_slice_that_others_read_stays(engine: Engine) -> None:
    assert same_over_a_sequence(engine, stream(extra=read_last)) == ["delay", "strided_slice", "relu6", "average_pool"]


def read_too(maker: Maker, tensors: dict[str, int]) -> None:
    maker.operator("RELU6", [tensors["state"]], maker.tensor((1, KEPT, 1, CHANNELS), *SCALE))


def assign_too(maker: Maker, tensors: dict[str, int]) -> None:
    maker.operator("ASSIGN_VARIABLE", [tensors["handle"], tensors["last"]], [], "AssignVariableOptions")


def other_variable(assigned: bool) -> Callable[[Maker, dict[str, int]], None]:
    """A variable that is only assigned, or only read."""

    def add(maker: Maker, tensors: dict[str, int]) -> None:
        handle = maker.variable("other")
        if assigned:
            maker.operator("ASSIGN_VARIABLE", [handle, tensors["last"]], [], "AssignVariableOptions")
        else:
            maker.operator("READ_VARIABLE", [handle], maker.tensor((1, 4), *SCALE), "ReadVariableOptions")

    return add


def average(maker: Maker, tensors: dict[str, int]) -> None:
    """A state that is no delay line: a mean that runs on."""
    handle = maker.variable("mean")
    shape = (1, NEW, 1, CHANNELS)
    mean, total = maker.tensor(shape, *SCALE), maker.tensor(shape, *SCALE)
    maker.operator("READ_VARIABLE", [handle], mean, "ReadVariableOptions")
    maker.operator("ADD", [mean, tensors["source"]], total, "AddOptions")
    maker.operator("ASSIGN_VARIABLE", [handle, total], [], "AssignVariableOptions")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"extra": average}, r"operator 7 .ASSIGN_VARIABLE. assigns what operator 6 .ADD. gives: expected a state"),
        ({"extra": read_too}, r"operator 2 .READ_VARIABLE. is read by operator 6 .RELU6. too"),
        ({"extra": assign_too}, r"operator 6 .ASSIGN_VARIABLE. has a variable that is assigned before"),
        ({"read_twice": True}, r"operator 3 .READ_VARIABLE. has a variable that is read before"),
        ({"extra": other_variable(True)}, r"operator 7 .ASSIGN_VARIABLE. has a variable that is never read"),
        ({"extra": other_variable(False)}, r"operator 7 .READ_VARIABLE. has a variable that is never assigned"),
        ({"begin": 1}, r"operator 4 .STRIDED_SLICE. takes other rows than the last along axis 1"),
        ({"slice_by": "SLICE", "begin": 0}, r"operator 4 .SLICE. takes other rows than the last"),
        ({"whole": True, "begin": 1}, r"operator 3 .STRIDED_SLICE. takes other rows than the last"),
        ({"swapped": True}, r"operator 2 .READ_VARIABLE. is not what operator 3 .CONCATENATION. has first"),
        ({"early": True}, r"operator 2 .ASSIGN_VARIABLE. comes before the variable is read"),
        ({"first": ZERO + 1}, r"operator 2 .READ_VARIABLE. begins with other values than zeros"),
        ({"initialise": "READ_VARIABLE"}, r"operator 1 .READ_VARIABLE. of subgraph 1 prepares the model: expected"),
        ({"kind": np.float32}, r"operator 2 .READ_VARIABLE. reads a state of FLOAT32.*_experimental_variable_quanti"),
    ],
)
def test_other_states_are_refused_by_operator(fields: dict[str, Any], words: str) -> None:
    if fields.get("extra") is average:
        fields = {**fields, "first": None}
        words = words.replace("operator 7", "operator 8").replace("operator 6", "operator 7")
    with pytest.raises(UnsupportedError, match=words) as refused:
        read_tflite(stream(**fields))
    assert refused.value.hint and "\n" not in str(refused.value)


def test_damaged_files_of_streams_crash_nothing() -> None:
    rng, models, read = np.random.default_rng(8), [stream(), stream(whole=True), stream(slice_by="SLICE")], 0
    for index in range(900):
        bad = bytearray(models[index % 3])
        for _ in range(int(rng.integers(1, 4))):
            bad[int(rng.integers(8, len(bad)))] = int(rng.integers(256))
        try:
            lower(read_tflite(bytes(bad)))
            read += 1
        except InputError:
            pass
    assert 50 < read < 850


def test_step_networks_give_tflms_bits_over_sequences(engine: Engine) -> None:
    for seed in range(30):
        network = step_network(seed)
        graph = random_graph(network, seed)
        model, plan = write_tflite(graph), lower(graph)
        inputs = random_inputs(np.random.default_rng(seed), 30, network.input_shape)
        oracle = Tflm(model)
        expected = oracle.run(inputs)
        assert np.array_equal(engine.run(plan.to_bytes(), inputs, plan.arena_bytes), expected), seed
        assert not np.array_equal(oracle.run(inputs), expected)
        oracle.reset()
        assert np.array_equal(oracle.run(inputs), expected)


def test_what_is_written_is_read_again() -> None:
    for seed in range(30):
        graph = random_graph(step_network(seed), seed)
        assert lower(read_tflite(write_tflite(graph))).to_bytes() == lower(graph).to_bytes()


def test_the_boards_bits_are_tflms_over_sequences(boards_dir: Path, build_dir: Path) -> None:
    """The firmware with the assembly; a run has another one with probes behind it, and so has the oracle's."""
    with open_device("nucleo-l4r5@virtual", boards_dir=boards_dir, build_dir=build_dir) as board:
        for seed in range(6):
            network = step_network(seed)
            graph = random_graph(network, seed)
            inputs = random_inputs(np.random.default_rng(seed), 6, network.input_shape)
            expected = Tflm(write_tflite(graph)).run(np.repeat(inputs, 2, 0))[1::2]
            board.load_plan(lower(graph).to_bytes(), "flash")
            for values, answer in zip(inputs, expected, strict=True):
                board.set_input(values.ravel())
                board.run("network", 0, 1)
                assert np.array_equal(board.read("output"), answer), seed


def interpreted(model: bytes, inputs: np.ndarray) -> np.ndarray:
    """What TensorFlow's own interpreter answers, step by step."""
    with quiet():
        import tensorflow as tf

        reference = tf.lite.experimental.OpResolverType.BUILTIN_REF
        interpreter = tf.lite.Interpreter(model_content=model, experimental_op_resolver_type=reference)
        interpreter.allocate_tensors()
    source, target = (x()[0]["index"] for x in (interpreter.get_input_details, interpreter.get_output_details))
    answers = []
    for values in inputs:
        interpreter.set_tensor(source, values[np.newaxis])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(target).ravel())
    return np.stack(answers)


@pytest.mark.filterwarnings("ignore")
def test_tensorflows_interpreter_runs_what_is_written() -> None:
    """Its kernels round halves otherwise than TFLM's: a value may differ by 1."""
    for seed in range(5):
        network = step_network(seed)
        model = write_tflite(random_graph(network, seed))
        inputs = random_inputs(np.random.default_rng(seed), 30, network.input_shape)
        difference = np.abs(interpreted(model, inputs).astype(int) - Tflm(model).run(inputs))
        assert difference.max() <= 1 and np.mean(difference > 0) < 0.05, seed


def converted(whole: bool, quantised_variables: bool = True) -> bytes:
    """What TensorFlow's converter makes of a module with two variables.

    Args:
        whole: the first variable has all rows that its layer reads.
    """
    with quiet():
        import tensorflow as tf

    rng = np.random.default_rng(0)
    kernels = [tf.constant(rng.normal(0, 0.3, x), tf.float32) for x in ((5, 1, 10, 8), (7, 1, 8, 1), (8, 3))]

    class Step(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first = tf.Variable(tf.zeros((1, 5 if whole else 3, 1, 10)), trainable=False, name="first")
            self.second = tf.Variable(tf.zeros((1, 6, 1, 8)), trainable=False, name="second")

        @tf.function(input_signature=[tf.TensorSpec((1, 2, 10), tf.float32)])  # type: ignore[untyped-decorator]
        def step(self, features: Any) -> Any:
            new = tf.reshape(features, (1, 2, 1, 10))
            joined = tf.concat([self.first[:, 2:] if whole else self.first, new], 1)
            self.first.assign(joined if whole else joined[:, -3:])
            rows = tf.nn.relu(tf.nn.conv2d(joined, kernels[0], (1, 1), "VALID"))
            joined = tf.concat([self.second, rows], 1)
            self.second.assign(joined[:, -6:])
            rows = tf.nn.relu(tf.nn.depthwise_conv2d(joined, kernels[1], (1, 1, 1, 1), "VALID"))
            return tf.nn.sigmoid(tf.matmul(tf.reshape(rows, (1, 8)), kernels[2]))

    def samples() -> Any:
        for _ in range(60):
            yield [rng.normal(0, 1, (1, 2, 10)).astype(np.float32)]

    with quiet():
        module = Step()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([module.step.get_concrete_function()], module)
        converter.experimental_enable_resource_variables = True
        converter._experimental_variable_quantization = quantised_variables
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = samples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type, converter.inference_output_type = tf.int8, tf.uint8
        return bytes(converter.convert())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("whole", [False, True])
def test_what_tensorflow_makes_of_variables_gives_tflms_bits(engine: Engine, whole: bool) -> None:
    kinds = same_over_a_sequence(engine, converted(whole), 200)
    assert kinds == ["reshape", "delay", "conv", "delay", "depthwise", "fully_connected", "logistic"]


@pytest.mark.filterwarnings("ignore")
def test_variables_that_stayed_floats_are_refused_with_the_converters_option() -> None:
    with pytest.raises(UnsupportedError, match=r"reads a state of FLOAT32.*_experimental_variable_quantization"):
        read_tflite(converted(False, quantised_variables=False))
