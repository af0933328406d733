"""Libraries of this machine: built once for what they are built of, whole or not at all."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hil_nas.compiling import find_tool, shared_library
from hil_nas.errors import BuildError, InputError, MissingToolError, OutputError
from hil_nas.files import whole_folder


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    (folder / "include").mkdir(parents=True)
    (folder / "answer.c").write_text('#include "answer.h"\nint answer(void) { return ANSWER + MORE; }\n')
    (folder / "include" / "answer.h").write_text("#define ANSWER 40\n")
    return folder


def built(sources: Path, out: Path, flags: Sequence[str] = ("-O1", "-DMORE=2")) -> Path:
    headers = [sources / "include" / "answer.h"]
    return shared_library("answer", out, [sources / "answer.c"], headers, flags, include=[sources / "include"])


def answer(library: Path) -> int:
    return int(ctypes.CDLL(str(library)).answer())


def test_what_it_is_built_of_is_in_its_name(sources: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = built(sources, out)
    before = first.stat().st_mtime_ns
    assert answer(first) == 42 and built(sources, out) == first and first.stat().st_mtime_ns == before
    other_flag = built(sources, out, ("-O1", "-DMORE=3"))
    (sources / "include" / "answer.h").write_text("#define ANSWER 50\n")
    other_header = built(sources, out)
    assert [answer(x) for x in (other_flag, other_header)] == [43, 52]
    assert sorted(x.name for x in out.iterdir()) == sorted(x.name for x in (first, other_flag, other_header))
    elsewhere = sources.rename(tmp_path / "elsewhere")
    assert built(elsewhere, out) == other_header  # where the sources lie is no part of it


def test_many_may_build_at_the_same_time(sources: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        libraries = set(pool.map(lambda _: built(sources, tmp_path / "out"), range(4)))
    (library,) = libraries
    assert answer(library) == 42 and list((tmp_path / "out").iterdir()) == [library]


def test_a_failed_build_tells_its_first_error_and_leaves_nothing(sources: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="answer does not compile: .*error: 'MORE' undeclared"):
        built(sources, tmp_path / "out", ())
    assert not list((tmp_path / "out").iterdir())


def test_what_is_missing_is_named(sources: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingToolError, match="'no-such-gcc' was not found"):
        find_tool("no-such-gcc")
    (sources / "include" / "answer.h").unlink()
    with pytest.raises(InputError, match=r"answer\.h cannot be read"):
        built(sources, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    wanted = tmp_path / "deep" / "folder"
    with pytest.raises(ZeroDivisionError), whole_folder(wanted) as whole:
        whole.mkdir()
        (whole / "file").write_text("half")
        raise ZeroDivisionError
    assert not list(wanted.parent.iterdir())
    with whole_folder(wanted) as whole:
        whole.mkdir()
        (whole / "file").write_text("whole")
        assert not wanted.exists()
    assert [x.name for x in wanted.parent.iterdir()] == ["folder"] and (wanted / "file").read_text() == "whole"
    with pytest.raises(OutputError, match="cannot write"), whole_folder(wanted) as whole:  # a file stands there now
        whole.mkdir()
        (wanted / "file").rename(tmp_path / "other")
        wanted.rmdir()
        wanted.write_text("in the way")
