"""The architecture, held by reading the imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "hil_nas"
LAYERS = {
    "errors": 0, "units": 0, "progress": 0, "files": 0, "holds": 0, "folders": 0, "extras": 0,
    "values": 0, "target": 0, "words": 0, "options": 0, "compiling": 0, "notebook": 0,
    "network": 1, "operators": 1, "tflite": 1, "front_ends": 1, "budget": 1, "config": 1, "baselines": 1,
    "streaming": 1,
    "kernels": 2, "cost": 2, "audio": 2, "learning": 2,
    "latency": 3, "nas": 3, "deploy": 3, "device": 3,
    "training": 4, "runs": 4, "listening": 4,
    "candidates": 5, "tracking": 5,
    "workflows": 6,
    "report": 7, "cli": 7, "api": 7,
}  # fmt: skip
MAY_IMPORT = {
    "torch": {"front_ends", "audio", "learning", "nas", "deploy", "training", "candidates"},
    "sklearn": {"latency"},
    "serial": {"device"},
    "unicorn": {"device"},
    "capstone": {"device"},
    "tensorflow": {"deploy", "tracking"},
    "mlflow": {"tracking"},
    "rich": {"cli"},
    "jinja2": {"report"},
    "ray": {"workflows"},
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(tree: ast.AST) -> list[str]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [x.name for x in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names += [f"{node.module}.{x.name}" for x in node.names]
    return names


@pytest.mark.parametrize("module", MODULES, ids=lambda x: str(x.relative_to(PACKAGE)))
def test_imports_point_downwards(module: Path) -> None:
    part = part_of(module)
    if part == "__init__":
        return
    for name in imports_of(ast.parse(module.read_text())):
        top, *rest = name.split(".")
        if top == "hil_nas" and rest and rest[0] != part:
            other = rest[0]
            assert LAYERS[other] <= LAYERS[part], f"{part} imports {other}, which lies above it"
            assert not LAYERS[other] == LAYERS[part] == 3, f"{part} imports {other}: layer 3 stands apart"
        if top in MAY_IMPORT:
            assert part in MAY_IMPORT[top], f"{part} imports {top}"


@pytest.mark.parametrize("module", MODULES, ids=lambda x: str(x.relative_to(PACKAGE)))
def test_library_is_quiet_and_finds_nothing_by_its_own_place(module: Path) -> None:
    tree = ast.parse(module.read_text())
    names = {x.id for x in ast.walk(tree) if isinstance(x, ast.Name)}
    assert "__file__" not in names
    if part_of(module) == "cli":
        return
    called = {x.func.id for x in ast.walk(tree) if isinstance(x, ast.Call) and isinstance(x.func, ast.Name)}
    assert not called & {"print", "exit", "quit"}
    assert "sys.exit" not in imports_of(tree)
    attributes = {x.attr for x in ast.walk(tree) if isinstance(x, ast.Attribute)}
    assert "exit" not in attributes


@pytest.mark.parametrize("command", ["profile", "verify"])
def test_lab_commands_need_no_torch(command: str) -> None:
    """A lab machine with a board attached stays small."""
    reached: set[Path] = set()
    pending = [PACKAGE / "workflows" / f"{command}.py"]
    while pending:
        module = pending.pop()
        if module in reached or not module.is_file():
            continue
        reached.add(module)
        for node in ast.parse(module.read_text()).body:  # top level: what importing costs
            for name in imports_of(node) if isinstance(node, ast.Import | ast.ImportFrom) else []:
                assert name.split(".")[0] not in ("torch", "tensorflow"), f"{module} imports {name}"
                parts = name.split(".")
                if parts[0] == "hil_nas":
                    base = PACKAGE.joinpath(*parts[1:])
                    pending += [base.with_suffix(".py"), base.parent.with_suffix(".py"), base / "__init__.py"]
    assert len(reached) > 5
