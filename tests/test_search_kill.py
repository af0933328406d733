"""A search killed with SIGKILL at random moments ends with the bits of one that was left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kill_search import FEWEST_KILLS

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("space", ["tiny", "darts"])
def test_killed_at_any_moment_it_ends_in_the_same_bits(space: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.kill_search", space, str(tmp_path), "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=600)
    printed = json.loads(done.stdout)
    assert printed["same_result"] and printed["same_weights"] and printed["epochs"] == 8
    assert printed["kills"] >= FEWEST_KILLS
