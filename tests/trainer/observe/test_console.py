import io
import threading

import pytest
from rich.console import Console

from igpo_trainer.observe.console import Mode, Progress
from igpo_trainer.observe.records import State


def terminal(*, live, width=80):
    return Console(file=io.StringIO(), width=width, force_terminal=live, color_system=None, highlight=False)


def shown(progress):
    console = terminal(live=True)
    console.print(progress.render())
    return console.file.getvalue()


def test_the_panel_shows_the_missions_numbers_at_80_columns(records):
    progress = Progress("IGPOTraining/gsm8k", 40, Mode.LIVE, terminal(live=True))
    for record in records:
        if record.step <= 30:
            progress.publish(record)
    progress.state(State.RESCUE)
    text = shown(progress)
    last = next(r for r in reversed(records) if r.event == "step" and r.step == 30)
    before, after = last.groups_initial.all_wrong_ratio, last.groups_final.all_wrong_ratio
    assert max(len(line) for line in text.splitlines()) == 80
    for part in (
        "IGPOTraining/gsm8k · rescue",
        "30/40 steps · 75 %",
        f"{last.reward_mean['total']:.3f}",
        f"{100 * before:.0f} % → {100 * after:.0f} % after rescue",
        f"hint {last.entropy.hint:.3f} · generated {last.entropy.generated:.3f} nats",
        "51.2 % at step 30, from 31.0 %",
        "25.5 % at step 30, from 42.0 %",
    ):
        assert part in text, part


def test_an_sft_panel_shows_loss_and_length(make):
    progress = Progress("LengthAlignedSFT/gsm8k", 60, Mode.LIVE, terminal(live=True))
    records = make.sft_records()
    for record in records:
        progress.publish(record)
    text = shown(progress)
    last = [r for r in records if r.event == "sft_step"][-1]
    assert f"{last.loss:.4f}" in text
    assert "35.0 of 64 tokens" in text
    assert "left" not in text


def test_the_panel_is_drawn_before_the_first_record():
    text = shown(Progress("IGPOTraining/gsm8k", 40, Mode.LIVE, terminal(live=True)))
    assert "0/40 steps" in text


def test_the_live_panel_is_refreshed_and_left_standing(records):
    console = terminal(live=True)
    with Progress("IGPOTraining/gsm8k", 40, Mode.LIVE, console) as progress:
        for record in records:
            progress.publish(record)
        progress.message("checkpoint [saved]")
    assert "40/40 steps · 100 %" in console.file.getvalue()
    assert "checkpoint [saved]" in console.file.getvalue()


def test_elsewhere_every_record_is_one_aligned_line(records):
    console = terminal(live=False)
    with Progress("IGPOTraining/gsm8k", 40, Mode.LINES, console) as progress:
        for record in records:
            progress.publish(record)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == len(records)
    steps = [line for line in lines if line.startswith("step")]
    assert len({line.index("entropy") for line in steps}) == 1
    last = next(r for r in reversed(records) if r.event == "step")
    assert steps[-1].startswith(f"step 40/40 | reward  {last.reward_mean['total']:.3f} | all wrong")
    assert any("accuracy 58.0 % [54.5, 61.5] | all wrong 20.0 % | 256 problems x 8" in line for line in lines)
    assert any(line.startswith("saved  step-00000040 in 0.4 s, best so far") for line in lines)
    assert "\x1b" not in console.file.getvalue()


def test_many_short_sft_updates_do_not_flood_a_log(make):
    console = terminal(live=False)
    progress = Progress("LengthAlignedSFT/gsm8k", 60, Mode.LINES, console)
    for record in make.sft_records():
        progress.publish(record)
    steps = [line for line in console.file.getvalue().splitlines() if line.startswith("step")]
    assert len(steps) == 60 / 5 + 1
    assert steps[-1].startswith("step 60/60")


def test_quiet_prints_nothing(records):
    console = terminal(live=False)
    with Progress("IGPOTraining/gsm8k", 40, Mode.QUIET, console) as progress:
        for record in records:
            progress.publish(record)
        progress.message("hello")
    assert console.file.getvalue() == ""


def test_a_resumed_run_goes_on_from_its_journal_without_printing_it(records):
    console = terminal(live=False)
    progress = Progress("IGPOTraining/gsm8k", 40, Mode.LINES, console)
    progress.resumed([r for r in records if r.step <= 20])
    assert console.file.getvalue() == ""
    assert "20/40 steps" in shown(progress)


@pytest.mark.parametrize(
    ("tty", "quiet", "mode"), [(True, False, "live"), (False, False, "lines"), (True, True, "quiet")]
)
def test_the_mode_follows_the_terminal(monkeypatch, tty, quiet, mode):
    monkeypatch.setattr("sys.stdout.isatty", lambda: tty)
    assert Mode.detect(quiet=quiet) == mode


def test_records_may_come_from_many_threads_while_the_panel_is_drawn(make):
    progress = Progress("IGPOTraining/gsm8k", 40, Mode.LIVE, terminal(live=True))
    threads = [
        threading.Thread(target=lambda: [progress.publish(make.step(step)) for step in range(1, 20)]) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert "steps" in shown(progress)
    assert "19/40 steps" in shown(progress)
