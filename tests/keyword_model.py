"""A model of the shape of MLPerf Tiny's for keyword spotting, made here: its own file does not come with this project.

The layers are those of mlcommons/tiny's benchmark/training/keyword_spotting/keras_model.py (`ds_cnn`) without dropout,
which does nothing in inference; weights and representative data are random. What makes the .tflite is TensorFlow alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hil_nas.deploy.tflite import read_tflite

SHAPE = (49, 10, 1)
CLASSES, FILTERS, BLOCKS = 12, 64, 4
SPREAD = 2.5  # standard deviation of the logits, so that answers differ


def make_model(seed: int = 6) -> bytes:
    """The int8 .tflite; the same bytes for the same seed and TensorFlow."""
    import tensorflow as tf

    random = np.random.default_rng(seed)
    clips = _features(random, 100)
    model = _with_random_weights(_layers(tf), random)
    _spread_logits(tf, model, clips)

    def representative() -> Any:
        for clip in clips:
            yield [clip[np.newaxis]]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    # as in MLPerf's file, which a converter made that had no other way yet
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    return bytes(converter.convert())


def quantised_clips(model: bytes, count: int, seed: int) -> NDArray[np.int8]:
    """Features as the model was made for, in its own int8: (count, 49, 10, 1)."""
    graph = read_tflite(model)
    source = graph.tensors[graph.input]
    steps = np.round(_features(np.random.default_rng(seed), count) / source.scale) + source.zero_point
    return np.clip(steps, -128, 127).astype(np.int8)


def _features(random: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Float (count, 49, 10, 1) that change slowly over time as MFCC do, the first coefficient far from 0."""
    steps = random.normal(0.0, 1.0, (count, *SHAPE)).cumsum(axis=1)
    scale = np.array([12.0, *(6.0 / np.sqrt(np.arange(1, SHAPE[1])))])[:, np.newaxis]
    offset = np.array([-30.0, *(0.0 for _ in range(1, SHAPE[1]))])[:, np.newaxis]
    return (steps / 3.0 * scale + offset).astype(np.float32)


def _layers(tf: Any) -> Any:
    layers = tf.keras.layers
    source = tf.keras.Input(SHAPE, batch_size=1, name="features")

    def settled(value: Any) -> Any:
        return layers.ReLU()(layers.BatchNormalization()(value))

    value = settled(layers.Conv2D(FILTERS, (10, 4), (2, 2), padding="same")(source))
    for _ in range(BLOCKS):
        value = settled(layers.DepthwiseConv2D((3, 3), padding="same")(value))
        value = settled(layers.Conv2D(FILTERS, (1, 1), padding="same")(value))
    value = layers.Flatten()(layers.AveragePooling2D(value.shape[1:3])(value))
    return tf.keras.Model(source, layers.Dense(CLASSES, activation="softmax")(value))


def _with_random_weights(model: Any, random: np.random.Generator) -> Any:
    """Kernels as large as He et al. draw them; batch norm as a training might leave it."""
    for layer in model.layers:
        shapes = [x.shape for x in layer.get_weights()]
        if len(shapes) == 4:  # batch norm: gamma, beta, mean, variance
            gamma, beta, mean, variance = shapes
            layer.set_weights([
                random.uniform(0.7, 1.3, gamma), random.normal(0.0, 0.3, beta), random.normal(0.0, 0.3, mean),
                random.uniform(0.6, 1.4, variance),
            ])  # fmt: skip
        elif shapes:
            kernel, bias = shapes
            inputs = np.prod(kernel[:2]) if "depthwise" in layer.name else np.prod(kernel[:-1])
            layer.set_weights([random.normal(0.0, (2.0 / inputs) ** 0.5, kernel), random.normal(0.0, 0.1, bias)])
    return model


def _spread_logits(tf: Any, model: Any, clips: NDArray[np.float32]) -> None:
    """Random kernels answer nearly the same to every clip: the last ones are scaled until the answers lie apart."""
    dense = model.layers[-1]
    pooled = tf.keras.Model(model.input, dense.input)(clips).numpy()  # (clips, filters)
    kernel, _ = dense.get_weights()
    kernel = kernel / (pooled @ kernel).std(axis=0) * SPREAD
    dense.set_weights([kernel, -(pooled @ kernel).mean(axis=0)])
