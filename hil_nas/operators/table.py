"""All operators, by their names and by those of a .tflite.

An operator stands whole in one module of this package. What else knows it by its name: its C in boards/, its kernels in
the latency model, and, where searches build it, its torch module in `training`; tests hold all of them to this table.
"""

from __future__ import annotations

from hil_nas.errors import InputError
from hil_nas.operators import convolution, delay, functions, moving, pairs, pooling, reductions, softmax
from hil_nas.operators.description import LayerRules, OperatorType

_FAMILIES = (convolution, pooling, reductions, pairs, moving, delay, softmax, functions)
BY_NAME: dict[str, OperatorType] = {x.name: x for family in _FAMILIES for x in family.OPERATORS}
BY_CODE = {code: x for x in BY_NAME.values() for code in x.codes}
PLAN_CODES = {x.plan.name: x.plan.code for x in BY_NAME.values() if x.plan}


def layer_rules(kind: str) -> LayerRules:
    """What a network's layer of this kind is.

    Raises:
        InputError: for a kind that networks do not have.
    """
    rules = BY_NAME[kind].layer if kind in BY_NAME else None
    if rules is None:
        known = ", ".join(x.name for x in BY_NAME.values() if x.layer)
        raise InputError(f"'{kind}' is no kind of layer, expected one of {known}")
    return rules


def runs(kind: str) -> bool:
    """Whether the device runs anything: a reshape is a second name for the same bytes."""
    return BY_NAME[kind].plan is not None


def keeps(kind: str) -> bool:
    """Whether what the operator gives is kept until the next inference, which goes on from it."""
    return kind == delay.DELAY.name
