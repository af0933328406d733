"""The dominant eigenvalue against exact Hessians, and the stop that it calls for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hil_nas.mfcc import MfccConfig
from hil_nas.nas.curvature import EarlyStop, dominant_eigenvalue
from hil_nas.nas.darts.space import DartsSpace
from hil_nas.nas.darts.supernet import DartsSupernet


@pytest.mark.parametrize("spectrum", [(5.0, 2.0, 1.0, 0.1), (-6.0, 3.0, 1.0, 0.5), (0.0, 0.0, 0.0, 0.0)])
def test_it_is_that_of_a_known_matrix(spectrum: tuple[float, ...]) -> None:
    random = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=random, dtype=torch.float64))[0]
    matrix = turn @ torch.diag(torch.tensor(spectrum, dtype=torch.float64)) @ turn.T
    alphas = [nn.Parameter(torch.randn(x, generator=random, dtype=torch.float64)) for x in ((3,), (1,))]

    def loss() -> Tensor:
        x = torch.cat([*alphas])
        return x @ matrix @ x / 2

    assert dominant_eigenvalue(loss, alphas, random, products=60) == pytest.approx(spectrum[0], rel=1e-6, abs=1e-12)


def test_it_is_that_of_a_supernets_own_hessian() -> None:
    """By the gradient's own differences along each alpha."""
    space = DartsSpace((MfccConfig(640, 1600, 40, 4),), classes=3, cells=3, nodes=2, channels=4)
    net = DartsSupernet(space, torch.Generator().manual_seed(0)).double()
    random = torch.Generator().manual_seed(1)
    x, labels = torch.randn(1, 6, 4, 10, generator=random, dtype=torch.float64), torch.arange(6) % 3
    beta = net.architecture.beta

    def loss() -> Tensor:
        return nn.functional.cross_entropy(net(x, net.architecture.mixture()), labels)

    rows, eps = [], 1e-5
    for place in range(beta.numel()):
        sides = []
        for sign in (1.0, -1.0):
            with torch.no_grad():
                beta.view(-1)[place] += sign * eps
            sides.append(torch.autograd.grad(loss(), beta)[0].flatten())
            with torch.no_grad():
                beta.view(-1)[place] -= sign * eps
        rows.append((sides[0] - sides[1]) / (2 * eps))
    hessian = torch.stack(rows)
    values = torch.linalg.eigvalsh((hessian + hessian.T) / 2)
    exact = float(values[values.abs().argmax()])
    assert dominant_eigenvalue(loss, [beta], random, products=60) == pytest.approx(exact, rel=0.01)


def test_a_rise_stops_and_gives_back_what_was_before_it() -> None:
    stop = EarlyStop(rise=1.3)
    values = [1.0, 1.1, 0.9, 1.0, 1.1, 1.0, 1.6, 2.0]
    found = []
    for epoch, value in enumerate(values):
        found.append(stop.look(value, {"alpha": torch.tensor(float(epoch))}))
        again = EarlyStop(rise=1.3)  # as after a resume
        again.load_state_dict(stop.state_dict())
        stop = again
    assert found[:7] == [None] * 7
    # the mean of epochs 5 to 7 against that of epochs 2 to 4: 1.53 times
    assert found[7] is not None and found[7]["alpha"] == 4.0


def test_a_falling_or_negative_curvature_stops_nothing() -> None:
    stop = EarlyStop(rise=1.3)
    assert all(stop.look(x, {}) is None for x in (3.0, 2.0, 1.0, 0.5, 0.3, 0.2, -1.0, -2.0, -5.0))
