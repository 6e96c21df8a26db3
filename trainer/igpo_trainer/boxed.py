r"""The final answer of a text: what stands in its last \boxed{...}.

Beside the layers because two of them need it: `data` reads traces with it, `rewards` completions.
"""

import re
from dataclasses import dataclass

_OPEN = re.compile(r"\\boxed\s*\{")


@dataclass(frozen=True, slots=True)
class Box:
    r"""One \boxed{...} with balanced braces: `text[start:end]` is the whole command, `content` what it holds."""

    start: int
    end: int
    content: str


def _closing_brace(text: str, first: int) -> int:
    r"""Index of the brace that closes the one just before `first`; -1 if none does. `\{` and `\}` do not count."""
    depth = 1
    index = first
    while index < len(text):
        character = text[index]
        if character == "\\":
            index += 2
            continue
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return index
        index += 1
    return -1


def boxes(text: str) -> list[Box]:
    r"""Every outermost complete \boxed{...} of `text`, in order; one cut off by the end of the text is none."""
    found: list[Box] = []
    opening = _OPEN.search(text)
    while opening:
        first = opening.end()
        last = _closing_brace(text, first)
        if last != -1:
            found.append(Box(opening.start(), last + 1, text[first:last].strip()))
        opening = _OPEN.search(text, last + 1 if last != -1 else first)
    return found


def last_boxed(text: str) -> str | None:
    r"""Content of the last complete \boxed{...}, braces balanced, outer space removed; None if there is none."""
    found = boxes(text)
    return found[-1].content if found else None
