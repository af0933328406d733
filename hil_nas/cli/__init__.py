"""`hil_nas`: arguments in, exit status out.

0: done and every limit held. 1: a person can act on it (one line on standard error). 2: wrong usage.
3: the model broke a limit or a bit on the board, or no network holds the limits. 130: Ctrl-C.
Anything else that is raised is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from hil_nas.cli.arguments import parser
from hil_nas.cli.console import Console
from hil_nas.errors import HilNasError, InfeasibleError, LimitsMissedError
from hil_nas.extras import missing_library

OK, FAILED, MISSED, INTERRUPTED = 0, 1, 3, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch loads: spinning threads starve a shared machine
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error: a path need not be of its encoding
    arguments = parser().parse_args(argv)
    console = Console(as_json=arguments.json)
    try:
        with console:
            return int(arguments.command(arguments, console))
    except (InfeasibleError, LimitsMissedError) as error:
        console.error(error)
        return MISSED
    except HilNasError as error:
        console.error(error)
        return FAILED
    except ModuleNotFoundError as error:
        missing = missing_library(error)
        if missing is None:
            raise
        console.error(missing)
        return FAILED
    except KeyboardInterrupt:
        console.interrupted(getattr(arguments, "resume", None) is not None)
        return INTERRUPTED
