"""A GPU that is not there: torch's `meta` device, whose tensors have shapes and no values, watched so that what a GPU
would refuse is refused here."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

DEVICE = torch.device("meta")
_ATEN = torch.ops.aten
_CROSSING = (
    _ATEN.copy_.default, _ATEN._to_copy.default,
    _ATEN.index.Tensor, _ATEN.index_put_.default, _ATEN._index_put_impl_.default,  # indices may lie on the CPU
)  # fmt: skip
_ONLY_ON_A_GPU = (  # CUDA has them, `meta` has not
    _ATEN.fake_quantize_per_channel_affine_cachemask.default,
    _ATEN.fake_quantize_per_tensor_affine_cachemask.default,
)


class AbsentGpu(TorchDispatchMode):
    """Raises where one operation reads tensors of two places, as CUDA does; single numbers of the CPU may join.

    Args:
        number: what every float is that is read back; a whole number is 0.
    """

    def __init__(self, number: float = 1.0) -> None:
        super().__init__()
        self.number, self.operations = number, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [x for x in tree_iter((args, kwargs)) if isinstance(x, Tensor)]
        there = [x for x in tensors if x.device == DEVICE]
        if there:
            self.operations += 1
            value = self.number if there[0].is_floating_point() else 0
            if func is _ATEN._local_scalar_dense.default:
                return value
            if func is _ATEN._to_copy.default and kwargs.get("device", DEVICE) != DEVICE:
                return torch.full(there[0].shape, value, dtype=kwargs.get("dtype") or there[0].dtype)
            if func not in _CROSSING and any(x.device != DEVICE and x.ndim for x in tensors):
                devices = [(str(x.device), tuple(x.shape)) for x in tensors]
                raise AssertionError(f"{func} reads tensors of two places: {devices}")
            if func in _ONLY_ON_A_GPU:
                return torch.empty_like(args[0]), torch.empty_like(args[0], dtype=torch.bool)
        return func(*args, **kwargs)
