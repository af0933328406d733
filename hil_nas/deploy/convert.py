"""A trained network as an int8 .tflite: rebuilt in Keras, quantised by TensorFlow Lite's converter.

Of the four ways from PyTorch to int8 that were tried, this alone adds no operator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hil_nas.cost import without_duplicates
from hil_nas.deploy.order import in_network_order
from hil_nas.deploy.quiet import quiet
from hil_nas.deploy.tflite import read_tflite
from hil_nas.errors import InputError, MissingToolError, UnsupportedError
from hil_nas.extras import pip_install
from hil_nas.network import INPUT, Layer, Network, Operator
from hil_nas.operators.table import BY_NAME, layer_rules

LayerWeights = tuple[NDArray[Any] | None, NDArray[Any] | None]


def to_tflite(network: Network, weights: Sequence[LayerWeights | None], representative: NDArray[np.float32]) -> bytes:
    """Converts to int8 with static batch 1, int8 input and output, and the network's order of operators.

    The same arguments give the same bytes. Layers that compute the same twice are merged first, as
    `cost.without_duplicates` does: price that network.

    Args:
        network: its layers must all lead to the output.
        weights: one entry per layer, batch norm folded: (kernel, bias), or None for a layer without any. Kernels
            of conv are (height, width, in, out), of depthwise (height, width, channels, 1), of fully_connected
            (inputs, outputs), the inputs flattened from (height, width, channels) in this order.
        representative: float32 (n, height, width, channels), from which the ranges of all activations are taken.

    Raises:
        InputError: where shapes do not fit the network.
        UnsupportedError: where the converter made an operator that is not lowered.
        MissingToolError: where TensorFlow is not installed.
    """
    _check(network, weights, representative)
    network, kept = without_duplicates(network)
    weights = [weights[i] for i in kept]
    with quiet():
        try:
            import tensorflow as tf
        except ImportError:
            raise MissingToolError("TensorFlow is not installed", hint=pip_install("search")) from None
        model = _convert(tf, _keras_model(tf, network, weights), representative)
    try:
        return in_network_order(model, network, read_tflite(model))
    except UnsupportedError as error:
        raise UnsupportedError(f"the converted network is not lowered: {error.message}", hint=error.hint) from None


def _convert(tf: Any, model: Any, representative: NDArray[np.float32]) -> bytes:
    def samples() -> Any:
        for sample in representative.astype(np.float32):
            yield [sample[np.newaxis]]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    # CMSIS-NN 4.0's fully connected kernel takes one scale for all channels.
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    return bytes(converter.convert())


def _keras_model(tf: Any, network: Network, weights: Sequence[LayerWeights | None]) -> Any:
    """The network with its weights; all names are given, since names counted by Keras differ from call to call."""
    source = tf.keras.Input(network.input_shape, batch_size=1, name="features")
    values = {INPUT: source}
    # a dense layer's vector is a map again where something else than a dense layer or a softmax reads it
    mapped = {i for x in network.layers if x.kind not in ("fully_connected", "softmax") for i in x.inputs}
    for index, (operator, own) in enumerate(zip(network.operators(), weights, strict=True)):
        inputs, name = [values[i] for i in operator.layer.inputs], f"layer_{index:03d}"
        value = _keras_layer(tf, operator, inputs, name, [np.asarray(x, np.float32) for x in own or ()])
        if operator.layer.kind == "fully_connected" and index in mapped:
            value = tf.keras.layers.Reshape(operator.output, name=f"{name}_map")(value)
        values[index] = value
    return tf.keras.Model(source, values[len(network.layers) - 1], name="network")


def _keras_layer(tf: Any, operator: Operator, inputs: list[Any], name: str, own: list[NDArray[np.float32]]) -> Any:
    """Its output; a ReLU is part of a layer with weights, and a layer of its own elsewhere."""
    layers, layer, common = tf.keras.layers, operator.layer, {"name": name}
    if layer.kind == "fully_connected":
        inputs = [layers.Flatten(name=f"{name}_flatten")(inputs[0])]
    if own and layer.dilation != (1, 1):
        result = layers.Lambda(_dilated(tf, layer, *own), name=name)(inputs[0])
    else:
        if own and layer.relu:
            common["activation"] = "relu"
        keras = layer_rules(layer.kind).keras
        assert keras is not None  # as _check has seen
        made = keras(layers, operator, **common)
        result = made(inputs[0] if len(inputs) == 1 else inputs)
        made.set_weights(own)
    return result if not layer.relu or "activation" in common else layers.ReLU(name=f"{name}_relu")(result)


def _dilated(tf: Any, layer: Layer, kernel: NDArray[np.float32], bias: NDArray[np.float32]) -> Callable[[Any], Any]:
    """Keras would write SPACE_TO_BATCH_ND, which the converter removes only where one layer reads it."""
    convolve = tf.raw_ops.Conv2D if layer.kind == "conv" else tf.raw_ops.DepthwiseConv2dNative
    steps = {"strides": [1, *layer.stride, 1], "dilations": [1, *layer.dilation, 1]}
    padding = layer.padding.upper()
    return lambda x: tf.nn.bias_add(convolve(input=x, filter=kernel, padding=padding, **steps), bias)


def _check(network: Network, weights: Sequence[LayerWeights | None], representative: NDArray[np.float32]) -> None:
    """Whether all shapes fit, so that no message of Keras reaches a person."""
    if len(weights) != len(network.layers):
        raise InputError(f"weights for {len(weights)} layers, the network has {len(network.layers)}")
    if representative.ndim != 4 or representative.shape[1:] != network.input_shape or not len(representative):
        raise InputError(f"representative data of {representative.shape}, expected (n, {network.input_shape})")
    if not np.all(np.isfinite(representative)):
        raise InputError("the representative data holds values that are not finite")
    used = {len(network.layers) - 1, *(i for x in network.layers for i in x.inputs)}
    for index, (operator, own) in enumerate(zip(network.operators(), weights, strict=True)):
        where = f"layer {index} ({operator.layer.kind})"
        if index not in used:
            raise InputError(f"{where} is read by no other layer and is not the output")
        if layer_rules(operator.layer.kind).keras is None:
            raise UnsupportedError(
                f"{where} is not converted", hint="convert the network of whole windows, and make its step of that"
            )
        if operator.layer.relu and not layer_rules(operator.layer.kind).fuses_relu:
            fusing = ", ".join(x.name for x in BY_NAME.values() if x.layer and x.layer.fuses_relu)
            raise UnsupportedError(f"{where} has a ReLU, which is fused only into {fusing}")
        _check_weights(where, operator, own)


def _check_weights(where: str, operator: Operator, own: LayerWeights | None) -> None:
    shapes = tuple(None if x is None else np.shape(x) for x in own or (None, None))
    expected: tuple[Any, Any] = (None, None)
    shape = layer_rules(operator.layer.kind).weights_shape(operator)
    if shape:
        kernel = (*shape, 1) if operator.layer.kind == "depthwise" else (*shape[1:], shape[0])
        expected = kernel, (operator.output[2],)
    if shapes != expected:
        raise InputError(f"{where} has a kernel and a bias of shapes {shapes}, expected {expected}")
    if any(x is not None and not np.all(np.isfinite(x)) for x in own or ()):
        raise InputError(f"{where} has weights that are not finite")
