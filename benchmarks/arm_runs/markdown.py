"""How figures are written on the pages."""

import os
import platform
from collections.abc import Sequence

import torch

from igpo_trainer.observe.estimates import Estimate


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def percent(value: Estimate) -> str:
    """A share with its interval, in percent."""
    return f"{100 * value.mean:.1f} % [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def points(value: Estimate) -> str:
    """A difference of shares with its interval, in points."""
    return f"{100 * value.mean:+.1f} [{100 * value.low:+.1f}, {100 * value.high:+.1f}]"


def machine(jobs: int) -> str:
    """Where the figures were made."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"Machine: {os.cpu_count()} CPU cores ({platform.machine()}), {device}, torch {torch.__version__}, "
        f"Python {platform.python_version()}; up to {jobs} runs at a time, one thread each."
    )
