"""`hil_nas`: arguments in, exit status out.

0: done and every limit held. 1: a person can act on it (one line on standard error). 2: wrong usage.
3: the model broke a limit or a bit on the board, or no network holds the limits. 130: Ctrl-C or SIGTERM.
Anything else that is raised is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import io
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from hil_nas.cli.arguments import parser
from hil_nas.cli.console import Console
from hil_nas.errors import HilNasError, InfeasibleError, LimitsMissedError, UsageError
from hil_nas.extras import missing_library
from hil_nas.files import refused

OK, FAILED, USAGE, MISSED, INTERRUPTED = 0, 1, 2, 3, 130
RESUMABLE = ("search", "baseline", "sweep")  # by --resume


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch loads: on networks this small threads mostly wait
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # where there are more: spinning ones starve a shared machine
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may hold other characters
    words = list(sys.argv[1:] if argv is None else argv)
    console = Console(as_json="--json" in words)  # before parsing: a usage error is an object too
    began = datetime.now(UTC)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as by Ctrl-C: boards are closed
    try:
        with console:
            arguments = parser().parse_args(words)
            return int(arguments.command(arguments, console))
    except HilNasError as error:
        console.error(error)
        return _status(error)
    except ModuleNotFoundError as error:
        missing = missing_library(error)
        if missing is None:
            raise
        console.error(missing)
        return FAILED
    except OSError as error:
        refusal = refused(error)
        if refusal is None:
            raise
        console.error(refusal)
        return FAILED
    except KeyboardInterrupt:
        console.interrupted(_resuming(words, argv is None, began))
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)


def _resuming(words: Sequence[str], typed: bool, began: datetime) -> str | None:
    """The command that goes on with the run that these words began or went on with; None where there is none yet."""
    if not words or words[0] not in RESUMABLE:
        return None
    from hil_nas.workflows.past_runs import runs_in

    with suppress(HilNasError, SystemExit, OSError, ValueError, TypeError):
        runs = runs_in(parser().parse_args(words).runs)
        unfinished = [x for x in runs if x.command == words[0] and x.status == "incomplete"]
        if "--resume" in words or any(datetime.fromisoformat(x.started) >= began for x in unfinished):
            program = sys.argv[0] if typed else "hil_nas"
            return shlex.join([program, *words, *([] if "--resume" in words else ["--resume"])])
    return None


def _status(error: HilNasError) -> int:
    if isinstance(error, UsageError):
        return USAGE
    return MISSED if isinstance(error, InfeasibleError | LimitsMissedError) else FAILED
