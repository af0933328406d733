"""The object that `hil_nas verify --json` printed, as Markdown for a job's summary.

    python summary.py MODEL STATUS <verification.json >>"$GITHUB_STEP_SUMMARY"
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import Any

from hil_nas.units import clock_name, count_unit, format_bytes, format_latency


def summary(model: str, status: int, text: str) -> str:
    """Markdown: a verdict, the figures beside their limits, counts by kind of operator.

    Args:
        status: that `hil_nas verify` ended with.
        text: what it printed; nothing where it ended by a bug of its own.
    """
    title = f"### `{model}`"
    result = json.loads(text) if text.strip() else {"message": f"hil_nas ended with status {status}", "hint": None}
    if "network_cycles" not in result:
        return "\n\n".join([title, f"❌ {result['message']}", result["hint"] or "The step's log says more.", ""])
    board = f"{result['board'].replace('_', '-')}, {clock_name(result['clock'])}"
    return "\n\n".join([f"{title} on {board}", _verdict(result), _figures(result), _operators(result), ""])


def _verdict(result: dict[str, Any]) -> str:
    wrong = list(result["missed"])
    if not result["bits_equal"]:
        wrong.append(f"{result['differing_bytes']} values differ from the host's")
    return f"❌ {'; '.join(wrong)}" if wrong else "✅ every limit and every bit held"


def _figures(result: dict[str, Any]) -> str:
    limits, error_percent = result["limits"], result["clock"]["error_percent"]
    rows = [("", "", "limit"), ("---", "---:", "---:")]
    bits = "equal" if result["bits_equal"] else "NOT equal"
    rows.append(("bits, against TensorFlow Lite Micro", bits, f"{result['clips_compared']} inputs"))
    rows.append(("RAM", format_bytes(result["ram_bytes"]), _limit(limits["max_ram_bytes"], format_bytes)))
    rows.append(("flash", format_bytes(result["flash_bytes"]), _limit(limits["max_flash_bytes"], format_bytes)))
    if result["latency_ms"] is not None:
        limit = _limit(limits["max_latency_s"], lambda seconds: format_latency(seconds * 1e3, None))
        rows.append(("latency", format_latency(result["latency_ms"], error_percent), limit))
    return "\n".join(f"| {' | '.join(x)} |" for x in rows)


def _limit(limit: Any, show: Any) -> str:
    return "" if limit is None else str(show(limit))


def _operators(result: dict[str, Any]) -> str:
    counts: Counter[str] = Counter()
    for kind, count in result["operators"]:
        counts[kind] += count
    if result["front_end_cycles"] is not None:
        counts[f"front end {result['front_end']}"] = result["front_end_cycles"]
    rows = [("", count_unit(result["clock"]["kind"])), ("---", "---:"), *((x, f"{y:,}") for x, y in counts.items())]
    return "\n".join(f"| {' | '.join(x)} |" for x in rows)


if __name__ == "__main__":
    print(summary(sys.argv[1], int(sys.argv[2]), sys.stdin.read()), end="")
