"""The export as a library of CMake, Zephyr, PlatformIO and Arduino, each by its own tool where that is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from deploy_harness import ds_cnn
from test_deploy_c_export import CONFIG, LABELS, export, make, run, scores

from hil_nas.deploy.c_export import export_c
from hil_nas.deploy.lower import lower
from hil_nas.deploy.synthetic import random_graph
from hil_nas.device.firmware import ThirdParty, find_third_party

ARM = "arm-none-eabi-gcc"
# Arduino's build of any board, by the compiler that is here: what a platform of Arduino's own would bring.
BOARDS_TXT = """bare.name=Bare
bare.build.core=bare
bare.build.board=BARE
bare.upload.maximum_size=1048576
"""
PLATFORM_TXT = """name=Bare
version=1.0.0
flags=-mcpu=cortex-m4 -mthumb -Os -ffunction-sections -fdata-sections
recipe.c.o.pattern="arm-none-eabi-gcc" {flags} -std=gnu11 -Wall -Werror -c {includes} "{source_file}" -o "{object_file}"
recipe.cpp.o.pattern="arm-none-eabi-g++" {flags} -std=gnu++11 -Wall -c {includes} "{source_file}" -o "{object_file}"
recipe.ar.pattern="arm-none-eabi-ar" rcs "{archive_file_path}" "{object_file}"
recipe.c.combine.pattern="arm-none-eabi-gcc" {flags} --specs=nosys.specs -Wl,--gc-sections {object_files} \
"{build.path}/{archive_file}" -o "{build.path}/sketch.elf"
recipe.size.pattern=arm-none-eabi-size "{build.path}/sketch.elf"
recipe.size.regex=^\\s*([0-9]+)\\s+
recipe.preproc.includes="arm-none-eabi-g++" {flags} -w -x c++ -M -MG -MP {includes} "{source_file}"
recipe.preproc.macros="arm-none-eabi-g++" {flags} -w -x c++ -E -CC {includes} "{source_file}" \
-o "{preprocessed_file_path}"
tools.ctags.pattern="arduino-ctags" -u --language-force=c++ -f - --c++-kinds=svpf --fields=KSTtzns --line-directives \
"{source_file}"
"""
ARDUINO_H = """#include <stddef.h>
#include <stdint.h>
struct Port { void begin(long); void println(const char *); };
extern Port Serial;
"""
MAIN_CPP = """#include "Arduino.h"
Port Serial;
void Port::begin(long) {}
void Port::println(const char *) {}
void setup();
void loop();
int main() { setup(); for (;;) loop(); }
"""
# What Zephyr's CMake gives a module; the rest of Zephyr is not here.
ZEPHYR_CMAKE = """cmake_minimum_required(VERSION 3.13)
project(zephyr_stand_in C)
set(CONFIG_KEYWORDS ON)
function(zephyr_include_directories)
  include_directories(${ARGV})
endfunction()
macro(zephyr_library_named name)
  set(ZEPHYR_CURRENT_LIBRARY ${name})
endmacro()
macro(zephyr_library_sources)
  add_library(${ZEPHYR_CURRENT_LIBRARY} STATIC ${ARGV})
endmacro()
include(${MODULE}/zephyr/CMakeLists.txt)
"""


@pytest.fixture(scope="module")
def third_party() -> ThirdParty:
    return find_third_party()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, boards_dir: Path, third_party: ThirdParty) -> Path:
    folder = tmp_path_factory.mktemp("home") / "keywords"
    export(folder, lower(random_graph(ds_cnn(channels=24, blocks=2), 5)), boards_dir, third_party)
    return folder


def tool(name: str, where: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"needs {name}: {where}")
    return path


def done(command: list[str | Path], folder: Path) -> str:
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, (ended.stdout + ended.stderr)[-2000:]
    return ended.stdout + ended.stderr


def test_cmake_builds_what_make_builds(library: Path, tmp_path: Path) -> None:
    cmake = tool("cmake", "apt install cmake")
    done([cmake, "-S", library, "-B", tmp_path], tmp_path)
    done([cmake, "--build", tmp_path, "-j2"], tmp_path)
    home = Path(shutil.copytree(library, tmp_path / "made"))
    make(home)
    by_cmake = subprocess.run([tmp_path / "example"], capture_output=True, text=True, timeout=30).stdout
    assert scores(by_cmake) == scores(run(home).stdout) and len(set(scores(by_cmake))) > 3


def test_zephyrs_module_builds_where_its_functions_are(library: Path, tmp_path: Path) -> None:
    """By stand-ins of the four functions that it calls: Zephyr itself is too large to come along."""
    cmake = tool("cmake", "apt install cmake")
    assert "cmake: zephyr\n" in (library / "zephyr" / "module.yml").read_text()
    (tmp_path / "CMakeLists.txt").write_text(ZEPHYR_CMAKE)
    done([cmake, f"-DMODULE={library}", "-S", tmp_path, "-B", tmp_path / "build"], tmp_path)
    done([cmake, "--build", tmp_path / "build", "-j2"], tmp_path)
    assert (tmp_path / "build" / "libkeywords.a").is_file()


def test_zephyrs_option_is_one_of_kconfig(library: Path) -> None:
    kconfiglib = pytest.importorskip("kconfiglib", reason="pip install kconfiglib")
    options = kconfiglib.Kconfig(str(library / "zephyr" / "Kconfig"), warn_to_stderr=False)
    assert [x.name for x in options.unique_defined_syms] == ["KEYWORDS"] and not options.warnings


def test_platformio_takes_the_manifest(library: Path, tmp_path: Path) -> None:
    pio = tool("pio", "pip install platformio")
    home = Path(shutil.copytree(library, tmp_path / "keywords"))
    manifest = json.loads((home / "library.json").read_text())
    assert manifest.pop("license") == "MIT"  # PlatformIO asks the network for the names of licences
    (home / "library.json").write_text(json.dumps(manifest))
    environment = os.environ | {"PLATFORMIO_CORE_DIR": str(tmp_path / "core")}
    ended = subprocess.run(
        [pio, "pkg", "pack", "-o", tmp_path / "packed.tar.gz", home], env=environment, capture_output=True, text=True
    )
    assert (tmp_path / "packed.tar.gz").is_file(), ended.stdout + ended.stderr


@pytest.mark.skipif(shutil.which(ARM) is None, reason=f"needs {ARM}")
def test_arduino_builds_the_sketch_with_the_library(library: Path, tmp_path: Path) -> None:
    builder, ctags = (tool(x, f"apt install {x}") for x in ("arduino-builder", "arduino-ctags"))
    platform = tmp_path / "hardware" / "here" / "bare"
    (platform / "cores" / "bare").mkdir(parents=True)
    for name, text in (
        ("boards.txt", BOARDS_TXT), ("platform.txt", PLATFORM_TXT.replace("arduino-ctags", ctags)),
        ("cores/bare/Arduino.h", ARDUINO_H), ("cores/bare/main.cpp", MAIN_CPP),
    ):  # fmt: skip
        (platform / name).write_text(text)
    (tmp_path / "built").mkdir()
    done(
        [
            builder, "-compile", "-hardware", tmp_path / "hardware", "-tools", Path(ctags).parent,
            "-libraries", library.parent, "-fqbn", "here:bare:bare", "-build-path", tmp_path / "built",
            library / "examples" / "Listen" / "Listen.ino",
        ],
        tmp_path,
    )  # fmt: skip
    symbols = done(["arm-none-eabi-nm", tmp_path / "built" / "sketch.elf"], tmp_path).split()
    assert "keywords_push" in symbols and "front_end_log_mel" not in symbols and "keywords_classify" not in symbols


def test_where_cmsis_nn_comes_along_arduino_is_left_out(
    tmp_path: Path, boards_dir: Path, third_party: ThirdParty
) -> None:
    from every_operator import every_operator
    from test_deploy_c_export import listening

    from hil_nas.deploy.tflite import read_tflite

    plan = lower(read_tflite(every_operator(CONFIG.frames, CONFIG.coefficients, len(LABELS))))
    export_c(tmp_path / "export", listening(plan), boards_dir, third_party)
    names = {x.name for x in (tmp_path / "export").iterdir()}
    assert "third_party" in names and "CMakeLists.txt" in names
    assert not names & {"library.properties", "library.json", "examples"}
    cmake = tool("cmake", "apt install cmake")
    done([cmake, "-S", tmp_path / "export", "-B", tmp_path / "build"], tmp_path)
    done([cmake, "--build", tmp_path / "build", "-j2"], tmp_path)
    by_cmake = subprocess.run([tmp_path / "build" / "example"], capture_output=True, text=True, timeout=30).stdout
    assert len(scores(by_cmake)) == len(LABELS)


def test_the_header_is_c_plus_plus_too(library: Path, tmp_path: Path) -> None:
    compiler = tool("g++", "apt install g++")
    source = "int main() { return keywords_start(nullptr, nullptr) != nullptr; }"
    (tmp_path / "main.cpp").write_text(f'#include "keywords.h"\n{source}\n')
    done([compiler, "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{library / 'src'}", "-c", "main.cpp"], tmp_path)
