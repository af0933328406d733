"""Made-up measurements of front ends."""

from __future__ import annotations

from hil_nas.front_ends import FrontEnd
from hil_nas.latency.measurements import FrontEndRow


def front_end_row(config: FrontEnd, cycles: int) -> FrontEndRow:
    """So many cycles, spread evenly over the stages."""
    share, rest = divmod(cycles, len(config.stages))
    stages = tuple((name, share + (rest if index == 0 else 0)) for index, name in enumerate(config.stages))
    return FrontEndRow(config, (cycles,), stages)
