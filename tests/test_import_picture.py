"""The picture of the code is what the imports give, and can be read."""

from __future__ import annotations

import re

import pytest

from tests.import_picture import CONTRIBUTING, package_imports, parts, picture, reduced
from tests.test_layers import LAYERS, PACKAGE


def test_the_picture_is_what_the_imports_give() -> None:
    _, drawn, behind = parts(CONTRIBUTING.read_text(encoding="utf-8"))
    assert behind and drawn == picture(), "run: python -m tests.import_picture"


def test_every_package_is_in_it_and_arrows_point_downwards() -> None:
    drawn = picture()
    nodes = set(re.findall(r"^    (\w+)\[", drawn, flags=re.M))
    assert {x.parent.name for x in PACKAGE.glob("*/__init__.py")} <= nodes
    arrows = re.findall(r"^    (\w+) --> (\w+)$", drawn, flags=re.M)
    assert arrows and all(LAYERS[x] >= LAYERS[y] for x, y in arrows)
    imports = package_imports()
    assert all(y in imports[x] for x, y in arrows)
    assert len(arrows) < sum(len(x - {"base"}) for x in imports.values())  # reduced


def test_what_longer_ways_make_plain_is_left_out() -> None:
    edges = {"a": {"b", "c", "d"}, "b": {"c"}, "c": {"d"}, "d": set()}
    assert reduced(edges) == {"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": set()}
    with pytest.raises(ValueError, match="circle: a, b"):
        reduced({"a": {"b"}, "b": {"a"}, "c": {"a"}})


def test_every_path_that_the_page_names_is_there() -> None:
    text = CONTRIBUTING.read_text(encoding="utf-8")
    named = re.findall(r"`((?:hil_nas|tests|boards|\.ci)/[\w./-]*)`", text)
    missing = [x for x in named if not (PACKAGE.parent / x).exists()]
    assert len(named) > 20 and not missing
