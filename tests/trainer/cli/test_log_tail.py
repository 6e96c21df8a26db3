import io
import os

from igpo_trainer.cli.log_tail import LogTail


def passed_on(*chunks, lines=40, target=None):
    target = io.BytesIO() if target is None else target
    tail = LogTail(lines)
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as source:
        thread = tail.follow(source, target)
        for chunk in chunks:
            os.write(writer, chunk)
        os.close(writer)
        thread.join(10)
        assert not thread.is_alive()
    return tail.lines(), target


def test_output_is_passed_on_byte_by_byte():
    _, target = passed_on(b"a\r", b"\xff\n\n", b"unended")
    assert target.getvalue() == b"a\r\xff\n\nunended"


def test_the_last_lines_are_kept_without_empty_ones():
    lines, _ = passed_on(b"one\ntw", b"o\n\n  \nthree\nfour", lines=3)
    assert lines == ["two", "three", "four"]


def test_a_progress_bar_counts_as_lines_and_odd_bytes_do_not_matter():
    lines, _ = passed_on(b"10%\r20%\r", b"\xff\n")
    assert lines == ["10%", "20%", "\N{REPLACEMENT CHARACTER}"]


def test_an_endless_line_is_bounded():
    lines, _ = passed_on(*[b"x" * 4096] * 8)
    assert [len(line) for line in lines] == [4096]


def test_a_closed_target_never_blocks_the_source():
    target = io.BytesIO()
    target.close()
    lines, _ = passed_on(b"one\n", b"two\n", target=target)
    assert lines == ["one", "two"]
