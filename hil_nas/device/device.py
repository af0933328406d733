"""A board that answers, whatever host it runs on: upload, run, read, count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Literal

import numpy as np
import numpy.typing as npt

from hil_nas.device import replies
from hil_nas.device.boards import Power
from hil_nas.device.heard import BoardDecision, parse_decisions
from hil_nas.device.link import Link
from hil_nas.device.protocol import MAX_RUNS
from hil_nas.device.replies import (
    ClockKind,
    FrontEndInfo,
    Identity,
    MemoryUse,
    PlanInfo,
    What,
    Where,
)
from hil_nas.device.run_counts import RunCounts, parse_run
from hil_nas.errors import IdentityError, InputError, ProtocolError
from hil_nas.values import suggestion

RUN_SILENCE_S = 60.0  # between two heartbeats lies one whole run
Slot = Literal["features", "input", "output"]


class Device:
    """The commands of the firmware as methods; use it as a context manager.

    Args:
        link: to the firmware.
        host: where it runs, for `Identity`.
        clock_kind, clock_error_percent, power: what its cycle counts are and cost, for `Identity`.
        release: ends what the host started, called once after the link is closed.
    """

    def __init__(
        self,
        link: Link,
        host: str,
        clock_kind: ClockKind,
        *,
        clock_error_percent: float | None = None,
        power: Power | None = None,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        self._link = link
        self._host = host
        self._clock_kind = clock_kind
        self._clock_error_percent = clock_error_percent
        self._power = power
        self._release = release
        self._closed = False
        self._plan: PlanInfo | None = None
        self._engine: str | None = None

    def identify(self, *, started: bool = False, limit_s: float | None = None) -> Identity:
        """Who answers.

        Args:
            started: the board has just been started, or left to itself: it is waited for.
            limit_s: for how long; None: as long as its host takes.

        Raises:
            LinkError, ProtocolError: as for every method here.
        """
        records = self._link.resynchronise(limit_s) if started else self._link.command("hil id")
        own = (self._host, self._clock_kind, self._clock_error_percent, self._power)
        identity = replies.parse_identity(records, *own)
        self._engine = identity.engine
        return identity

    def load_model(self, forms: Mapping[str, bytes], where: Where = "flash") -> PlanInfo:
        """Upload a network in the form that the board's engine runs.

        Args:
            forms: the same network by engine: a plan for `plans`, the .tflite for `tflm`.

        Raises:
            InputError: where the board's engine is not among them; else as `load_plan`.
        """
        engine = self._engine or self.identify().engine
        if engine not in forms:
            hint = suggestion(engine, forms, "engines")
            raise InputError(f"the board's engine is '{engine}', there is no form of the network for it", hint=hint)
        return self.load_plan(forms[engine], where)

    def load_plan(self, plan: bytes, where: Where = "flash") -> PlanInfo:
        """Upload a plan, or what else the board's engine runs; the board checks it.

        Raises:
            RefusedError: where the plan is damaged or does not fit.
        """
        self._plan = None
        self._plan = replies.parse_plan(self._link.upload(f"hil load plan {where}", plan))
        return self._plan

    def load_front_end(self, tables: bytes, where: Where = "flash") -> FrontEndInfo:
        """Upload the tables of a front end; the board checks all of them.

        Raises:
            RefusedError: where the tables are damaged or do not fit.
        """
        return replies.parse_front_end(self._link.upload(f"hil load frontend {where}", tables))

    def unload(self, slot: Literal["plan", "frontend"]) -> None:
        """Empty a slot, which frees its memory for what stays and for what comes."""
        replies.expect_nothing(self._link.command(f"hil unload {slot}"))
        if slot == "plan":
            self._plan = None

    def set_audio(self, samples: npt.NDArray[np.int16]) -> None:
        """Upload one clip: int16 (samples,)."""
        self._set("audio", _flat(samples, np.dtype(np.int16)).astype("<i2").tobytes())

    def set_input(self, values: npt.NDArray[np.int8]) -> None:
        """Upload the network's input: int8, of any shape with the plan's number of elements."""
        self._set("input", _flat(values, np.dtype(np.int8)).tobytes())

    def run(self, what: What, warmups: int = 1, runs: int = 5) -> RunCounts:
        """Run the network, the front end, or audio through both ('all'), and count cycles.

        One run more follows, with counters between operators and stages. A 'step' is the network without that, so that
        a network with delay lines goes on by as many steps of its stream as it is run.

        Raises:
            RefusedError: where something has not been uploaded yet.
            ProtocolError: also for a counter that stands still or contradicts itself.
        """
        if not 0 <= warmups <= MAX_RUNS or not 1 <= runs <= MAX_RUNS:
            raise InputError(f"{warmups} warm-ups and {runs} runs, expected at most {MAX_RUNS} and a run")
        records = self._link.command(
            f"hil run {what} {warmups} {runs}",
            silence_s=RUN_SILENCE_S,
            total_s=RUN_SILENCE_S * (warmups + runs + 2),
        )
        operators = self._plan.op_count if self._plan else None
        return parse_run(records, what, runs, operators, exact=self._clock_kind != "host")

    def load_listening(self, settings: bytes) -> int:
        """Begin a stream for the network and the front end that are loaded; what was heard before is forgotten.

        Args:
            settings: as `deploy.listening` packs them.

        Returns:
            How many bytes of RAM the stream's own memory takes.

        Raises:
            RefusedError: where they do not belong together, or do not fit.
        """
        return replies.parse_listen(self._link.upload("hil load listen ram", settings))

    def listen(self, samples: npt.NDArray[np.int16]) -> list[BoardDecision]:
        """Go on with the stream: int16 (samples,), no more than a clip of the board's; what it decided meanwhile.

        Raises:
            RefusedError: where no stream has begun.
        """
        if self._plan is None:
            raise InputError("no network is loaded that could listen")
        self.set_audio(samples)
        records = self._link.command("hil listen", silence_s=RUN_SILENCE_S, total_s=RUN_SILENCE_S * 10)
        return parse_decisions(records, self._plan.output_bytes)

    def read(self, slot: Slot) -> npt.NDArray[np.int8]:
        """What stands in a buffer: int8 (bytes,); features are (frames * coefficients,)."""
        data = replies.parse_data(self._link.command(f"hil read {slot}"))
        expected = {"input": self._plan.input_bytes, "output": self._plan.output_bytes} if self._plan else {}
        if len(data) != expected.get(slot, len(data)):
            raise ProtocolError(f"{len(data)} bytes of {slot} came back, the plan has {expected[slot]}")
        return np.frombuffer(data, dtype=np.int8)

    def memory(self) -> MemoryUse:
        """Memory in use, line by line."""
        use = replies.parse_memory(self._link.command("hil memory"))
        if self._plan and use.arena_bytes != self._plan.arena_bytes:
            raise ProtocolError(
                f"the arena is {use.arena_bytes} bytes, the loaded plan's was {self._plan.arena_bytes}",
                hint="the board has lost its plan, as a restart does: check its power, load the plan again",
            )
        return use

    def clear(self) -> None:
        """Let the network forget what it was given: delay lines are as in the beginning.

        Raises:
            RefusedError: where no network is loaded.
        """
        replies.expect_nothing(self._link.command("hil clear"))

    def reset(self) -> Identity:
        """Restart the board and wait for it; what stood in RAM is gone.

        Raises:
            LinkError: where it does not come back in time.
        """
        replies.expect_nothing(self._link.command("hil reset"))
        self._plan = None
        return self.identify(started=True)

    def close(self) -> None:
        """Close the link and end what the host started; more than once is allowed."""
        if self._closed:
            return
        self._closed = True
        try:
            self._link.close()
        finally:
            self._release()

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _set(self, slot: str, data: bytes) -> None:
        stored_bytes = replies.parse_loaded(self._link.upload(f"hil load {slot} ram", data))
        if stored_bytes != len(data):
            raise ProtocolError(f"the board stored {stored_bytes} of {len(data)} bytes of {slot}")


def expect_identity(identity: Identity, board: str, build: str | None) -> None:
    """Refuse another board or another image than the one that was built.

    Raises:
        IdentityError: naming both.
    """
    if identity.board != board:
        raise IdentityError(
            f"the firmware of board '{identity.board}' answers, expected '{board}'",
            hint="attach the other board, or name this one with --board",
        )
    if build is not None and identity.build != build:
        raise IdentityError(
            f"build {identity.build} runs on the board, expected {build}",
            hint="put the firmware that was built here on the board with --flash",
        )


def _flat(values: npt.NDArray[np.generic], dtype: np.dtype[np.generic]) -> npt.NDArray[np.generic]:
    if values.dtype != dtype or values.size == 0:
        raise InputError(f"{values.size} values of {values.dtype}, expected at least one of {dtype}")
    return np.ascontiguousarray(values).reshape(-1)
