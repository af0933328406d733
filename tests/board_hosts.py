"""The hosts that board tests run on: those that need no hardware, Renode where it is installed."""

from __future__ import annotations

import pytest

KINDS = {
    "native@native": "host",
    "nucleo-l4r5@virtual": "modelled",
    "mps2-an386@qemu": "instructions",
    "nucleo-l4r5@renode": "instructions",
    "nucleo-h743zi@renode": "instructions",
}
TARGETS = [pytest.param(x, marks=pytest.mark.renode if x.endswith("@renode") else ()) for x in KINDS]
