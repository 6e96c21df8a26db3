"""The page of results: one section a command, with the machine it ran on, replaced by the next run."""

import os
import platform
import re
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import torch

RESULTS = Path(__file__).parents[1] / "RESULTS.md"

HEAD = """# Results

Measured side by side in one run each; every section is written by the command it names, with the machine it ran on.
Figures are medians; a ratio divides medians of the same run. How to read them: `docs/sampling.md`, and each command's
`--help`.
"""


def machine() -> str:
    """Where and beside what the figures were made."""
    gpu = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}" if torch.cuda.is_available() else "no GPU"
    return (
        f"Machine: {_cpu()}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, {gpu}; torch "
        f"{torch.__version__}, {torch.get_num_threads()} thread(s), Python {platform.python_version()}; "
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, load average {os.getloadavg()[0]:.1f} at the start."
    )


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    names = re.findall(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return f"{names[0]} ({platform.machine()})" if names else platform.machine()


def write_section(path: Path, title: str, command: str, lines: Sequence[str]) -> None:
    """Put a section into the page, in the place of the one with the same title."""
    text = path.read_text() if path.exists() else HEAD
    head, *sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    body = "\n".join(lines)
    ours = f"## {title}\n\n`{command}`\n\n```\n{body}\n```\n"
    places = [i for i, section in enumerate(sections) if section.startswith(f"## {title}\n")]
    if places:
        sections[places[0]] = ours
    else:
        sections.append(ours)
    path.write_text("\n".join([head.strip() + "\n", *(section.strip() + "\n" for section in sections)]))


class Report:
    """Prints lines, and keeps them for the page."""

    def __init__(self) -> None:
        self.lines: list[str] = [machine()]
        print(self.lines[0])

    def say(self, line: str = "") -> None:
        """Print and keep."""
        self.lines.append(line)
        print(line, flush=True)

    def write(self, path: Path | None, title: str, command: str) -> None:
        """Write the section if a page is wanted."""
        if path is not None:
            write_section(path, title, command, self.lines)
