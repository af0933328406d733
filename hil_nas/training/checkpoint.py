"""Checkpoints: written whole or not at all, read without running anything they hold."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from hil_nas.errors import RunError
from hil_nas.runs import write_atomically

VERSION = 1


def save_checkpoint(path: Path, what: dict[str, str], state: dict[str, Any]) -> None:
    """Writes what is trained and how far it is: tensors, numbers and text only."""
    buffer = io.BytesIO()
    torch.save({"version": VERSION, "what": what, "state": state}, buffer)
    write_atomically(path, buffer.getvalue())


def load_checkpoint(path: Path, what: dict[str, str]) -> dict[str, Any]:
    """The state of exactly this training.

    Raises:
        RunError: for a checkpoint that is damaged, of another version, or of another training.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        version, found = saved["version"], saved["what"]
        state: dict[str, Any] = saved["state"]
    except (OSError, EOFError, RuntimeError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(f"{path} is damaged: {reason}", hint="remove it and train from the start") from None
    if version != VERSION:
        raise RunError(f"{path} is version {version}, expected {VERSION}", hint="train from the start")
    changed = [key for key in what if found.get(key) != what[key]]
    if changed:
        raise RunError(
            f"{path} is of another training: the {changed[0]} differs", hint="train from the start, or undo the change"
        )
    return state
