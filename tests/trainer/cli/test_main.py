"""The command line as a whole: help, versions, wrong options, and how soon it answers."""

import json
import os
import subprocess
import sys

import pytest

from igpo_trainer import __version__


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_the_help_lists_every_command(tools, capsys, arguments):
    code = tools.igpo_command(*arguments)
    assert code == (0 if arguments else 2)
    output = capsys.readouterr()
    for command in ("run", "validate", "eval", "report", "schema"):
        assert f"│ {command} " in output.out + output.err


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("run", ["--file", "--runs", "--processes", "--metrics-port", "--quiet"]),
        ("validate", ["--file", "--resolved"]),
        ("eval", ["--file", "--run", "--model", "--runs", "--samples", "--temperature", "--json"]),
        ("report", ["run_dir"]),
        ("schema", ["--kind"]),
    ],
)
def test_the_help_of_a_command_names_its_options(tools, capsys, command, options):
    assert tools.igpo_command(command, "--help") == 0
    text = capsys.readouterr().out
    for option in options:
        assert option in text.lower()


def test_the_version(tools, capsys):
    assert tools.igpo_command("--version") == 0
    assert capsys.readouterr().out == f"igpo {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [["run", "-f", "x.yaml", "--bogus"], ["run"], ["bogus"], ["run", "-f", "x.yaml", "--processes", "0"], ["eval"]],
)
def test_a_wrong_command_line_ends_with_2_and_no_traceback(tools, capsys, arguments):
    assert tools.igpo_command(*arguments) == 2
    error = capsys.readouterr().err
    assert "Usage" in error
    assert "Traceback" not in error


def test_schema_and_validate_answer_through_the_same_command(tools, trained, capsys):
    assert tools.igpo_command("schema", "--kind", "IGPOTraining") == 0
    assert json.loads(capsys.readouterr().out)["properties"]["kind"] == {"const": "IGPOTraining"}
    assert tools.igpo_command("validate", "-f", trained.manifest) == 0
    assert capsys.readouterr().out == f"ok {trained.manifest}:2: LengthAlignedSFT/base\n"


@pytest.mark.parametrize("arguments", [["--help"], ["validate", "-f", "MANIFEST"], ["schema"], ["run", "-f", "absent"]])
def test_what_needs_no_network_model_loads_no_torch(trained, arguments):
    arguments = [str(trained.manifest) if argument == "MANIFEST" else argument for argument in arguments]
    script = (
        "import sys\nfrom igpo_trainer.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print([name for name in ('torch', 'transformers', 'datasets', 'numpy') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.stdout.splitlines()[-1] == "[]"
