"""The state of a search or a training between two epochs, on disk: written whole, read without running anything."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from hil_nas.errors import RunError
from hil_nas.files import write_atomically

VERSION = 2


def save(path: Path, identity: dict[str, Any], state: dict[str, Any]) -> None:
    """Writes the state; a kill leaves the old checkpoint or the new one.

    Args:
        identity: what decides the result, as JSON has it: `load` goes on only under the same.
        state: tensors, numbers and text only.
    """
    content = io.BytesIO()
    torch.save({"version": VERSION, "identity": json.dumps(identity), **state}, content)
    write_atomically(path, content.getvalue())


def load(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """The state that `save` wrote.

    Raises:
        RunError: where the file is damaged, or of another version, data or setting; both are named.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        saved = json.loads(state["identity"])
        version = state["version"]
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(f"{path} is damaged: {reason}", hint="remove it and begin anew") from None
    if version != VERSION:
        raise RunError(f"{path} is of version {version}, expected {VERSION}", hint="begin anew")
    changed = list(_differences("", saved, json.loads(json.dumps(identity))))
    if changed:
        raise RunError(
            f"{path} is of another configuration: " + "; ".join(changed[:4]), hint="give its options, or begin anew"
        )
    return dict(state)


def _differences(name: str, saved: Any, expected: Any) -> Iterator[str]:
    """Where two JSON values differ, in words."""
    if isinstance(saved, dict) and isinstance(expected, dict):
        for key in [*saved, *(x for x in expected if x not in saved)]:
            yield from _differences(f"{name}.{key}" if name else key, saved.get(key), expected.get(key))
    elif saved != expected:
        yield f"{name} was {_short(saved)}, is {_short(expected)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
