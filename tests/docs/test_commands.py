"""Every command that the pages tell people to type is run: here, by another test, or it is said why not."""

import re
import subprocess
from pathlib import Path

import pytest

from docworld import shell
from docworld.pages import REASONS, ROOT, Block, blocks, of
from docworld.pages import shell as shell_blocks

SECONDS = 300
COMMANDS = [block for block in blocks() if block.is_shell]
OTHER_SHELLS = {"bash", "shell", "console", "zsh", "shellsession", "shell-session"}
OURS = re.compile(r"^(\$ )?(\.venv/bin/|make |igpo |kubectl |helm |docker |python3? |git )", re.MULTILINE)
DESK = shell_blocks("")


@pytest.mark.timeout(900)  # the first may have to build helm and kubectl
@pytest.mark.parametrize("page", DESK)
def test_the_commands_of_a_page_run_at_a_desk(page: str, tmp_path: Path) -> None:
    folder = shell.checkout(tmp_path)
    variables = shell.environment(tmp_path)
    for block in DESK[page]:
        shell.run(block, folder, variables, within=SECONDS)


@pytest.mark.parametrize("block", COMMANDS, ids=str)
def test_a_block_that_does_not_run_here_says_what_runs_it_or_why_nothing_does(block: Block) -> None:
    match block.said:
        case ("", "") | ("e2e", ""):
            pass
        case ("not-run", reason):
            assert reason in REASONS, f"{block} is not run for an unknown reason; take one of {', '.join(REASONS)}"
        case ("run-by", places):
            assert places, f"{block} does not say which test or page runs it"
            _require_run(block, places.split())
        case _:
            raise AssertionError(f"{block} has the mark {block.mark!r}; docworld/pages.py lists those that there are")


def test_every_block_is_one_that_bash_can_read() -> None:
    for block in COMMANDS:
        done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), block
        assert block.commands, block


def test_commands_are_in_blocks_that_are_marked_as_such() -> None:
    unmarked = [str(block) for block in blocks() if not block.info and OURS.search(block.text)]
    other = [str(block) for block in blocks() if block.info.split(" ")[0] in OTHER_SHELLS]
    assert (unmarked, other) == ([], []), "write ```sh"


def test_a_block_is_found_with_its_mark_wherever_it_stands() -> None:
    text = "A\n\n- item:\n\n  ```sh not-run: needs a GPU\n  a \\\n    --b  # why\n  ```\n\n```yaml\nc: d\n```\n"
    first, second = of("page.md", text)
    assert (first.line, first.is_shell, first.said) == (5, True, ("not-run", "needs a GPU"))
    assert first.commands == [("a", "--b")]
    assert (second.line, second.is_shell, second.mark) == (10, False, "")


def test_a_command_that_fails_in_the_middle_of_a_block_fails_the_block(tmp_path: Path) -> None:
    block = Block("page.md", 1, "sh", "echo before\nfalse\necho after\n")
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(AssertionError, match=r"page\.md:1 ended with 1") as caught:
        shell.run(block, folder, {"PATH": "/usr/bin:/bin"}, within=20)
    assert "before" in str(caught.value)


def test_a_command_that_watches_is_watched_for_a_while(tmp_path: Path) -> None:
    block = Block(
        "page.md", 1, "sh", "tail_f() { echo seen; sleep 1000; }\nexport -f tail_f\nbash -c tail_f -w # Ctrl-C\n"
    )
    folder = tmp_path / "folder"
    folder.mkdir()
    assert "seen" in shell.run(block, folder, {"PATH": "/usr/bin:/bin"}, within=30)


def _require_run(block: Block, places: list[str]) -> None:
    """Each place is a test that names the page, or they are pages that run every command of the block."""
    for place in places:
        assert (ROOT / place).is_file(), f"{block}: {place} does not exist"
    tests = [place for place in places if place.endswith(".py")]
    for test in tests:
        assert Path(test).name.startswith("test_"), f"{block}: {test} is no test"
        assert block.page in (ROOT / test).read_text(), f"{block}: {test} does not say that it stands for {block.page}"
    if tests:
        return
    elsewhere = {words for place in places for other in _run_on(place) for words in other.commands}
    missing = [" ".join(words) for words in block.commands if words not in elsewhere]
    assert not missing, f"{block}: no block that is run on {', '.join(places)} has {missing}"


def _run_on(page: str) -> list[Block]:
    return [block for block in COMMANDS if block.page == page and block.said[0] in ("", "e2e")]
