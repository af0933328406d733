"""`python tests/bench_faults.py [FAULTS [SEED]]`: 10,000 faults on the real firmware, and what came of them."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from fault_campaign import BOUND_S, Campaign
from lockstep_firmware import build_lockstep

ROOT = Path(__file__).resolve().parent.parent


def main(faults: int = 10_000, seed: int = 1) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        firmware = build_lockstep(ROOT / "boards", ROOT / "build", Path(scratch))
    campaign = Campaign(firmware.elf, firmware.build_id, seed)
    begin_s = time.monotonic()
    try:
        campaign.run(faults)
    finally:
        campaign.close()
    print("\n".join(campaign.lines()))
    print(f"\n{campaign.injected} faults (a job that several struck counts once above), seed {seed}; no wrong value,")
    print(f"each job over within {campaign.worst_s:.0f} s of the line's time (bound {BOUND_S:.0f} s), and the board")
    print(f"usable after each. {time.monotonic() - begin_s:.0f} s of this machine's time.")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
