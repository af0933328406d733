"""Writing tables of a FlatBuffer by their numbers in the schema; a table comes behind those that it refers to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np

Field = tuple[int, str, Any]  # number in the schema, the builder's word for its type, value


class TableWriter:
    """The builder of flatbuffers with what tables are made of.

    Args:
        alignment: a multiple of this is what all of it comes to.
    """

    def __init__(self, alignment: int = 1) -> None:
        self.builder = flatbuffers.Builder(1 << 16)
        self.builder.Prep(alignment, 0)

    def table(self, fields: Sequence[Field]) -> int:
        """A reference to a new table."""
        self.builder.StartObject(1 + max((number for number, _, _ in fields), default=0))
        for number, kind, value in fields:
            getattr(self.builder, f"Prepend{kind}Slot")(number, value, 0)
        return int(self.builder.EndObject())

    def numbers(self, values: Any, dtype: Any) -> int:
        """A reference to a new vector of numbers."""
        return int(self.builder.CreateNumpyVector(np.asarray(values, dtype)))

    def references(self, tables: Sequence[int]) -> int:
        """A reference to a new vector of references."""
        self.builder.StartVector(4, len(tables), 4)
        for table in reversed(tables):
            self.builder.PrependUOffsetTRelative(table)
        return int(self.builder.EndVector())

    def data(self, raw: bytes, alignment: int) -> int:
        """A reference to a new vector of bytes at a multiple of `alignment`."""
        builder = self.builder
        builder.StartVector(1, len(raw), alignment)
        builder.head -= len(raw)
        builder.Bytes[builder.head : builder.head + len(raw)] = raw
        return int(builder.EndVector())

    def text(self, text: str) -> int:
        """A reference to a new string."""
        return int(self.builder.CreateString(text))

    def finish(self, root: int, identifier: bytes) -> bytes:
        """All of it, `root` its root table."""
        self.builder.Finish(root, file_identifier=identifier)
        return bytes(self.builder.Output())
