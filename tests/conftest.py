"""Shared by all tests: one thread for torch, paths of the tree, and real data where it lies beside the project."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # TensorFlow does without on some CPUs: nothing may need it
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

ROOT = Path(__file__).resolve().parent.parent
BOARDS = ROOT / "boards"
BUILD = ROOT / "build"
SHARED_DATA = ROOT.parent / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if shutil.which("renode") is None:
        missing = pytest.mark.skip(reason="needs Renode 1.16 or later on PATH: renode.io")
        for item in items:
            if item.get_closest_marker("renode"):
                item.add_marker(missing)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory, boards_dir: Path, build_dir: Path) -> object:
    """The engine's C, all its kernels in portable code, on this machine: a `deploy_harness.Engine`."""
    from deploy_harness import build_engine

    return build_engine(tmp_path_factory.mktemp("engine"), boards_dir, build_dir)


@pytest.fixture
def cmsis_nn_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the kernels of our own, for what is said of CMSIS-NN's."""
    from hil_nas import kernels

    monkeypatch.setattr(kernels, "LISTS", tuple(x for x in kernels.LISTS if x.name != "dsp"))


@pytest.fixture(scope="session")
def boards_dir() -> Path:
    return BOARDS


@pytest.fixture(scope="session")
def build_dir() -> Path:
    return BUILD


@pytest.fixture(scope="session")
def kws_model() -> bytes:
    """A .tflite of the shape of MLPerf Tiny's, made by TensorFlow with random weights."""
    from keyword_model import make_model

    from hil_nas.deploy.quiet import quiet

    with quiet():
        pytest.importorskip("tensorflow", reason="pip install 'hil_nas[search]'")
        return make_model()


@pytest.fixture(scope="session")
def reference_model() -> bytes:
    """MLPerf Tiny's kws_ref_model.tflite, which this project did not make."""
    path = SHARED_DATA / "mlperf_tiny" / "kws_ref_model.tflite"
    if not path.is_file():
        pytest.skip(f"needs MLPerf Tiny's kws_ref_model.tflite at {path}")
    return path.read_bytes()


@pytest.fixture(scope="session")
def wakeword_model() -> bytes:
    """MLPerf Tiny's str_ww_ref_model.tflite: benchmark/training/streaming_wakeword/trained_models of mlcommons/tiny."""
    path = SHARED_DATA / "mlperf_tiny" / "str_ww_ref_model.tflite"
    if not path.is_file():
        pytest.skip(f"needs MLPerf Tiny's str_ww_ref_model.tflite at {path}")
    return path.read_bytes()


@pytest.fixture(scope="session")
def speech_commands() -> Path:
    """A folder in the layout of Speech Commands."""
    path = SHARED_DATA / "speech_commands"
    if not path.is_dir():
        pytest.skip(f"needs a folder of Speech Commands at {path}")
    return path


@pytest.fixture(scope="session")
def librispeech() -> list[Path]:
    """Files of read speech, as LibriSpeech publishes them."""
    files = sorted((SHARED_DATA / "librispeech").glob("*.flac"))
    if not files:
        pytest.skip(f"needs some of LibriSpeech's FLAC files in {SHARED_DATA / 'librispeech'}")
    return files
