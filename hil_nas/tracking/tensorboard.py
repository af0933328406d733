"""Event files as TensorBoard reads them: records of TensorFlow's, in a folder for each run.

TensorFlow writes them, since every search has it for its conversion; torch's writer would need the tensorboard package.
Records are written one by one, which starts nothing of TensorFlow's: its runtime would take a GPU's memory.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hil_nas.deploy.quiet import quiet
from hil_nas.files import require_writable
from hil_nas.runs import Run
from hil_nas.tracking.figures import Point, configuration


class TensorBoard:
    """A folder that `tensorboard --logdir` shows."""

    def __init__(self, folder: Path) -> None:
        with quiet():
            import tensorflow as tf
            from google.protobuf.message import DecodeError
        self._tf, self._folder = tf, folder
        self.name = f"TensorBoard's {folder}"
        self.errors: tuple[type[Exception], ...] = (OSError, tf.errors.OpError, DecodeError)

    def expect_reachable(self) -> None:
        require_writable(self._folder)

    def open(self, run: Run, name: str) -> EventFiles:
        return EventFiles(self._tf, self._folder / name, configuration(run))


class EventFiles:
    """The event files of one run. What is there stays; what is new goes to a file of its own.

    Args:
        configuration: shown as text with a run that has no file yet.
    """

    def __init__(self, tf: Any, folder: Path, configuration: Mapping[str, str]) -> None:
        self._tf, self._folder, self._configuration = tf, folder, configuration
        self._writer: Any = None
        self._steps: dict[str, set[int]] = defaultdict(set)
        files = sorted(folder.glob("events.out.tfevents.*"))
        for data in (x for file in files for x in records(file.read_bytes())):
            event = tf.compat.v1.Event.FromString(data)
            for value in event.summary.value:
                self._steps[value.tag].add(event.step)

    def steps(self, figure: str) -> set[int]:
        return self._steps.get(figure, set())

    def send(self, point: Point) -> None:
        value = self._tf.compat.v1.Summary.Value
        self._write(point.step, [value(tag=k, simple_value=v) for k, v in point.figures.items()])

    def end(self, *, finished: bool) -> None:
        if self._writer is not None:
            self._writer.close()

    def _write(self, step: int, values: list[Any]) -> None:
        v1 = self._tf.compat.v1
        if self._writer is None:
            self._begin()
        self._writer.write(
            v1.Event(wall_time=time.time(), step=step, summary=v1.Summary(value=values)).SerializeToString()
        )
        self._writer.flush()

    def _begin(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        now = time.time_ns()  # TensorBoard reads a folder's files in the order of their names
        name = f"events.out.tfevents.{now // 10**9:010d}.{socket.gethostname()}.{os.getpid()}.{now % 10**9}"
        self._writer = self._tf.io.TFRecordWriter(str(self._folder / name))
        first = self._tf.compat.v1.Event(wall_time=now / 1e9, file_version="brain.Event:2")
        self._writer.write(first.SerializeToString())
        if "configuration" not in self._steps:
            self._write(0, [self._text("configuration", self._configuration)])

    def _text(self, tag: str, table: Mapping[str, str]) -> Any:
        """A table in Markdown, as TensorBoard's plugin for text shows it."""
        v1 = self._tf.compat.v1
        lines = ["| | |", "|---|---|", *(f"| {k} | {v.replace('|', chr(92) + '|')} |" for k, v in table.items())]
        return v1.Summary.Value(
            tag=tag,
            tensor=self._tf.make_tensor_proto("\n".join(lines)),
            metadata=v1.SummaryMetadata(plugin_data={"plugin_name": "text"}),
        )


def records(data: bytes) -> Iterator[bytes]:
    """The whole records of a file of TensorFlow's: length (8 bytes), its checksum (4), data, checksum (4).

    A last one that a kill cut short is left out, as TensorBoard leaves it out.
    """
    at = 0
    while at + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        if at + length + 16 > len(data):
            return
        yield data[at + 12 : at + 12 + length]
        at += length + 16
