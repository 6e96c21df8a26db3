"""Pages and their fenced blocks.

A block of commands is ```` ```sh ````, and what runs it is said behind that word:

    sh                      tests/docs/test_commands.py, at a desk: quick, no cluster, no network
    sh e2e                  tests/e2e/test_docs.py, with a whole cluster or minutes of time
    sh run-by: PLACE …      another test, which names the page; or a page, where the very same commands are run
    sh not-run: REASON      nothing here; `REASONS` are the ones that count
"""

import re
import shlex
import textwrap
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
REASONS = {
    "needs a registry": "an image is pushed to, or pulled from, one of your own",
    "needs a GPU": "and its driver",
    "needs Argo CD": "an installed one",
    "needs Flux": "an installed one",
    "needs syft": "a program that this repository does not install",
    "installs into .venv": "as the targets of make do; no test may change the Python that it runs in",
    "starts a cluster of its own": "and there is one node a machine",
}
"""Why a block may stay unrun."""
_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`\n]*)\n(?P<text>.*?)^(?P=indent)```[ ]*$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: str
    line: int
    info: str
    text: str

    @property
    def is_shell(self) -> bool:
        """Whether it holds commands."""
        return self.info.split(" ")[0] == "sh"

    @property
    def mark(self) -> str:
        """What its first line says beside the language."""
        return self.info.partition(" ")[2].strip()

    @property
    def said(self) -> tuple[str, str]:
        """The mark, cut at its colon."""
        name, _, rest = self.mark.partition(":")
        return name, rest.strip()

    @property
    def commands(self) -> list[tuple[str, ...]]:
        """Its commands as words, without comments."""
        found, pending = [], ""
        for line in self.text.replace("\\\n", " ").splitlines():
            pending += line
            try:
                words = tuple(shlex.split(pending, comments=True))
            except ValueError:  # a quotation goes on in the next line
                pending += "\n"
                continue
            found.append(words)
            pending = ""
        return [words for words in found if words]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@cache
def pages() -> tuple[Path, ...]:
    """Everything that tells people what to do."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    for pattern in ("docs/**/*.md", "charts/**/README.md", "examples/**/*.md"):
        found += sorted(ROOT.glob(pattern))
    return tuple(found)


@cache
def blocks() -> tuple[Block, ...]:
    """Every fenced block of every page."""
    return tuple(block for page in pages() for block in of(page.relative_to(ROOT).as_posix(), page.read_text()))


def of(page: str, text: str) -> list[Block]:
    """The blocks of one page's text."""
    found = []
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(page, line, match["info"].strip(), textwrap.dedent(match["text"])))
    return found


def shell(mark: str) -> dict[str, list[Block]]:
    """Blocks of commands by page, in order, whose mark is `mark`."""
    chosen: dict[str, list[Block]] = {}
    for block in blocks():
        if block.is_shell and block.mark == mark:
            chosen.setdefault(block.page, []).append(block)
    return chosen
