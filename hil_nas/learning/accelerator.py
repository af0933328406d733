"""Where supernets and networks are trained."""

from __future__ import annotations

import torch


def accelerator() -> torch.device:
    """A GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
