"""The front end inside a .tflite, by its name, so that a model never travels without it.

It is an ordinary entry of the model's metadata: name `hil_nas.front_end`, a buffer of JSON.
"""

from __future__ import annotations

import json

from hil_nas.errors import HilNasError, InputError
from hil_nas.front_ends import FrontEnd, parse_front_end
from hil_nas.tflite.metadata import read_metadata, with_metadata

NAME = "hil_nas.front_end"
_VERSION = 2
_NAMES = (NAME, "hil_nas.mfcc")  # the second is version 1's, which is refused


def attach_front_end(model: bytes, config: FrontEnd) -> bytes:
    """The model with its front end in its metadata, in place of one that it had.

    Raises:
        InputError: for bytes that are no .tflite.
    """
    if read_front_end(model) == config:
        return model
    text = json.dumps({"version": _VERSION, "front_end": str(config)}).encode()
    return with_metadata(model, NAME, text)


def read_front_end(model: bytes) -> FrontEnd | None:
    """The front end in the model's metadata, None where there is none.

    Raises:
        InputError: for bytes that are no .tflite and for an entry that is no front end, or of another version.
    """
    texts = [x for x in (read_metadata(model, name) for name in _NAMES) if x is not None]
    return _parse(texts[0]) if texts else None


def _parse(text: bytes) -> FrontEnd:
    try:
        data = json.loads(text)
        version = data["version"]
        if version != _VERSION:
            raise InputError(f"the model's front end is of version {version!r}, expected {_VERSION}")
        return parse_front_end(data["front_end"])
    except HilNasError:
        raise
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise InputError(f"the model's metadata {NAME} is no front end: {text[:80]!r}") from None
