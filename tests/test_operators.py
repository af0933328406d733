"""The table of operators against all that knows an operator by its name: C sources, the wire, torch modules."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

import pytest
from deploy_harness import Engine, build_engine, random_network
from every_operator import every_operator
from tflite_maker import Maker

from hil_nas.deploy.lower import lower
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite import read_tflite
from hil_nas.device.run_counts import KINDS
from hil_nas.errors import InputError
from hil_nas.kernels import LISTS
from hil_nas.network import INPUT, Layer, Network
from hil_nas.operators.table import BY_CODE, BY_NAME, PLAN_CODES
from hil_nas.training.network_module import MODULES


def declared_in(boards_dir: Path, pattern: str) -> list[tuple[str, str]]:
    """What a pattern of two groups finds in the device's sources."""
    sources = sorted(x for x in boards_dir.rglob("*") if x.suffix in (".c", ".cc", ".h"))
    return list(chain.from_iterable(re.findall(pattern, x.read_text()) for x in sources))


def test_no_two_operators_share_a_name_or_a_code() -> None:
    assert len(BY_CODE) == sum(len(x.codes) for x in BY_NAME.values())
    kinds = {x.plan for x in BY_NAME.values() if x.plan}
    assert len({x.code for x in kinds}) == len({x.name for x in kinds}) == len(kinds) == len(PLAN_CODES)


def test_plan_codes_are_those_of_the_device(boards_dir: Path) -> None:
    assert {k: int(v) for k, v in declared_in(boards_dir, r"\bKIND\([A-Z_]+, (\w+), (\d+)\)")} == PLAN_CODES


def test_lists_of_kernels_are_those_of_the_device(boards_dir: Path) -> None:
    """A product is linked with kernels by these names; each stands in a file of its list's folder."""
    for kernels in LISTS:
        names = declared_in(boards_dir / "src" / "kernels" / kernels.name, r"const (struct kernel) (\w+) = \{")
        assert {name for _, name in names} == {f"{kernels.name}_{x}" for x in kernels.kernels}


def test_the_largest_shifts_are_those_of_the_device(boards_dir: Path) -> None:
    there = {k.lower(): int(v) for k, v in declared_in(boards_dir, r"\b([A-Z]+)_MOST_SHIFT = (\d+)")}
    here = {x.plan.name: x.plan.most_left_shift for x in BY_NAME.values() if x.plan}
    assert there and there == {k: v for k, v in here.items() if 0 < v < 31}


def padded() -> bytes:
    maker = Maker()
    source, last = maker.tensor((1, 4, 3, 2), 0.1, 5), maker.tensor((1, 5, 3, 2), 0.1, 5)
    maker.operator("PAD", [source, maker.constant([[0, 0], [1, 0], [0, 0], [0, 0]])], last, "PadOptions")
    return maker.finish(source, last)


def test_the_engine_names_what_a_plan_names(boards_dir: Path, build_dir: Path, tmp_path: Path) -> None:
    engine: Engine = build_engine(tmp_path, boards_dir, build_dir)
    graphs = [read_tflite(every_operator(9, 7, 12)), read_tflite(padded())]
    graphs += [random_graph(random_network(seed), seed) for seed in range(20)]
    graphs.append(random_graph(Network((2, 1, 3), (Layer("delay", (INPUT,), shape=(5, 1, 3)),)), 0))
    seen = set()
    for plan in map(lower, graphs):
        kinds = [x.kind for x in plan.operators]
        assert engine.names(plan.to_bytes(), plan.arena_bytes) == kinds
        seen |= set(kinds)
    assert seen == set(PLAN_CODES)


def test_the_engine_tflm_runs_what_is_read_and_names_it_so(boards_dir: Path) -> None:
    names = dict(declared_in(boards_dir, r'\{tflite::BuiltinOperator_(\w+), "(\w+)"'))
    assert set(names) == {*BY_CODE, "SHAPE", "PACK"}
    assert set(names.values()) <= KINDS
    for code, name in names.items():
        assert name == code.lower() or name == BY_CODE[code].name


def test_what_networks_have_trains() -> None:
    """A network that takes one step of a stream is made of one that was trained."""
    assert set(MODULES) == {x.name for x in BY_NAME.values() if x.layer} - {"delay"}


@pytest.mark.parametrize("kind", ["sub", "lookup", "dense"])
def test_a_network_has_no_other_layers(kind: str) -> None:
    with pytest.raises(InputError, match=f"layer 0: '{kind}' is no kind of layer, expected one of conv,"):
        Network((4, 4, 1), (Layer(kind, (INPUT,)),))
