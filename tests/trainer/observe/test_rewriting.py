import io

from rich.console import Console

from igpo_trainer.observe.console import Mode
from igpo_trainer.observe.lines import line
from igpo_trainer.observe.rewriting import RewritingView, rewriting_line
from igpo_trainer.spec.contract import RewriteStatus

STATUS = RewriteStatus(
    rows=5000,
    done=812,
    cached=100,
    kept=700,
    dropped=12,
    requests=730,
    retries=18,
    tokens=250_000,
    token_budget=1_000_000,
    rows_per_second=14.2,
    eta_seconds=295.0,
)


def shown(mode, *calls):
    output = io.StringIO()
    console = Console(file=output, force_terminal=mode is Mode.LIVE, width=160, soft_wrap=True)
    with RewritingView("LengthAlignedSFT/gsm8k", mode, console) as view:
        for status, now, last in calls:
            view.show(status, now, last=last)
    return output.getvalue()


def test_a_line_has_rate_time_left_and_spend():
    assert rewriting_line(STATUS) == (
        "rewrite  812/5000 | 14.2 rows/s, 4:55 left | kept 700 dropped 12 | repeated 18 | "
        "250000 tokens of 1000000 (25.0 %)"
    )
    assert rewriting_line(RewriteStatus(rows=9)) == (
        "rewrite 0/9 | – rows/s | kept 0 dropped 0 | repeated 0 | 0 tokens"
    )


def test_a_log_gets_a_line_every_five_seconds_and_the_last():
    others = [STATUS.model_copy(update={"done": 813 + number}) for number in range(4)]
    text = shown(
        Mode.LINES,
        (STATUS, 0.0, False),
        (others[0], 1.0, False),
        (others[1], 5.0, False),
        (others[1], 99.0, False),
        (others[2], 99.5, True),
        (others[2], 99.6, True),
    )
    assert [text_line.split()[1] for text_line in text.splitlines()] == ["812/5000", "814/5000", "815/5000"]


def test_a_terminal_gets_a_bar():
    text = shown(Mode.LIVE, (STATUS, 0.0, False))
    assert "LengthAlignedSFT/gsm8k" in text
    assert "812/5000" in text
    assert "25.0 %" in text


def test_quiet_says_nothing():
    assert shown(Mode.QUIET, (STATUS, 0.0, True)) == ""


def test_the_end_is_one_line_with_lengths_spend_and_reasons(make):
    assert line(make.rewrite_record(), 60) == (
        "rewrite 70 of 100 traces kept, teacher short | mean length 1040.0 -> 31.4 tokens, canvas 64 | "
        "54000 teacher tokens | 20 dropped (rewrite longer than length.target) | "
        "10 dropped (rewrite with a wrong answer)"
    )
