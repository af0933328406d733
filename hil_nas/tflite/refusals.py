"""What to do about a model that is not run, in the words of those who make models; and files that are none."""

from __future__ import annotations

from hil_nas.errors import InputError
from hil_nas.tflite import schema

HINT_INT8 = (
    "convert it again with optimizations=[tf.lite.Optimize.DEFAULT], a representative_dataset and"
    " target_spec.supported_ops=[tf.lite.OpsSet.TFLITE_BUILTINS_INT8]"
)
HINT_BATCH = "convert it again with a batch of 1: keras.Input(shape, batch_size=1)"
_HINT_DILATION = f"which TensorFlow Lite Micro computes wrongly without a batch size: {HINT_BATCH}"
HINT_STATE = (
    "keep state as streaming layers do: concat([state, new], 1), of which the last rows are assigned to state again; or"
    " export the model that takes a whole clip at once"
)
HINT_RECURRENT = "use convolutions over time in place of recurrent layers"
_HINT_FUNCTION = "use relu, relu6, leaky_relu, hard_swish, sigmoid or tanh"
_BEGINNINGS = (  # of files that people name in place of a .tflite
    (b"\x89HDF", "a Keras model in HDF5", "convert it: tf.lite.TFLiteConverter.from_keras_model(...)"),
    (b"PK\x03\x04", "a zip archive, as a .keras file is", "convert it: tf.lite.TFLiteConverter.from_keras_model(...)"),
    (b"<", "a page of the web", "download the file itself, not the page that shows it"),
)
_REMEDIES = {  # of operators that Keras code often ends in
    **dict.fromkeys(("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"), f"it belongs to a dilation, {_HINT_DILATION}"),
    **dict.fromkeys(("GATHER", "REDUCE_PROD", "FILL", "BROADCAST_ARGS", "BROADCAST_TO"), HINT_BATCH),
    **dict.fromkeys(("ELU", "GELU", "EXP", "RELU_N1_TO_1", "RELU_0_TO_1"), _HINT_FUNCTION),
    **dict.fromkeys(("UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN", "LSTM", "RNN"), HINT_RECURRENT),
    "UNPACK": f"{HINT_RECURRENT}, and slices in place of unstack",
    "PRELU": "use LeakyReLU, whose slope is one number",
    "BATCH_MATMUL": "use convolutions in place of attention",
    "SVDF": HINT_STATE,
    "ARG_MAX": "leave it out: the largest output is found on the host",
    "TRANSPOSE_CONV": "use Conv2D",
    "NEG": "use LeakyReLU or ReLU with no slope of its own, and BatchNormalization in place of LayerNormalization",
    "SQUARED_DIFFERENCE": "use BatchNormalization in place of LayerNormalization",
    "RSQRT": "use BatchNormalization in place of LayerNormalization",
    "PACK": "apply Dense to (time, features) as it is, without TimeDistributed",
    "TILE": "use Conv2D at the larger size in place of UpSampling",
    **dict.fromkeys(("GREATER", "SELECT", "SELECT_V2"), _HINT_FUNCTION),
}  # fmt: skip


def check_bytes(data: bytes) -> None:
    """Refuses what is no .tflite, by its first bytes.

    Raises:
        InputError: naming what it is.
    """
    if data[4:8] == schema.IDENTIFIER:
        return
    if data.startswith(b"version https://git-lfs"):
        raise InputError("this is a git-LFS pointer, not the model itself", hint="run `git lfs pull` beside it")
    for beginning, what, hint in _BEGINNINGS:
        if data.startswith(beginning):
            raise InputError(f"this is {what}, not a .tflite", hint=hint)
    raise InputError(
        f"these {len(data)} bytes are no .tflite: they begin with {data[:8]!r}, not with TFL3 at the fifth",
        hint="name the file that tf.lite.TFLiteConverter wrote",
    )


def remedy(code: str) -> str | None:
    """What to use in place of an operator, where that is known."""
    return _REMEDIES.get(code)
