"""Fixed-point arithmetic of TensorFlow Lite's reference kernels on whole numbers, for what the host computes once.

A value "of k integer bits" is a number times 2**(31 - k). Sources: gemmlowp/fixedpoint/fixedpoint.h,
tensorflow/lite/kernels/internal/common.cc (MultiplyByQuantizedMultiplier, which rounds twice).
"""

from __future__ import annotations

from hil_nas.operators.requantize import Multiplier

_ONE = (1 << 31) - 1  # of no integer bits: the largest value there is
_EXP_OF_MINUS = (  # exp(-2**i) from i = -2 on, of no integer bits
    1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242,
)  # fmt: skip


def multiplied(value: int, by: Multiplier) -> int:
    """A 32-bit value times a real factor."""
    return rounded_shift(high_product(_wrapped(value << max(by.shift, 0)), by.multiplier), max(-by.shift, 0))


def high_product(one: int, other: int, bits: int = 31) -> int:
    """The upper half of twice the product, halves up; what overflows saturates."""
    return min((one * other + (1 << (bits - 1))) >> bits, (1 << bits) - 1)


def rounded_shift(value: int, by: int) -> int:
    """Division by a power of two, halves away from zero."""
    return (value + ((1 << by) >> 1) - (value < 0 < by)) >> by


def saturated(value: int, bits: int = 32) -> int:
    """The nearest value of a signed word."""
    return max(-(1 << (bits - 1)), min(value, (1 << (bits - 1)) - 1))


def logistic(value: int, integer_bits: int) -> int:
    """1 / (1 + exp(-x)), of no integer bits."""
    if value == 0:
        return 1 << 30
    positive = saturated(_reciprocal(_exp_of_negative(-abs(value), integer_bits)) << 1)
    return positive if value > 0 else _ONE - positive


def tanh(value: int, integer_bits: int) -> int:
    """tanh(x), of no integer bits."""
    if value == 0:
        return 0
    # (1 - e) / (1 + e) = 2 / (1 + e) - 1; e = exp(-2 x): the same number of one integer bit more
    size = saturated((_reciprocal(_exp_of_negative(-abs(value), integer_bits + 1)) - (1 << 29)) << 2)
    return size if value > 0 else -size


def _exp_of_negative(value: int, integer_bits: int) -> int:
    """exp(x) for x <= 0, of no integer bits."""
    if value == 0:
        return _ONE
    quarter = 1 << (29 - integer_bits)
    part = (value & (quarter - 1)) - quarter  # in [-1/4, 0)
    result, rest = _exp_of_part(saturated(part << integer_bits)), part - value
    for index, factor in enumerate(_EXP_OF_MINUS[: integer_bits + 2]):
        if rest & (quarter << index):
            result = high_product(result, factor)
    return result


def _exp_of_part(value: int) -> int:
    """exp(x) for x in [-1/4, 0), of no integer bits: a Taylor series of four terms around -1/8."""
    x = value + (1 << 28)
    square = high_product(x, x)
    cube, fourth = high_product(square, x), high_product(square, square)
    above = rounded_shift(high_product(rounded_shift(fourth, 2) + cube, 715827883) + square, 1)  # 1/3
    return 1895147668 + high_product(1895147668, x + above)  # exp(-1/8)


def _reciprocal(value: int) -> int:
    """2 / (1 + x) for x in [0, 1] of no integer bits, by Newton and Raphson; the result has two."""
    half_sum = (value + _ONE + 1) >> 1
    x = 1515870810 + high_product(half_sum, -1010580540)  # 48/17 and 32/17
    for _ in range(3):
        error = (1 << 29) - high_product(half_sum, x)
        x += saturated(high_product(x, error) << 2)
    return x


def _wrapped(value: int) -> int:
    """The value that a signed word of 32 bits keeps of it."""
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)
