"""The second-order gradient against exact ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hil_nas.mfcc import MfccConfig
from hil_nas.nas.bilevel import first_order, second_order
from hil_nas.nas.darts.space import DartsSpace
from hil_nas.nas.darts.supernet import DartsSupernet

RATE = 0.3


def toy(seed: int) -> tuple[list[nn.Parameter], list[nn.Parameter], Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    shapes = ((4, 3), (3,), (3,))
    w1, w2, alpha = (nn.Parameter(torch.randn(x, generator=random, dtype=torch.float64)) for x in shapes)
    data = torch.randn(2, 6, 4, generator=random, dtype=torch.float64)
    return [w1, w2], [alpha], data[0], data[1]


def loss_of(weights: list[Tensor], alphas: list[Tensor], x: Tensor) -> Tensor:
    """Neither quadratic nor separable."""
    hidden = torch.tanh(x @ weights[0]) * torch.softmax(alphas[0], 0)
    return ((hidden @ weights[1] - x[:, 0]) ** 2).mean() + 0.1 * (alphas[0] * weights[1]).sum().sin()


def exact(weights: list[nn.Parameter], alphas: list[nn.Parameter], train: Tensor, validation: Tensor) -> Tensor:
    """Through the step itself."""
    slopes = torch.autograd.grad(loss_of([*weights], [*alphas], train), weights, create_graph=True)
    moved = [w - RATE * s for w, s in zip(weights, slopes, strict=True)]
    return torch.autograd.grad(loss_of(moved, [*alphas], validation), alphas)[0]


@pytest.mark.parametrize("seed", range(5))
def test_the_gradient_is_the_one_through_the_step(seed: int) -> None:
    weights, alphas, train, validation = toy(seed)
    before = [x.detach().clone() for x in weights]
    expected = exact(weights, alphas, train, validation)
    found, loss = second_order(
        weights, alphas, lambda: loss_of([*weights], [*alphas], train),
        lambda: loss_of([*weights], [*alphas], validation), RATE,
    )  # fmt: skip
    torch.testing.assert_close(found[0], expected, rtol=1e-3, atol=1e-5)
    plain = first_order(alphas, loss_of([*weights], [*alphas], validation))[0]
    assert (plain - expected).norm() > 20 * (found[0] - expected).norm()
    assert all(torch.equal(a, b) for a, b in zip(weights, before, strict=True))
    slopes = torch.autograd.grad(loss_of([*weights], [*alphas], train), weights)
    moved = [w - RATE * s for w, s in zip(weights, slopes, strict=True)]
    assert float(loss) == pytest.approx(float(loss_of(moved, [*alphas], validation).detach()))


def test_a_quadratic_problem_by_hand() -> None:
    """L_train = (w - 2a)^2 / 2, L_val = (w - 1)^2 / 2: w' = w - r (w - 2a), dL_val/da = (w' - 1) * 2r."""
    w, a = (nn.Parameter(torch.tensor([x], dtype=torch.float64)) for x in (3.0, 0.5))
    found, loss = second_order(
        [w], [a], lambda: ((w - 2 * a) ** 2).sum() / 2, lambda: ((w - 1) ** 2).sum() / 2, 0.25
    )  # fmt: skip
    # w' = 3 - 0.25 * 2 = 2.5
    assert found[0].item() == pytest.approx(1.5 * 2 * 0.25)
    assert loss.item() == pytest.approx(1.5**2 / 2)
    assert first_order([a], ((w - 1) ** 2).sum() / 2)[0].item() == 0.0


def test_weights_return_even_where_a_loss_fails() -> None:
    weights, alphas, train, _ = toy(0)
    before = [x.detach().clone() for x in weights]

    def failing() -> Tensor:
        raise RuntimeError("no data")

    with pytest.raises(RuntimeError):
        second_order(weights, alphas, lambda: loss_of([*weights], [*alphas], train), failing, RATE)
    assert all(torch.equal(a, b) for a, b in zip(weights, before, strict=True))


def test_a_validation_loss_at_rest_needs_no_difference() -> None:
    w, a = (nn.Parameter(torch.tensor([x], dtype=torch.float64)) for x in (1.0, 0.5))
    found, _ = second_order([w], [a], lambda: (w * a).sum() * 0, lambda: ((w - 1) ** 2 + a).sum(), 0.1)
    assert found[0].item() == 1.0


def test_a_supernets_second_order_gradient_is_near_the_exact_one() -> None:
    """A long step in the weights would cross bends of ReLUs and pools, and miss by more than the whole correction."""
    space = DartsSpace((MfccConfig(640, 320, 40, 4),), classes=3, cells=3, nodes=2, channels=4)
    net = DartsSupernet(space, torch.Generator().manual_seed(0)).double()
    random = torch.Generator().manual_seed(1)
    train, validation = torch.randn(2, 1, 8, 4, 49, generator=random, dtype=torch.float64)
    labels = torch.arange(8) % 3
    weights = {k: v for k, v in net.weight_parameters().items() if v.requires_grad}
    alphas = [net.architecture.alpha, net.architecture.beta]

    def loss(x: Tensor, values: dict[str, Tensor] | None = None) -> Tensor:
        arguments = (x, net.architecture.mixture())
        logits = torch.func.functional_call(net, values, arguments) if values else net(*arguments)
        return nn.functional.cross_entropy(logits, labels)

    rate = 0.05
    slopes = torch.autograd.grad(loss(train), list(weights.values()), create_graph=True)
    moved = {k: w - rate * s for (k, w), s in zip(weights.items(), slopes, strict=True)}
    expected = torch.autograd.grad(loss(validation, moved), alphas)
    moved = {k: w.detach() for k, w in moved.items()}
    found, _ = second_order(list(weights.values()), alphas, lambda: loss(train), lambda: loss(validation), rate)
    behind = torch.autograd.grad(loss(validation, moved), alphas)  # at w', as if it did not answer to alpha
    for one, other, direct in zip(found, expected, behind, strict=True):
        assert (one - other).norm() < 0.2 * (direct - other).norm()
