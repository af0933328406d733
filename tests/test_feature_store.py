"""What a search learns from: batches, shifts in time, and features that configurations share."""

from __future__ import annotations

import pytest
import torch

from hil_nas.errors import InputError
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.nas.front_ends.feature_store import Batches, FeatureSet, FeatureStore, shifted
from tests.test_nas_search import GRID


def test_batches_carry_a_rest_over() -> None:
    batches = Batches(5, 2, torch.Generator().manual_seed(0))
    order = [i for _ in range(5) for i in next(batches).tolist()]
    assert sorted(order[:5]) == sorted(order[5:]) == list(range(5))
    with pytest.raises(InputError, match="out of 5"):
        Batches(5, 6, torch.Generator())


def test_a_shift_moves_all_configurations_by_the_same_time() -> None:
    x = [torch.arange(float(c.frames)).expand(1, 1, -1) for c in GRID]
    later = shifted(x, GRID, 0.12)  # 3, 4 and 6 frames
    assert [int((y == 0).sum()) - 1 for y in later] == [3, 4, 6]
    assert all(torch.equal(y[..., k:], z[..., :-k]) for y, z, k in zip(later, x, (3, 4, 6), strict=True))
    earlier = shifted(x, GRID, -0.12)
    assert all(torch.equal(y[..., :-k], z[..., k:]) for y, z, k in zip(earlier, x, (3, 4, 6), strict=True))
    assert all(torch.equal(y, z) for y, z in zip(shifted(x, GRID, 0.0), x, strict=True))


def test_configurations_that_differ_in_coefficients_alone_share_their_features() -> None:
    configs = (Mfcc(640, 640, 20, 3), Mfcc(400, 320, 20, 6), Mfcc(640, 640, 20, 6))
    wide, other = torch.randn(5, 25, 6), torch.randn(5, 49, 6)
    store = FeatureStore(FeatureSet((wide, other), torch.arange(5)), configs, torch.device("cpu"))
    (few, second, many), labels = store.batch(torch.tensor([4, 0]), (0, 1, 2))
    assert labels.tolist() == [4, 0] and few.shape == (3, 2, 25) and second.shape == (6, 2, 49)
    torch.testing.assert_close(few, many[:3])
    standard = (wide - wide.mean((0, 1))) / wide.std((0, 1), correction=0)
    torch.testing.assert_close(many, standard[[4, 0]].permute(2, 0, 1), rtol=2**-11, atol=1e-6)  # rounded to 16 bits
