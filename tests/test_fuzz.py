"""The firmware's parser and plan loader under libFuzzer, ASan and UBSan: a short run; `bench_fuzz.py` goes on."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import get_args

import pytest
from fuzz_firmware import Target, build_target, fuzz, missing_tool, seed_corpus

MISSING = missing_tool()
RUNS = {"wire": 4000, "plan": 50_000}
FEATURES = {"wire": 2000, "plan": 900}  # of the inputs that a good host sends it reaches fewer


@pytest.fixture(scope="module")
def elf(boards_dir: Path, build_dir: Path) -> Path:
    if MISSING:
        pytest.skip(MISSING)
    with tempfile.TemporaryDirectory() as scratch:
        return build_target(boards_dir, build_dir, Path(scratch))


@pytest.mark.parametrize("target", get_args(Target))
def test_no_input_makes_the_firmware_fault(elf: Path, target: Target, tmp_path: Path) -> None:
    seed_corpus(target, tmp_path / "corpus")
    done = fuzz(elf, target, tmp_path / "corpus", f"-runs={RUNS[target]}", "-seed=1")
    assert not done.report, done.report
    assert done.executions >= RUNS[target] and done.features > FEATURES[target]


def test_a_check_that_is_missing_is_found(elf: Path, boards_dir: Path, build_dir: Path, tmp_path: Path) -> None:
    """The fuzzer is able to fail: without one bound in the plan loader it writes outside the arena."""
    shutil.copytree(boards_dir, tmp_path / "boards")
    source = tmp_path / "boards" / "src" / "engine" / "plan_check.c"
    bound = "output > 0 && fits(op->output, output, plan->arena_bytes)"
    text = source.read_text()
    assert bound in text
    source.write_text(text.replace(bound, "output > 0"))
    (tmp_path / "scratch").mkdir()
    careless = build_target(tmp_path / "boards", build_dir, tmp_path / "scratch")
    seed_corpus("plan", tmp_path / "corpus")
    done = fuzz(careless, "plan", tmp_path / "corpus", "-runs=200000", "-seed=1")
    assert "AddressSanitizer" in done.report


def test_what_a_good_host_sends_is_no_fault_by_itself(elf: Path, tmp_path: Path) -> None:
    for target in get_args(Target):
        seed_corpus(target, tmp_path / target)
        assert not fuzz(elf, target, tmp_path / target, "-runs=0").report
