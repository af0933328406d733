"""Speech Commands from where it is published: fetched, checked, and unpacked as `layout` reads it."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import tarfile
import urllib.request
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath

from hil_nas.audio.layout import TEST_FOLDER
from hil_nas.errors import InputError, OutputError
from hil_nas.files import plain_name, require_writable, whole_folder, writing
from hil_nas.progress import Progress, Reporter, silent
from hil_nas.units import format_bytes
from hil_nas.words import ALL_WORDS, TEN_WORDS

_SITE = "https://storage.googleapis.com/download.tensorflow.org/data"
_CLIP_ON_DISK_BYTES = 8 * 4096  # one second of 16 kHz and 16 bits with its head, in blocks of 4 KiB
_TIMEOUT_S = 30
_BLOCK_BYTES = 1 << 20
_PARTIAL = 206  # of HTTP's answers: what follows begins where it was asked to
_AGAIN = "the same command goes on where this one stopped"


@dataclass(frozen=True)
class Archive:
    """A published .tar.gz.

    Attributes:
        size_bytes, sha256: of the archive.
        unpacked_bytes: at most, as they take room on a disk.
        below: the folder within the data set that it becomes; empty for the data set itself.
        holds: names by which a folder is known to hold what the archive does.
    """

    url: str
    size_bytes: int
    sha256: str
    unpacked_bytes: int
    below: str
    holds: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


# Sizes and SHA-256 as tensorflow_datasets lists them (url_checksums/speech_commands.txt); so many clips are in the
# archives by arXiv:1804.03209 and the data set's README, and some minutes of noise.
SPEECH_COMMANDS = (
    Archive(
        f"{_SITE}/speech_commands_v0.02.tar.gz", 2_428_923_189,
        "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
        105_829 * _CLIP_ON_DISK_BYTES + (20 << 20), "", ("_background_noise_", *ALL_WORDS),
    ),
    Archive(
        f"{_SITE}/speech_commands_test_set_v0.02.tar.gz", 112_563_277,
        "cc2a00c1147c2254e9be3fa0f779d8c17421dc349b86366567a8edfa9acd51df",
        4_890 * _CLIP_ON_DISK_BYTES, TEST_FOLDER, ("_silence_", "_unknown_", *TEN_WORDS),
    ),
)  # fmt: skip


def fetch(folder: Path, archives: Sequence[Archive], progress: Reporter = silent) -> tuple[str, ...]:
    """Archives unpacked into a folder, each as a whole; the names of those that were fetched.

    What the folder holds already is not fetched again. What came of an archive whose fetching broke off lies beside
    the folder, in `.<its name>.download`, and is gone on with.

    Raises:
        InputError: for a folder that holds something else, a site that does not answer, a fetching that broke off, an
            archive with another checksum, or one with a path outside its folder.
        OutputError: where there is too little space, or the system refuses.
    """
    require_writable(folder)
    missing = [x for x in archives if not _is_there(folder / x.below, x)]
    parts = folder.absolute().with_name(f".{folder.absolute().name}.download")
    _expect_space(parts, missing)
    for archive in missing:
        part = parts / archive.name
        _download(archive, part, progress)
        _unpack(part, folder / archive.below, progress)
        with writing(part):
            part.unlink()
    with suppress(OSError):  # not there, or another's part in it
        parts.rmdir()
    return tuple(x.name for x in missing)


def _is_there(folder: Path, archive: Archive) -> bool:
    """Whether a folder holds what the archive does; False where there is none, or an empty one.

    Raises:
        InputError: where it holds something else.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        return False
    lacking = [x for x in archive.holds if not (folder / x).exists()]
    if lacking:
        raise InputError(
            f"{plain_name(folder)} holds something, but no {lacking[0]}, so it is not what {archive.name} unpacks to",
            hint="name a new folder, or move that one away",
        )
    return True


def _expect_space(parts: Path, archives: Sequence[Archive]) -> None:
    """Raises OutputError where the disk has no room for what is to be fetched and unpacked."""
    kept = sum((parts / x.name).stat().st_size for x in archives if (parts / x.name).is_file())
    needed = sum(x.size_bytes + x.unpacked_bytes for x in archives) - kept
    existing = next(x for x in parts.parents if x.is_dir())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise OutputError(
            f"{plain_name(existing)} has {format_bytes(free)} free, expected {format_bytes(needed)} for "
            f"{' and '.join(x.name for x in archives)}, unpacked",
            hint="free some space, or name a folder on another disk",
        )


def _download(archive: Archive, part: Path, progress: Reporter) -> None:
    """The archive as a file, from where an earlier call broke off."""
    with writing(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        if not part.is_file() or part.stat().st_size > archive.size_bytes:
            part.write_bytes(b"")
        if part.stat().st_size < archive.size_bytes:
            _go_on(archive, part, progress)
        size_bytes = part.stat().st_size
        if size_bytes < archive.size_bytes:
            came = f"{format_bytes(size_bytes)} of {format_bytes(archive.size_bytes)}"
            raise InputError(f"{archive.url} broke off after {came}", hint=_AGAIN)
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != archive.sha256:
            part.unlink()  # nothing that is added to it would mend it
            raise InputError(
                f"{archive.url} came with the SHA-256 {found}, expected {archive.sha256}",
                hint="it was removed; fetch it again, by another way if that stays so",
            )


def _go_on(archive: Archive, part: Path, progress: Reporter) -> None:
    """Appends to the file what is missing of it, as far as it comes."""
    begin = part.stat().st_size
    request = urllib.request.Request(archive.url, headers={"Range": f"bytes={begin}-"} if begin else {})
    with _network(archive):
        answer: HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    with answer, part.open("r+b") as file:
        begin = _begin(answer, begin)
        _expect_size(archive, answer, begin)
        file.truncate(begin)
        file.seek(begin)
        while file.tell() <= archive.size_bytes:
            with _network(archive):
                block = answer.read(_BLOCK_BYTES)
            if not block:
                break
            file.write(block)
            done, total = (x >> 20 for x in (file.tell(), archive.size_bytes))
            progress(Progress(f"fetching {archive.name}, MiB", done, total))


def _begin(answer: HTTPResponse, asked: int) -> int:
    """Where in the archive an answer begins: a server may not know how to begin elsewhere than at 0."""
    if answer.status != _PARTIAL:
        return 0
    begins = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    if begins != str(asked):
        raise InputError(f"{answer.url} answers from byte {begins or '?'}, expected {asked}", hint="try again later")
    return asked


def _expect_size(archive: Archive, answer: HTTPResponse, begin: int) -> None:
    """Raises InputError where what comes is of another size than the archive: better before gigabytes than after."""
    announced = answer.headers.get("Content-Length")
    if announced is not None and begin + int(announced) != archive.size_bytes:
        raise InputError(
            f"{archive.url} has {begin + int(announced):,} bytes, expected {archive.size_bytes:,}",
            hint="another file stands there now; see whether it may be fetched by another way",
        )


@contextmanager
def _network(archive: Archive) -> Iterator[None]:
    try:
        yield
    except (OSError, HTTPException) as error:  # urllib's errors are OSErrors
        reason = getattr(error, "reason", None) or error
        raise InputError(f"{archive.url} cannot be fetched: {reason}", hint=f"look at the network; {_AGAIN}") from None


def _unpack(part: Path, folder: Path, progress: Reporter) -> None:
    """The archive's files and folders as a new folder; nothing where one of them must not be."""
    with whole_folder(folder) as whole:
        whole.mkdir()
        try:
            with tarfile.open(part, "r:gz") as archive:
                for number, member in enumerate(archive, start=1):
                    _unpack_member(archive, member, whole, part.name)
                    if number % 1000 == 0:
                        progress(Progress(f"unpacking {part.name}, files", number, 0))
        except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InputError(f"{part.name} cannot be unpacked: {error}", hint=f"remove {plain_name(part)}") from None


def _unpack_member(archive: tarfile.TarFile, member: tarfile.TarInfo, whole: Path, name: str) -> None:
    inside = PurePosixPath(member.name)
    if inside.is_absolute() or ".." in inside.parts or not (member.isreg() or member.isdir()):
        kind = "a path outside its folder" if member.isreg() or member.isdir() else "a link or device"
        raise InputError(
            f"{name} holds {kind}, {plain_name(member.name)!r}, expected files and folders",
            hint="do not use this archive",
        )
    target = whole / inside
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    content = archive.extractfile(member)
    assert content is not None  # it is a regular file
    with content, target.open("wb") as file:
        shutil.copyfileobj(content, file)
