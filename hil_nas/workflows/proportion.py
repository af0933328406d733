"""How far a share that was counted can be from the true one."""

from __future__ import annotations

from math import sqrt

_Z95 = 1.959963984540054  # of the normal distribution, 2.5 % beyond it


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """Wilson's score interval with 95 % confidence (JASA 22, 1927, pp. 209-212): (low, high), within 0 to 1.

    Nothing is known where nothing was tried: (0, 1).
    """
    if trials == 0:
        return 0.0, 1.0
    share, z2 = hits / trials, _Z95**2
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z95 * sqrt(share * (1 - share) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    return max(0.0, middle - half), min(1.0, middle + half)
