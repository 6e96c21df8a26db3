"""Links between pages lead somewhere, and so does every path of this repository that a page names."""

import re
from functools import cache
from pathlib import Path

import pytest

from docworld.pages import ROOT, pages

PAGES = [*pages(), ROOT / "CHANGELOG.md"]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
TOPS = (
    "benchmarks",
    "charts",
    "crds",
    "docs",
    "examples",
    "images",
    "monitoring",
    "operator",
    "tests",
    "tools",
    "trainer",
)
NAMED = re.compile(rf"`((?:{'|'.join(TOPS)})/[\w./-]+)`")
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@cache
def _anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings of a page."""
    seen: dict[str, int] = {}
    anchors = set()
    for title in re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        anchor = re.sub(r"[^\w\- ]", "", text).strip().lower().replace(" ", "-")
        count = seen[anchor] = seen.get(anchor, -1) + 1
        anchors.add(f"{anchor}-{count}" if count else anchor)
    return anchors


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    broken = []
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and (file.suffix != ".md" or anchor not in _anchors(file))):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", pages(), ids=_name)
def test_every_path_that_a_page_names_is_there(page: Path) -> None:
    named = NAMED.findall(page.read_text())
    missing = [path for path in named if not ((ROOT / path).exists() or (page.parent / path).exists())]
    assert missing == []


def test_every_page_of_docs_is_linked_from_the_readme_or_a_page_that_is() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or not page.is_file():
            continue
        reached.add(page)
        links = (target.partition("#")[0] for target in LINK.findall(page.read_text()))
        waiting += [(page.parent / link).resolve() for link in links if link.endswith(".md")]
    assert [_name(page) for page in sorted((ROOT / "docs").rglob("*.md")) if page not in reached] == []
