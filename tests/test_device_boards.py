"""Boards as data: what is written wrong is named, with what was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from hil_nas.device.boards import board_names, load_board
from hil_nas.errors import InputError
from hil_nas.target import BoardTarget

GOOD = """
name = "some_board"
core = "cortex-m4"
cpu_hz = 120000000
hosts = ["serial", "renode"]
[memory]
ram_bytes = 655360
flash_bytes = 2097152
[uart]
baud = 115200
usb_ids = ["0483:374b"]
[build]
compiler = "arm-none-eabi-gcc"
flags = ["-mcpu=cortex-m4"]
sources = ["board.c"]
linker_script = "link.ld"
[debug]
pyocd_target = "stm32l4r5zitx"
"""


def boards_with(folder: Path, text: str) -> Path:
    (folder / "some_board").mkdir()
    (folder / "some_board" / "board.toml").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", ["some_board", "some-board", "Some-Board"])
def test_a_board_is_read_under_both_spellings(tmp_path: Path, name: str) -> None:
    board = load_board(name, boards_with(tmp_path, GOOD))
    assert board.memory.ram_bytes == 655360 and board.uart.usb_ids == ("0483:374b",)
    assert board.timing is None


@pytest.mark.parametrize(
    ("original", "written", "message"),
    [
        ("baud = 115200", "baudrate = 115200", r"unknown key 'uart.baudrate' \(did you mean 'baud'\?\)"),
        ("core =", "colour =", "unknown key 'colour'"),
        ("cpu_hz = 120000000\n", "", "missing cpu_hz"),
        ("ram_bytes = 655360\nflash_bytes = 2097152\n", "", "missing memory.ram_bytes, memory.flash_bytes"),
        ("ram_bytes = 655360", 'ram_bytes = "640k"', "memory.ram_bytes is of type int, found '640k'"),
        ("ram_bytes = 655360", "ram_bytes = true", "memory.ram_bytes is of type int, found True"),
        ("ram_bytes = 655360", "ram_bytes = 0", "are above 0"),
        ('["board.c"]', '"board.c"', "build.sources is a list of texts"),
        ("[memory]", "memory = 3\n[mem]", "unknown key 'mem'"),
        ('"renode"]', '"renod"]', "did you mean 'renode'"),
        ('"renode"]', '"virtual"]', r"the host 'virtual' needs the table \[timing\]"),
        ('name = "some_board"', 'name = "another"', "expected the folder's name 'some_board'"),
        ("[memory]", "[memory", "is not TOML"),
        ("[debug]", '[power]\nactive_mw = 0.0\nsource = "a page"\n[debug]', "power.active_mw is above 0, found 0"),
        ("[debug]", "[power]\nactive_mw = 42.1\n[debug]", "missing power.source"),
    ],
)
def test_what_is_written_wrong_is_named(tmp_path: Path, original: str, written: str, message: str) -> None:
    assert original in GOOD
    with pytest.raises(InputError, match=message) as caught:
        load_board("some_board", boards_with(tmp_path, GOOD.replace(original, written)))
    assert "board.toml" in caught.value.message


def test_an_unknown_board_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'some_board'"):
        load_board("some-bored", boards_with(tmp_path, GOOD))
    with pytest.raises(InputError, match="known boards: some_board"):
        load_board("xyz", tmp_path)


@pytest.mark.parametrize(
    ("text", "board", "host", "again"),
    [
        ("nucleo-l4r5", "nucleo_l4r5", "serial", "nucleo-l4r5"),
        ("nucleo_l4r5@virtual", "nucleo_l4r5", "virtual", "nucleo-l4r5@virtual"),
        ("mps2-an386@qemu", "mps2_an386", "qemu", "mps2-an386@qemu"),
    ],
)
def test_a_target_is_a_board_on_a_host(text: str, board: str, host: str, again: str) -> None:
    target = BoardTarget.parse(text)
    assert (target.board, target.host, str(target)) == (board, host, again)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nucleo-l4r5@renod", "did you mean 'renode'"),
        ("nucleo-l4r5@moon", "known hosts: serial, virtual, renode, qemu, native"),
        ("@virtual", "names no board"),
        ("nucleo-l4r5@", "names no board"),
        ("a@b@virtual", "no host"),
    ],
)
def test_a_wrong_target_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        BoardTarget.parse(text)


def test_every_board_of_this_project_is_good(boards_dir: Path) -> None:
    names = board_names(boards_dir)
    assert "nucleo_l4r5" in names
    for name in names:
        assert load_board(name, boards_dir).name == name
