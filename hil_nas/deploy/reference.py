"""The oracle for bits: TensorFlow Lite Micro's own kernels on this machine."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hil_nas.deploy.quiet import quiet
from hil_nas.deploy.tflite import read_tflite
from hil_nas.errors import InputError, MissingToolError

_SPARE_BYTES = 1 << 20  # the interpreter's own structures


class Tflm:
    """A quantised .tflite in TFLM's interpreter with its reference kernels.

    Attributes:
        input_shape: without the batch.
        input_scale, input_zero_point, output_scale, output_zero_point: of the int8 tensors at the ends.
        input_end, output_end: the model's own types.

    Raises:
        InputError: for a model that `read_tflite` refuses or that the interpreter does not take.
        MissingToolError: where tflite_micro is not installed.
    """

    def __init__(self, model: bytes) -> None:
        graph = read_tflite(model)
        source, target = graph.tensors[graph.input], graph.tensors[graph.output]
        self.input_shape = source.shape[1:]
        self.input_end, self.output_end = graph.input_end, graph.output_end
        self.input_scale, self.input_zero_point = source.scale, source.zero_point
        self.output_scale, self.output_zero_point = target.scale, target.zero_point
        self._outputs = target.elements
        activations = sum(x.elements for x in graph.tensors)
        self._interpreter = _interpreter(model, 2 * activations + 4 * len(model) + _SPARE_BYTES)

    def reset(self) -> None:
        """Gives the variables of a stream's model their first values."""
        self._interpreter.reset()

    def run(self, features: NDArray[np.int8]) -> NDArray[np.int8]:
        """int8 (n, *input_shape) -> int8 (n, outputs), one call after the other; what a float or uint8 model is given
        and gives is converted.

        Raises:
            InputError: for another shape or type.
        """
        if features.dtype != np.int8 or features.shape[1:] != self.input_shape:
            raise InputError(f"expected int8 of shape (n, {self.input_shape}), found {features.dtype} {features.shape}")
        return self.output_end.to_int8(self.run_as_it_is(self.input_end.from_int8(features)))

    def run_as_it_is(self, values: NDArray[Any]) -> NDArray[Any]:
        """(n, *input_shape) of the model's own input type -> (n, outputs) of its own output type."""
        with quiet():
            outputs = [self._run_one(x) for x in values]
        return np.stack(outputs) if outputs else self.output_end.from_int8(np.zeros((0, self._outputs), np.int8))

    def _run_one(self, values: NDArray[Any]) -> NDArray[Any]:
        self._interpreter.set_input(np.ascontiguousarray(values[np.newaxis]), 0)
        self._interpreter.invoke()
        output: NDArray[Any] = self._interpreter.get_output(0)
        return output.reshape(-1).copy()


def _interpreter(model: bytes, arena_bytes: int) -> Any:
    try:
        from tflite_micro import runtime
    except ImportError:
        raise MissingToolError("tflite_micro is not installed", hint="pip install tflite-micro") from None
    with quiet():
        try:
            return runtime.Interpreter.from_bytes(model, arena_size=arena_bytes)
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"TensorFlow Lite Micro does not take the model: {error}",
                hint="convert it again; what TensorFlow Lite Micro does not run has no bits to compare with",
            ) from None
