"""What a person takes home: a folder of C that builds with one command and knows nothing of this project."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Protocol

from hil_nas import kernels
from hil_nas.cost.arena import aligned
from hil_nas.deploy.listening import Listening
from hil_nas.deploy.plan import Plan
from hil_nas.errors import InputError
from hil_nas.files import whole_folder
from hil_nas.front_ends import FrontEnd
from hil_nas.kernels import cmsis_nn
from hil_nas.operators.table import PLAN_CODES

_SOURCES = (
    "engine/engine.c", "engine/plan_check.c", "engine/plan_check.h", "crc32.c", "front_end.c", "listen/decide.c",
    "listen/decide.h", "listen/listen.c", "listen/listen.h",
)  # fmt: skip
_HEADERS = ("engine.h", "kernel.h", "checks.h", "plan.h", "crc32.h", "front_end.h")
_ARDUINO = ("library.properties", "library.json", "examples")
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
    listening: Listening,
    boards_dir: Path,
    third_party: CmsisFolders,
    figures: Mapping[str, str | int] | None = None,
) -> None:
    """Writes the folder, whole or not at all: model, executor, front end, the CMSIS sources they need, an example, and
    what make, CMake, Zephyr, PlatformIO and Arduino ask of a library.

    Args:
        folder: must not exist, or be empty.
        figures: that the model was verified with, by the names of their constants; None: it was not.

    Raises:
        InputError: where the folder is taken, or the paths to CMSIS are wrong.
    """
    plan, source = listening.plan, boards_dir / "src"
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not empty", hint="name a folder that does not exist")
    with whole_folder(folder) as whole:
        template = boards_dir / "export"
        with_cmsis_nn = any(x.kernel_list == cmsis_nn.KERNELS.number for x in plan.operators)
        left_out = _ARDUINO if with_cmsis_nn else ()  # these have no place for a library's further include paths
        files = (x.relative_to(template) for x in sorted(template.rglob("*")) if x.is_file())
        _copy(template, whole, [str(x) for x in files if x.parts[0] not in left_out])
        own = [*_SOURCES, *_front_end_files(source), *_kernel_files(plan, source)]
        _copy(source, whole / "src", own)
        _copy(boards_dir / "include", whole / "src", _HEADERS)
        _link_alone(whole / "src" / "front_end.h", listening.front_end)
        if with_cmsis_nn:
            _copy_third_party(whole / "third_party", boards_dir, third_party, own)
        (whole / "src" / "keywords_model.h").write_text(_model_header(listening))
        (whole / "src" / "keywords_model.c").write_text(_model_source(listening))
        if figures is not None:
            (whole / "src" / "keywords_figures.h").write_text(_figures_header(figures))


def _copy(source: Path, target: Path, names: Iterable[str]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        if not (source / name).is_file():
            raise InputError(f"{source / name} is missing", hint="check the paths to CMSIS")
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)


def _link_alone(header: Path, front_end: FrontEnd) -> None:
    """One kind of front end and one FFT size are linked, whatever builds the library."""
    text = header.read_text(encoding="utf-8")
    for constant, usual, chosen in (
        ("FRONT_END_KINDS", "0xFFFFFFFFu", f"(1u << {front_end.number})"),
        ("FRONT_END_FFT_SIZES", "(128 + 256 + 512 + 1024 + 2048)", str(front_end.fft_size)),
    ):
        line = f"#define {constant} {usual}"
        assert text.count(line) == 1, f"front_end.h defines {constant} another way"
        text = text.replace(line, f"#define {constant} {chosen}")
    header.write_text(text, encoding="utf-8")


def _kernel_files(plan: Plan, source: Path) -> list[str]:
    """The lists that the plan uses, without the table in which each names all its kernels."""
    used = {x.kernel_list for x in plan.operators}
    files = [x for y in kernels.LISTS if y.number in used for x in sorted((source / "kernels" / y.name).glob("*.[ch]"))]
    return [str(x.relative_to(source)) for x in files if x.name != f"{x.parent.name}.c"]


def _copy_third_party(target: Path, boards_dir: Path, folders: CmsisFolders, own: Iterable[str]) -> None:
    """CMSIS-NN's kernels and the intrinsics of CMSIS-Core; of the headers what they and our own sources include."""
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


def _model_header(listening: Listening) -> str:
    plan, front_end, decisions = listening.plan, listening.front_end, listening.decisions
    offset, ram_bytes = _scratch_place(plan, front_end.scratch_bytes)
    return f"""/* Made by hil_nas: a network of {len(plan.operators)} operators behind the front end {front_end}
 * ({front_end.title}: {front_end.numbers}, window and hop in samples). */
#ifndef KEYWORDS_MODEL_H
#define KEYWORDS_MODEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define KEYWORDS_SAMPLE_RATE_HZ {front_end.clip.sample_rate_hz}
#define KEYWORDS_SAMPLES {front_end.clip.samples} /* of the window that an answer is of */
#define KEYWORDS_PERIOD_SAMPLES {listening.period_samples} /* from one answer to the next */
#define KEYWORDS_CLASSES {len(decisions.labels)}
#define KEYWORDS_STREAM {int(listening.stream)} /* 1: the network keeps what it needs of earlier frames */
#define KEYWORDS_RAM_BYTES {ram_bytes} /* of network and front end */

/* What keywords.c is made for. */
#define KEYWORDS_STEP {listening.step}
#define KEYWORDS_WARM_UP {listening.warm_up}
#define KEYWORDS_FRAME_SAMPLES {front_end.window_samples}
#define KEYWORDS_COLUMNS {front_end.columns}
#define KEYWORDS_ROWS {listening.rows}
#define KEYWORDS_AVERAGED {decisions.averaged}
#define KEYWORDS_PLAN_BYTES {plan.total_bytes}
#define KEYWORDS_FRONT_END_BYTES {len(listening.blob)}
#define KEYWORDS_ARENA_BYTES {plan.arena_bytes}
#define KEYWORDS_SCRATCH_BYTES {front_end.scratch_bytes}
#define KEYWORDS_SCRATCH_OFFSET {offset}

extern const uint8_t keywords_plan[KEYWORDS_PLAN_BYTES];
extern const uint8_t keywords_front_end[KEYWORDS_FRONT_END_BYTES];
extern const char *const keywords_labels[KEYWORDS_CLASSES];

#ifdef __cplusplus
}}
#endif

#endif
"""


def _figures_header(figures: Mapping[str, str | int]) -> str:
    lines = [f"#define KEYWORDS_VERIFIED_{x} {_c_string(y) if isinstance(y, str) else y}" for x, y in figures.items()]
    text = "\n".join(lines)
    return f"""/* What hil_nas saw when it ran this model on a board. */
#ifndef KEYWORDS_FIGURES_H
#define KEYWORDS_FIGURES_H

{text}

#endif
"""


def _decisions_source(listening: Listening) -> str:
    decisions = listening.decisions
    words = decisions.settings(*listening.output)
    return f"""
extern const struct decide_settings keywords_decisions; /* keywords.c */
const struct decide_settings keywords_decisions = {{
    {", ".join(map(str, words))}, {{{", ".join(map(str, decisions.thresholds))}}},
}};
"""


def _scratch_place(plan: Plan, scratch_bytes: int) -> tuple[int, int]:
    """(offset of the front end's scratch memory, size of the whole): in the arena, beside the network's input and what
    it keeps from run to run."""
    kept = [(x.output, prod(x.out_shape)) for x in plan.operators if x.kind == "delay"]
    offset = 0
    for begin, size in sorted([(plan.input_offset, plan.input_bytes), *kept]):
        if offset + scratch_bytes <= begin:
            break
        offset = max(offset, aligned(begin + size))
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


def _model_source(listening: Listening) -> str:
    names = ",\n".join(f"    {_c_string(x)}" for x in listening.decisions.labels)
    return f"""#include "keywords_model.h"

#include "kernel.h"
#include "listen/decide.h"

{_kernel_tables(listening.plan)}

const char *const keywords_labels[KEYWORDS_CLASSES] = {{
{names},
}};

_Alignas(32) const uint8_t keywords_plan[KEYWORDS_PLAN_BYTES] = {{
{_c_bytes(listening.plan.to_bytes())}
}};

_Alignas(16) const uint8_t keywords_front_end[KEYWORDS_FRONT_END_BYTES] = {{
{_c_bytes(listening.blob)}
}};
{_decisions_source(listening)}"""


def _c_string(text: str) -> str:
    """A C string; whatever is no plain letter stands as an octal escape, which ends after three digits."""
    plain = (chr(x) if 32 <= x < 127 and chr(x) not in '"\\?' else f"\\{x:03o}" for x in text.encode())
    return f'"{"".join(plain)}"'


def _c_bytes(data: bytes) -> str:
    rows = (data[i : i + _BYTES_PER_LINE] for i in range(0, len(data), _BYTES_PER_LINE))
    return "\n".join("    " + "".join(f"{x}," for x in row) for row in rows)
