"""The command line: parse, call, print, return a number. Nothing below this package prints or exits."""

from hil_nas.cli.main import main as main
