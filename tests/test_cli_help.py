"""What --help ends with, and what a shell completes."""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hil_nas import cli
from hil_nas.cli.arguments import parser
from hil_nas.cli.examples import EXAMPLES
from hil_nas.folders import zoo_folder
from hil_nas.workflows.zoo import zoo_networks


def commands(of: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner, own in action.choices.items():
                yield f"{name} {inner}".strip(), own
                yield from commands(own, f"{name} {inner}".strip())


COMMANDS = dict(commands(parser()))


def test_every_command_has_examples_and_no_other() -> None:
    assert EXAMPLES.keys() == COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_two_examples_that_are_understood(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([*name.split(), "--help"])
    first, second = EXAMPLES[name]
    assert capsys.readouterr().out.endswith(f"\nexamples:\n  {first}\n  {second}\n")
    assert first != second
    for example in (first, second):
        bare = example.removeprefix('eval "$(').removesuffix(')"').partition(" > ")[0]
        words = shlex.split(bare)
        assert words[: 1 + len(name.split())] == ["hil_nas", *name.split()]
        parsed = parser().parse_args(words[1:])
        assert parsed.parser is COMMANDS[name] or parsed.parser.prog.startswith(f"hil_nas {name}")


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    pytest.importorskip("shtab", reason="needs shtab: make setup")
    assert cli.main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.fixture
def complete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[object]:
    """What bash completes at the end of a command line, started in a folder of its own."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    source = tmp_path / "complete.bash"
    source.write_text(script("bash", capsys))
    here = tmp_path / "here"
    (here / "recordings").mkdir(parents=True)
    (here / "model.tflite").write_bytes(b"")

    def completed(*words: str) -> set[str]:
        line = " ".join(map(shlex.quote, ("hil_nas", *words)))
        ask = f"""
            source {shlex.quote(str(source))}
            spec=$(complete -p hil_nas)
            function=$(sed -E 's/.*-F ([^ ]+).*/\\1/' <<< "$spec")
            COMP_WORDS=({line}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
            "$function" hil_nas "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        done = subprocess.run([bash, "-ec", ask], cwd=here, capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    yield completed


def test_bash_completes_commands_options_values_and_files(complete: object) -> None:
    assert callable(complete)
    assert complete("se") == {"search", "serve"}
    assert complete("data", "") >= {"fetch", "check", "record", "speak"}
    assert complete("search", "--max-") == {"--max-ram", "--max-flash", "--max-latency", "--max-load"}
    assert complete("search", "--space", "") == {"tiny", "darts"}
    assert complete("data", "check", "rec") == {"recordings"}
    assert complete("verify", "mod") == {"model.tflite"}
    assert complete("completion", "") >= {"bash", "zsh", "fish"}
    assert complete("zoo", "") >= {x.name for x in zoo_networks(zoo_folder())}
    assert complete("zoo", "any", "rec") == {"recordings"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_takes_its_script(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = script(shell, capsys)
    assert all(x in text for x in ("search", "--max-latency", "record"))
    if (program := shutil.which(shell)) is None:
        pytest.skip(f"needs {shell}")
    (tmp_path / "script").write_text(text)
    subprocess.run([program, "-n", str(tmp_path / "script")], check=True)


def test_the_script_is_an_object_too_and_an_unknown_shell_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab", reason="needs shtab: make setup")
    assert cli.main(["completion", "zsh", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["shell"] == "zsh" and answer["script"].startswith("#compdef hil_nas")
    assert cli.main(["completion", "csh"]) == 2
    assert "none of bash, zsh, fish" in capsys.readouterr().err
