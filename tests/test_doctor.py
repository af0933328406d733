"""`hil_nas doctor`: what is there, what is too old, what is missing and how to get it."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from hil_nas import cli
from hil_nas.device.timing_fit import fit_timing
from hil_nas.extras import pip_install
from hil_nas.workflows import doctor
from hil_nas.workflows.doctor import Diagnosis, Part, examine


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it yet."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture(autouse=True)
def no_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    attach(monkeypatch)


def attach(monkeypatch: pytest.MonkeyPatch, *usb_ids: tuple[int, int]) -> None:
    ports = [
        SimpleNamespace(device=f"/dev/ttyACM{i}", vid=vid, pid=pid, product="STM32 STLink", description="")
        for i, (vid, pid) in enumerate(usb_ids)
    ]
    built_in = SimpleNamespace(device="/dev/ttyS0", vid=None, pid=None, product=None, description="n/a")
    monkeypatch.setattr("hil_nas.device.ports.list_ports.comports", lambda: [built_in, *ports])


def install(folder: Path, name: str, says: str, status: int = 0) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' '{says}'\nexit {status}\n")
    program.chmod(0o755)


def part(diagnosis: Diagnosis, name: str) -> Part:
    return next(x for x in diagnosis.parts if x.name == name)


def missing(diagnosis: Diagnosis, target: str) -> tuple[str, ...]:
    return next(x for x in diagnosis.hosts if x.target == target).missing


def test_with_nothing_installed_everything_says_how_to_get_it(path: Path, boards_dir: Path, tmp_path: Path) -> None:
    diagnosis = examine(boards_dir)
    tools = [x for x in diagnosis.parts if x.group == "tool"]
    assert len(tools) > 5 and all(x.version is None and x.how and not x.ready for x in tools)
    assert "arm-none-eabi-gcc" in missing(diagnosis, "mps2-an386@qemu")
    assert "gcc" in missing(diagnosis, "native@native")


@pytest.mark.parametrize(
    ("name", "says", "version"),
    [
        ("gcc", "gcc (Debian 12.2.0-14+deb12u1) 12.2.0", "12.2.0"),
        ("arm-none-eabi-gcc", "arm-none-eabi-gcc (15:12.2.rel1-1) 12.2.1 20221205", "12.2.1"),
        ("qemu-system-arm", "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)", "7.2.22"),
        ("espeak-ng", "eSpeak NG text-to-speech: 1.51  Data at: /usr/lib", "1.51"),
        ("make", "what", ""),
    ],
)
def test_versions_are_read(path: Path, boards_dir: Path, build_dir: Path, name: str, says: str, version: str) -> None:
    install(path, name, says)
    version_part = part(examine(boards_dir), name)
    assert (version_part.version, version_part.where, version_part.ready) == (version, str(path / name), True)


@pytest.mark.parametrize(("version", "ready"), [("1.15.3", False), ("1.16.0", True), ("1.16.1.4", True), ("2.0", True)])
def test_an_old_renode_does_not_do(path: Path, boards_dir: Path, build_dir: Path, version: str, ready: bool) -> None:
    install(path, "renode", f"Renode v{version}")
    install(path, "arm-none-eabi-gcc", "arm-none-eabi-gcc 12.2.1")
    diagnosis = examine(boards_dir)
    assert part(diagnosis, "renode").ready == ready
    assert missing(diagnosis, "nucleo-l4r5@renode") == (() if ready else ("renode",))


def test_a_program_that_hangs_or_fails_is_there_without_a_version(
    path: Path, boards_dir: Path, build_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hil_nas.device.hosts.process.VERSION_S", 0.2)
    install(path, "make", "", status=3)
    (path / "gcc").write_text("#!/bin/sh\nwhile :; do :; done\n")
    (path / "gcc").chmod(0o755)
    diagnosis = examine(boards_dir)
    assert part(diagnosis, "make").version == part(diagnosis, "gcc").version == ""


def test_libraries_have_the_versions_that_pip_installed(boards_dir: Path, build_dir: Path) -> None:
    diagnosis = examine(boards_dir)
    for name in ("numpy", "unicorn", "scikit-learn"):
        assert part(diagnosis, name).version == metadata.version(name)


def test_a_library_that_is_missing_names_its_extra(
    boards_dir: Path, build_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "version", none)
    diagnosis = examine(boards_dir)
    assert part(diagnosis, "pyocd").how == pip_install("flash")
    assert part(diagnosis, "torch").how == pip_install("search")
    assert {"unicorn", "capstone"} <= set(missing(diagnosis, "nucleo-l4r5@virtual"))


def test_an_attached_board_is_seen(boards_dir: Path, build_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "its USB port" in missing(examine(boards_dir), "nucleo-l4r5")
    attach(monkeypatch, (0x0483, 0x374B), (0x1A86, 0x7523))
    diagnosis = examine(boards_dir)
    assert "its USB port" not in missing(diagnosis, "nucleo-l4r5")
    assert [x.device for x in diagnosis.ports] == ["/dev/ttyACM0", "/dev/ttyACM1"]
    assert "nucleo_l4r5" in diagnosis.ports[0].boards and diagnosis.ports[1].boards == ()


def test_each_host_says_what_it_counts(boards_dir: Path, build_dir: Path) -> None:
    counts = {x.target: x.counts for x in examine(boards_dir).hosts}
    assert counts["nucleo-l4r5"] == "silicon" and counts["nucleo-l4r5@virtual"] == "modelled"
    assert counts["nucleo-l4r5@renode"] == counts["mps2-an386@qemu"] == "instructions"


def test_on_the_command_line(boards_dir: Path, build_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--boards", str(boards_dir), "--build", str(build_dir)]
    assert cli.main(["doctor", *where]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "nucleo-l4r5@virtual" in shown and metadata.version("unicorn") in shown
    assert cli.main(["doctor", "--json", *where]) == 0
    data = json.loads(capsys.readouterr().out)
    assert {x["name"] for x in data["parts"]} >= {"renode", "torch", "TensorFlow Lite Micro"}
    assert all(x["ready"] == (not x["how"]) for x in data["parts"])


def test_markup_in_a_hint_is_printed(
    path: Path, boards_dir: Path, build_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "version", none)
    monkeypatch.setenv("COLUMNS", "200")
    cli.main(["doctor", "--boards", str(boards_dir), "--build", str(build_dir)])
    assert "[flash]'" in capsys.readouterr().out


def test_the_timing_of_the_virtual_board(boards_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = fit_timing(boards_dir / "nucleo_l4r5" / "silicon.csv")
    assert cli.main(["doctor", "--timing", "--json", "--boards", str(boards_dir)]) == 0
    data = json.loads(capsys.readouterr().out)["timing"]["nucleo_l4r5"]
    assert data["left_out_mean_error"] == pytest.approx(report.left_out_mean)
    assert [x["fitted"] for x in data["networks"]].count(True) == len(report.fitted)
    assert [len(x["rows"]) for x in data["networks"]] == [2] * (len(report.fitted) + len(report.beside))
    assert [(x["set"], x["rows"]) for x in data["held_out"]] == [(x.set, x.rows) for x in report.held_out]
    assert cli.main(["doctor", "--timing", "--boards", str(boards_dir)]) == 0
    out = capsys.readouterr().out
    assert "leaving one out: mean 2.0%, worst 3.0%" in out
    for error_set in report.held_out:
        assert f"{error_set.set:18} {error_set.rows:3}  mean {error_set.mean:5.1%}, worst {error_set.worst:5.1%}" in out
