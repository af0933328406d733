"""Speech Commands fetched from a server of the test's own: resumed, checked, unpacked whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hil_nas import cli
from hil_nas.audio import fetch as fetching
from hil_nas.audio.fetch import SPEECH_COMMANDS, Archive, fetch
from hil_nas.errors import InputError, OutputError
from hil_nas.progress import Progress

CLIPS = {"./lamp/a_nohash_0.wav": b"\x01" * 5000, "./music/b_nohash_0.wav": bytes(range(256)) * 20}
LISTS = {"./testing_list.txt": b"lamp/a_nohash_0.wav\n"}


@dataclass
class Site:
    """What the server has and does.

    Attributes:
        files: by path.
        ranges: whether it knows how to begin elsewhere than at 0.
        breaks_after: so many bytes of a body come; None: all.
        asked: (path, its Range header) of each request.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    breaks_after: int | None = None
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    has = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            has.asked.append((self.path, asked))
            if self.path not in has.files:
                self.send_error(404, "nothing here")
                return
            data = has.files[self.path]
            begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and has.ranges else 0
            self.send_response(206 if begin else 200)
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - begin))
            self.end_headers()
            self.wfile.write(data[begin:][: has.breaks_after])

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    has.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield has
    server.shutdown()
    thread.join()
    server.server_close()


def packed(files: dict[str, bytes], members: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))
        for member in members:
            archive.addfile(member)
    return content.getvalue()


def published(
    site: Site, data: bytes, name: str = "set.tar.gz", below: str = "", holds: tuple[str, ...] = ()
) -> Archive:
    site.files[f"/{name}"] = data
    return Archive(f"{site.url}/{name}", len(data), hashlib.sha256(data).hexdigest(), 1 << 20, below, holds)


def both(site: Site) -> tuple[Archive, ...]:
    clips = {x.replace("./", "./_silence_/", 1): y for x, y in CLIPS.items()}
    return (
        published(site, packed({**CLIPS, **LISTS}), holds=("lamp", "music", "testing_list.txt")),
        published(site, packed(clips), "test.tar.gz", "test_set", ("_silence_",)),
    )


def tree(folder: Path) -> dict[str, bytes]:
    return {str(x.relative_to(folder)): x.read_bytes() for x in folder.rglob("*") if x.is_file()}


def test_archives_become_a_folder_and_nothing_is_left_beside_it(site: Site, tmp_path: Path) -> None:
    steps: list[Progress] = []
    assert fetch(tmp_path / "words", both(site), steps.append) == ("set.tar.gz", "test.tar.gz")
    expected = {x[2:]: y for x, y in {**CLIPS, **LISTS}.items()}
    expected |= {f"test_set/_silence_/{x[2:]}": y for x, y in CLIPS.items()}
    assert tree(tmp_path / "words") == expected and [x.name for x in tmp_path.iterdir()] == ["words"]
    assert {x.task for x in steps} == {"fetching set.tar.gz, MiB", "fetching test.tar.gz, MiB"}


def test_what_is_there_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    archives = both(site)
    fetch(tmp_path / "words", archives[:1])
    assert fetch(tmp_path / "words", archives) == ("test.tar.gz",)
    assert [x for x, _ in site.asked] == ["/set.tar.gz", "/test.tar.gz"]
    assert fetch(tmp_path / "words", archives) == () and len(site.asked) == 2


@pytest.mark.parametrize("ranges", [True, False])
def test_a_fetching_that_broke_off_is_gone_on_with(site: Site, tmp_path: Path, ranges: bool) -> None:
    archive = published(site, packed(CLIPS))
    site.ranges, site.breaks_after = ranges, 60
    with pytest.raises(InputError, match="broke off after 60 B of") as raised:
        fetch(tmp_path / "words", [archive])
    assert raised.value.hint == "the same command goes on where this one stopped"
    assert not (tmp_path / "words").exists()
    assert (tmp_path / ".words.download" / "set.tar.gz").read_bytes() == site.files["/set.tar.gz"][:60]
    site.breaks_after = None
    fetch(tmp_path / "words", [archive])
    assert [x for _, x in site.asked] == [None, "bytes=60-"]
    assert tree(tmp_path / "words") == {x[2:]: y for x, y in CLIPS.items()}


def test_an_interrupt_keeps_what_came(site: Site, tmp_path: Path) -> None:
    archive = published(site, packed({"a.wav": bytes(i * i % 251 for i in range(5000))}))

    def interrupt(step: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(tmp_path / "words", [archive], interrupt)
    assert (tmp_path / ".words.download" / "set.tar.gz").stat().st_size == archive.size_bytes
    fetch(tmp_path / "words", [archive])
    assert len(site.asked) == 1 and list(tree(tmp_path / "words")) == ["a.wav"]


def test_a_damaged_archive_is_removed_and_fetched_anew(site: Site, tmp_path: Path) -> None:
    archive = published(site, packed(CLIPS))
    whole = site.files["/set.tar.gz"]
    site.files["/set.tar.gz"] = whole[:-20] + bytes(20)
    with pytest.raises(InputError, match=f"came with the SHA-256 [0-9a-f]{{64}}, expected {archive.sha256}"):
        fetch(tmp_path / "words", [archive])
    assert not (tmp_path / "words").exists() and not list(tmp_path.rglob("*.gz"))
    site.files["/set.tar.gz"] = whole
    fetch(tmp_path / "words", [archive])
    assert [x for _, x in site.asked] == [None, None]


def test_an_archive_of_another_size_is_refused_before_it_is_fetched(site: Site, tmp_path: Path) -> None:
    archive = published(site, packed(CLIPS))
    site.files["/set.tar.gz"] += b"more"
    with pytest.raises(InputError, match=f"has {archive.size_bytes + 4:,} bytes, expected {archive.size_bytes:,}"):
        fetch(tmp_path / "words", [archive])
    assert (tmp_path / ".words.download" / "set.tar.gz").stat().st_size == 0


def link(name: str, to: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, to
    return member


@pytest.mark.parametrize(
    ("files", "members", "says"),
    [
        ({"../outside.wav": b"x"}, (), "a path outside its folder, '../outside.wav'"),
        ({"lamp/../../outside.wav": b"x"}, (), "a path outside its folder"),
        ({"/tmp/outside.wav": b"x"}, (), "a path outside its folder, '/tmp/outside.wav'"),
        ({}, (link("lamp", "/tmp", tarfile.SYMTYPE),), "a link or device, 'lamp'"),
        ({}, (link("lamp/a.wav", "/etc/passwd", tarfile.LNKTYPE),), "a link or device"),
        ({}, (link("lamp/a.wav", "", tarfile.FIFOTYPE),), "a link or device"),
    ],
)
def test_nothing_is_unpacked_outside_the_folder(
    site: Site, tmp_path: Path, files: dict[str, bytes], members: tuple[tarfile.TarInfo, ...], says: str
) -> None:
    archive = published(site, packed({"lamp/good.wav": b"good", **files}, members))
    with pytest.raises(InputError, match=says):
        fetch(tmp_path / "words", [archive])
    assert [x.name for x in tmp_path.iterdir()] == [".words.download"]


def test_an_archive_that_is_none_leaves_nothing(site: Site, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="set.tar.gz cannot be unpacked"):
        fetch(tmp_path / "words", [published(site, packed(CLIPS)[:-30])])
    assert not (tmp_path / "words").exists()


def test_a_folder_with_something_else_is_left_alone(site: Site, tmp_path: Path) -> None:
    (tmp_path / "words" / "lamp").mkdir(parents=True)
    with pytest.raises(InputError, match="holds something, but no music"):
        fetch(tmp_path / "words", both(site))
    assert not site.asked and [x.name for x in (tmp_path / "words").iterdir()] == ["lamp"]


def test_a_full_disk_is_told_before_anything_is_fetched(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = replace(published(site, packed(CLIPS)), unpacked_bytes=5 << 20)
    free = archive.size_bytes + (5 << 20) - 61
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: type("Usage", (), {"free": free}))
    with pytest.raises(OutputError, match="5.00 MiB free, expected 5.00 MiB for set.tar.gz, unpacked"):
        fetch(tmp_path / "words", [archive])
    assert not site.asked and not list(tmp_path.iterdir())
    (tmp_path / ".words.download").mkdir()
    (tmp_path / ".words.download" / "set.tar.gz").write_bytes(site.files["/set.tar.gz"][:61])
    fetch(tmp_path / "words", [archive])  # what came already takes no more room


def test_a_site_that_is_not_there_is_one_line(site: Site, tmp_path: Path) -> None:
    archive = published(site, packed(CLIPS))
    site.files.clear()
    with pytest.raises(InputError, match="cannot be fetched: nothing here"):
        fetch(tmp_path / "words", [archive])
    closed = replace(archive, url="http://127.0.0.1:9/set.tar.gz")
    with pytest.raises(InputError, match="cannot be fetched: .*refused"):
        fetch(tmp_path / "words", [closed])


def test_the_command_says_what_it_did(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hil_nas.audio.fetch.SPEECH_COMMANDS", both(site))
    assert cli.main(["data", "fetch", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "folder": "speech_commands", "fetched": ["set.tar.gz", "test.tar.gz"], "there": []
    }  # fmt: skip
    assert (tmp_path / "speech_commands" / "test_set").is_dir()
    assert cli.main(["data", "fetch", "speech_commands"]) == 0
    assert "nothing was fetched" in capsys.readouterr().out
    site.files.clear()
    assert cli.main(["data", "fetch", "other"]) == 1
    assert "cannot be fetched" in capsys.readouterr().err


def test_what_is_published_is_named_with_its_checksums() -> None:
    """Read by no network: the two rows of tensorflow_datasets' url_checksums/speech_commands.txt."""
    assert [(x.name, x.size_bytes, x.sha256[:16], x.below) for x in SPEECH_COMMANDS] == [
        ("speech_commands_v0.02.tar.gz", 2_428_923_189, "af14739ee7dc3114", ""),
        ("speech_commands_test_set_v0.02.tar.gz", 112_563_277, "cc2a00c1147c2254", "test_set"),
    ]
    assert all(len(x.sha256) == 64 and x.url.startswith("https://") for x in SPEECH_COMMANDS)


def test_a_folder_of_the_real_data_set_is_known(speech_commands: Path, site: Site) -> None:
    """The server is never asked."""
    archives = [replace(x, url=f"{site.url}/{x.name}") for x in SPEECH_COMMANDS]
    assert fetch(speech_commands, archives) == () and not site.asked
