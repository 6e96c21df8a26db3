"""Blocks of commands, run by bash as a reader would run them, in a copy of the repository."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from docworld.pages import ROOT, Block
from igpo_cluster import programs

_LEFT_OUT = shutil.ignore_patterns(
    ".git",
    ".venv",
    "runs",
    "build",
    "node_modules",
    "__pycache__",
    "*.egg-info",
    ".*_cache",
    ".hypothesis",
    ".coverage*",
)
WATCH_SECONDS = 3
"""How long a command that never ends is watched."""
_WATCHES = re.compile(r"(?:^|\s)(?:-w|--watch)(?=\s|$)")


def checkout(folder: Path) -> Path:
    """A copy of the repository in `folder`, whose .venv is the Python that runs this."""
    copy = folder / "igpo"
    shutil.copytree(ROOT, copy, ignore=_LEFT_OUT)
    (copy / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    return copy


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Variables of a reader's shell: this Python, kubectl and helm on the PATH, no cluster but what `more` says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("IGPO_", "KUBE", "HELM_"))}
    tools = (programs.locate("helm").parent, programs.locate("kubectl").parent, Path(sys.prefix) / "bin")
    own = {
        "PATH": ":".join([*map(str, tools), kept.get("PATH", os.defpath)]),
        "KUBECONFIG": str(folder / "no-cluster"),
        "HELM_CACHE_HOME": str(folder / "helm"),
        "HELM_CONFIG_HOME": str(folder / "helm"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    return kept | own | more


def run(block: Block, folder: Path, variables: Mapping[str, str], *, within: float) -> str:
    """Run a block in `folder`; everything it wrote. What it leaves in the background is killed.

    Raises:
        AssertionError: a command fails, or the block takes longer than `within` seconds.

    """
    script = "set -euo pipefail\n" + "\n".join(map(_that_ends, block.text.replace("\\\n", " ").splitlines()))
    log = folder.parent / f"{Path(block.page).stem}-{block.line}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder,
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(within)
        except subprocess.TimeoutExpired:
            code = -1
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    written = log.read_text()
    trouble = f"took more than {within:g} s" if code == -1 else f"ended with {code}"
    assert code == 0, f"{block} {trouble}:\n{block.text}\n{written[-3000:]}"
    return written


def _that_ends(line: str) -> str:
    """A line as it is, or one that watches, watched for a while: its reader presses Ctrl-C."""
    command, sign, comment = line.partition(" #")
    if not _WATCHES.search(command):
        return line
    # Tests in the background of a script have SIGINT ignored, and so would all that they start.
    watched = f"timeout --signal=INT {WATCH_SECONDS} env --default-signal=INT {command.strip()}"
    return f"{watched} || test $? = 124 {sign}{comment}"
