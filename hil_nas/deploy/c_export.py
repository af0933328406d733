"""What a person takes home: a folder of C that builds with one command and knows nothing of this project."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from hil_nas import kernels
from hil_nas.cost.arena import aligned
from hil_nas.deploy.decisions import Decisions
from hil_nas.deploy.plan import Plan
from hil_nas.errors import InputError
from hil_nas.files import whole_folder
from hil_nas.front_ends import FrontEnd
from hil_nas.kernels import cmsis_nn
from hil_nas.operators.table import PLAN_CODES

_SOURCES = ("engine/engine.c", "engine/plan_check.c", "engine/plan_check.h", "crc32.c", "front_end.c")
_LISTENING = ("listen/decide.c", "listen/decide.h")  # of a model that was tuned
_HEADERS = ("engine.h", "kernel.h", "checks.h", "plan.h", "crc32.h", "front_end.h")
_INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)
_BYTES_PER_LINE = 24


class CmsisFolders(Protocol):
    """Where CMSIS stands: CMSIS-NN with Include/ and Source/, CMSIS-Core with Include/."""

    @property
    def cmsis_nn(self) -> Path: ...
    @property
    def cmsis_core(self) -> Path: ...


def export_c(
    folder: Path,
    plan: Plan,
    front_end: FrontEnd,
    labels: Sequence[str],
    boards_dir: Path,
    third_party: CmsisFolders,
    decisions: Decisions | None = None,
) -> None:
    """Writes the folder, whole or not at all: model, executor, front end, the CMSIS sources they need, an example.

    Args:
        folder: must not exist, or be empty.
        labels: one per output of the plan, in their order.
        decisions: on a stream, which the model was tuned to.

    Raises:
        InputError: where plan, front end and labels do not belong together, or the folder is taken.
    """
    _check(plan, front_end, labels, decisions)
    blob = front_end.blob(plan.input_scale, plan.input_zero_point)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not empty", hint="name a folder that does not exist")
    with whole_folder(folder) as whole:
        _copy(boards_dir / "export", whole, sorted(x.name for x in (boards_dir / "export").iterdir()))
        sources = (*_SOURCES, *(_LISTENING if decisions else ()))
        own = [*sources, *_front_end_files(boards_dir / "src"), *_kernel_files(plan, boards_dir / "src")]
        _copy(boards_dir / "src", whole / "src", own)
        _copy(boards_dir / "include", whole / "include", _HEADERS)
        _copy_third_party(whole / "third_party", boards_dir, third_party, own, plan)
        (whole / "model.h").write_text(_model_header(plan, len(blob), front_end, labels, decisions))
        (whole / "model.c").write_text(_model_source(plan, blob, labels, decisions))


def _check(plan: Plan, front_end: FrontEnd, labels: Sequence[str], decisions: Decisions | None) -> None:
    if decisions is not None and decisions.labels != tuple(labels):
        raise InputError(f"decisions on {', '.join(decisions.labels)} for a network of {', '.join(labels)}")
    if len(labels) != plan.output_bytes:
        raise InputError(f"{len(labels)} labels for a network with {plan.output_bytes} outputs")
    if front_end.output_bytes != plan.input_bytes:
        raise InputError(f"{front_end} gives {front_end.output_bytes} values, the network reads {plan.input_bytes}")


def _copy(source: Path, target: Path, names: Iterable[str]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        if not (source / name).is_file():
            raise InputError(f"{source / name} is missing", hint="check the paths to CMSIS")
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)


def _kernel_files(plan: Plan, source: Path) -> list[str]:
    """The lists that the plan uses, without the table in which each names all its kernels."""
    used = {x.kernel_list for x in plan.operators}
    files = [x for y in kernels.LISTS if y.number in used for x in sorted((source / "kernels" / y.name).glob("*.[ch]"))]
    return [str(x.relative_to(source)) for x in files if x.name != f"{x.parent.name}.c"]


def _copy_third_party(target: Path, boards_dir: Path, folders: CmsisFolders, own: Iterable[str], plan: Plan) -> None:
    """CMSIS-NN's kernels and the intrinsics of CMSIS-Core for a plan that names one of these. Of the headers only what
    they and our own sources include.
    """
    if any(x.kernel_list == cmsis_nn.KERNELS.number for x in plan.operators):
        nn, core, sources = folders.cmsis_nn, folders.cmsis_core, [boards_dir / "src" / x for x in own]
        kernel_sources = [x for y in cmsis_nn.SOURCE_FOLDERS for x in sorted((nn / "Source" / y).glob("*.c"))]
        headers = _headers([*kernel_sources, *sources], [nn / "Include"])
        _copy_licensed(target / "cmsis_nn", nn, [*kernel_sources, *headers])
        _copy_licensed(target / "cmsis_core", core, _headers([*kernel_sources, *headers], [core / "Include"]))


def _copy_licensed(target: Path, root: Path, files: Iterable[Path]) -> None:
    licences = sorted(x for y in ("LICENSE*", "*PROVENANCE*") for x in root.glob(y) if x.is_file())
    if not licences:
        raise InputError(f"{root} holds no LICENSE, without which its sources cannot be passed on")
    _copy(root, target, [str(x.relative_to(root)) for x in (*files, *licences)])


def _front_end_files(source: Path) -> list[str]:
    """The sources of all kinds of front end; the one that is needed is linked."""
    return sorted(str(x.relative_to(source)) for x in (source / "front_ends").glob("*.[ch]"))


def _headers(sources: Iterable[Path], folders: Sequence[Path]) -> list[Path]:
    """All headers in these folders that the sources include, and those that these include."""
    headers: dict[Path, None] = {}
    pending = list(sources)
    while pending:
        path = pending.pop()
        for name in _INCLUDE.findall(path.read_text(encoding="utf-8", errors="replace")):
            for header in (x / name for x in (*folders, path.parent)):
                inside = any(header.is_relative_to(x) for x in folders)
                if inside and header.is_file() and header not in headers:
                    headers[header] = None
                    pending.append(header)
    return sorted(headers)


def _model_header(
    plan: Plan, blob_bytes: int, front_end: FrontEnd, labels: Sequence[str], decisions: Decisions | None
) -> str:
    offset, ram_bytes = _scratch_place(plan, front_end.scratch_bytes)
    return f"""/* Made by hil_nas: a network of {len(plan.operators)} operators behind the front end {front_end}
 * ({front_end.title}: {front_end.numbers}, window and hop in samples). */
#ifndef KEYWORDS_MODEL_H
#define KEYWORDS_MODEL_H

#include <stdint.h>
{'#include "listen/decide.h"' if decisions else ""}
#define KEYWORDS_SAMPLES {front_end.clip.samples}
#define KEYWORDS_SAMPLE_RATE_HZ {front_end.clip.sample_rate_hz}
#define KEYWORDS_CLASSES {len(labels)}
#define KEYWORDS_FRONT_END_KINDS {1 << front_end.number}
#define KEYWORDS_FFT_SIZE {front_end.fft_size}
#define KEYWORDS_PLAN_BYTES {plan.total_bytes}
#define KEYWORDS_FRONT_END_BYTES {blob_bytes}
#define KEYWORDS_ARENA_BYTES {plan.arena_bytes}
#define KEYWORDS_SCRATCH_BYTES {front_end.scratch_bytes}
#define KEYWORDS_SCRATCH_OFFSET {offset}
#define KEYWORDS_RAM_BYTES {ram_bytes}

extern const uint8_t keywords_plan[KEYWORDS_PLAN_BYTES];
extern const uint8_t keywords_front_end[KEYWORDS_FRONT_END_BYTES];
extern const char *const keywords_labels[KEYWORDS_CLASSES];
{_decisions_header(decisions)}
#endif
"""


def _decisions_header(decisions: Decisions | None) -> str:
    if decisions is None:
        return ""
    return f"""
/* On a stream: an answer every KEYWORDS_PERIOD_SAMPLES of audio goes to decide_next() with these. */
#define KEYWORDS_PERIOD_SAMPLES {decisions.period_samples}
extern const struct decide_settings keywords_decisions;
"""


def _decisions_source(plan: Plan, decisions: Decisions | None) -> str:
    if decisions is None:
        return ""
    words = decisions.settings(plan.output_scale, plan.output_zero_point)
    return f"""
const struct decide_settings keywords_decisions = {{
    {", ".join(map(str, words))}, {{{", ".join(map(str, decisions.thresholds))}}},
}};
"""


def _scratch_place(plan: Plan, scratch_bytes: int) -> tuple[int, int]:
    """(offset of the front end's scratch memory, size of the whole): in the arena, beside the network's input."""
    if scratch_bytes <= plan.input_offset:
        return 0, plan.arena_bytes
    offset = aligned(plan.input_offset + plan.input_bytes)
    return offset, max(plan.arena_bytes, aligned(offset + scratch_bytes))


def _kernel_tables(plan: Plan) -> str:
    """In place of the lists' own tables: the kernels that the plan names, so that no other is linked."""
    tables, lists = "", ""
    for x in kernels.LISTS:
        kinds = sorted({y.kind for y in plan.operators if y.kernel_list == x.number}, key=lambda kind: PLAN_CODES[kind])
        if kinds:
            names = ", ".join(f"{x.name}_{kind}" for kind in kinds)
            entries = ", ".join(f"[{PLAN_CODES[kind]}] = &{x.name}_{kind}" for kind in kinds)
            tables += f"""extern const struct kernel {names};
static const struct kernel *const {x.name}[PLAN_KIND_END] = {{{entries}}};
static const struct kernel_list {x.name}_linked = {{{x.number}, {x.name}}};
"""
            lists += f"&{x.name}_linked, "
    return f"{tables}const struct kernel_list *const kernel_lists[] = {{{lists}NULL}};"


def _model_source(plan: Plan, blob: bytes, labels: Sequence[str], decisions: Decisions | None) -> str:
    names = ",\n".join(f"    {_c_string(x)}" for x in labels)
    return f"""#include "model.h"

#include "kernel.h"

{_kernel_tables(plan)}

const char *const keywords_labels[KEYWORDS_CLASSES] = {{
{names},
}};

_Alignas(32) const uint8_t keywords_plan[KEYWORDS_PLAN_BYTES] = {{
{_c_bytes(plan.to_bytes())}
}};

_Alignas(16) const uint8_t keywords_front_end[KEYWORDS_FRONT_END_BYTES] = {{
{_c_bytes(blob)}
}};
{_decisions_source(plan, decisions)}"""


def _c_string(text: str) -> str:
    """A C string; whatever is no plain letter stands as an octal escape, which ends after three digits."""
    plain = (chr(x) if 32 <= x < 127 and chr(x) not in '"\\?' else f"\\{x:03o}" for x in text.encode())
    return f'"{"".join(plain)}"'


def _c_bytes(data: bytes) -> str:
    rows = (data[i : i + _BYTES_PER_LINE] for i in range(0, len(data), _BYTES_PER_LINE))
    return "\n".join("    " + "".join(f"{x}," for x in row) for row in rows)
