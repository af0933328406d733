"""CMSIS-DSP's sources, which no wheel carries: fetched once with pip, and checked before they are used."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from hil_nas.device.firmware import CMSIS_DSP_FOLDER
from hil_nas.errors import MissingToolError
from hil_nas.files import whole_folder
from hil_nas.progress import Progress, Reporter, silent

SHA256 = "307d32298faa7c58db912851027fce35f886fec7eb1a27c4b309ce1a97f47519"  # of the release that was tested
FETCH_S = 600.0
_OR = "or name a checkout in CMSIS_DSP_ROOT"


def fetch_cmsis_dsp(build_dir: Path, progress: Reporter = silent) -> None:
    """Puts CMSIS-DSP where `find_third_party` finds it, unless it is there or CMSIS_DSP_ROOT names another.

    pip downloads it, so that its index, proxy and certificates are those that the user has set up.

    Raises:
        MissingToolError: where there is no pip, or where it does not get the release that was tested.
    """
    folder = build_dir / "third_party" / CMSIS_DSP_FOLDER
    if os.environ.get("CMSIS_DSP_ROOT") or (folder / "Include").is_dir():
        return
    if importlib.util.find_spec("pip") is None:
        raise MissingToolError("pip, which fetches CMSIS-DSP, is missing", hint=f"python -m ensurepip, {_OR}")
    progress(Progress("fetching CMSIS-DSP's sources", 0, 1, "2 MB, half a minute"))
    with whole_folder(folder) as whole:
        with tarfile.open(_download(whole.parent)) as archive:  # all of it lies in one folder, named as `whole` is
            archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)  # not in 3.11.2
            archive.extractall(whole.parent)
        shutil.rmtree(folder, ignore_errors=True)  # what is there holds no Include
    progress(Progress("fetching CMSIS-DSP's sources", 1, 1, str(folder)))


def _download(folder: Path) -> Path:
    name, _, version = CMSIS_DSP_FOLDER.partition("-")
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{name}=={version} --hash=sha256:{SHA256}\n", encoding="utf-8")
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries", "1"),
        *("--no-deps", "--no-binary", name, "--require-hashes", "--dest", str(folder), "--requirement", str(wanted)),
    ]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=FETCH_S, check=False
        )
    except subprocess.TimeoutExpired:
        message = f"pip did not fetch {name} {version} within {FETCH_S:g} s"
        raise MissingToolError(message, hint=f"try again, {_OR}") from None
    if done.returncode:
        words = [x for x in done.stderr.splitlines() if x.startswith("ERROR")] or ["it does not say why"]
        message = f"pip did not fetch {name} {version}: {words[-1].removeprefix('ERROR: ')}"
        raise MissingToolError(message, hint=f"look at pip's index and network, {_OR}")
    return folder / f"{CMSIS_DSP_FOLDER}.tar.gz"
