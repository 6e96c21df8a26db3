"""Every outcome for real: worker processes that hang, die and raise."""

import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from igpo_trainer.rewards.judge import Judge, JudgeTask, processes_of
from igpo_trainer.rewards.verdict import Outcome, Verdict
from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.igpo import JudgeSpec, RewardsSpec

HANGS = "9^{9^{9}}"
RIGHT, WRONG = Verdict(Outcome.RIGHT), Verdict(Outcome.WRONG)

REWARDS = """
    import os, subprocess, sys, threading

    def plain(prompt, completion, answer):
        print("on standard output")
        return float(len(completion))

    def moody(prompt, completion, answer):
        if prompt == "hang":
            threading.Event().wait()
        if prompt == "exit":
            os._exit(3)
        if prompt == "raise":
            raise KeyError("no such mood")
        if prompt == "nan":
            return float("nan")
        if prompt == "text":
            return "high"
        if prompt == "child":
            child = subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait()"])
            with open(completion, "w") as pid:
                pid.write(str(child.pid))
            child.wait()
        return 1.0

    def torch_loaded(prompt, completion, answer):
        return float("torch" in sys.modules or "datasets" in sys.modules or "transformers" in sys.modules)
"""


@pytest.fixture
def rewards(tmp_path, monkeypatch):
    (tmp_path / "mood_rewards.py").write_text(textwrap.dedent(REWARDS))
    monkeypatch.syspath_prepend(tmp_path)
    return "mood_rewards"


def boxed(content, answer, prompt="q"):
    return JudgeTask(prompt, f"so \\boxed{{{content}}}", answer)


def ends(pid, seconds):
    """Whether the process, a child or not, ends within the time."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


def test_plain_answers_need_no_worker_and_are_fast():
    tasks = [boxed(str(n), str(n % 3)) for n in range(5000)]
    with Judge() as judge:
        started = time.perf_counter()
        verdicts = judge.judge(tasks)
        rate = len(tasks) / (time.perf_counter() - started)
        assert judge.pids == []
    assert [v.outcome for v in verdicts[:4]] == [Outcome.RIGHT, Outcome.RIGHT, Outcome.RIGHT, Outcome.WRONG]
    assert rate > 5000  # over 100,000/s alone on a machine; room for a busy one


def test_order_is_kept_across_workers():
    tasks = [boxed(f"\\frac{{{n}}}{{7}}", f"{n if n % 3 else n + 1}/7") for n in range(100)]
    with Judge(JudgeSpec(processes=2)) as judge:
        verdicts = judge.judge(tasks)
        assert judge.counts == {"right": 66, "wrong": 34}
    assert verdicts == [RIGHT if n % 3 else WRONG for n in range(100)]


def test_completions_larger_than_a_pipe_pass_through():
    tasks = [JudgeTask("q" * 50_000, "word " * 20_000 + r"\boxed{\frac{2}{4}}", "0.5")] * 30
    with Judge(JudgeSpec(processes=1)) as judge:
        assert judge.judge(tasks) == [RIGHT] * 30


def test_an_answer_that_hangs_the_verifier_is_unjudged_and_only_that_one():
    tasks = [boxed(r"\frac{2}{4}", "0.5") for _ in range(12)]
    tasks[5] = boxed(HANGS, "5")
    with Judge(JudgeSpec(deadline_seconds=2.0, processes=1)) as judge:
        verdicts = judge.judge(tasks)
        assert judge.restarts == 1
        assert judge.judge(tasks[:3]) == [RIGHT] * 3, "the new worker judges on"
        assert judge.counts == {"right": 14, "unjudged": 1, "deadline": 1}
    assert verdicts == [RIGHT] * 5 + [Verdict(Outcome.UNJUDGED, "deadline")] + [RIGHT] * 6


def test_an_error_in_the_verifier_is_unjudged():
    with Judge() as judge:
        assert judge.judge([boxed("5", r"\frac{1}{0}")]) == [Verdict(Outcome.UNJUDGED, "error: ValueError")]
        assert judge.counts == {"unjudged": 1, "error": 1}


def test_custom_rewards_that_crash_hang_and_raise_are_told_apart(rewards):
    moods = ["fine", "exit", "fine", "raise", "nan", "text", "fine", "hang", "fine", "exit"]
    name = f"{rewards}:moody"
    with Judge(JudgeSpec(deadline_seconds=2.0, processes=1), RewardsSpec(custom={name: 0.5})) as judge:
        scores = judge.score([boxed("5", "5", prompt=mood) for mood in moods])
        assert judge.counts == {"right": 10, "crash": 2, "deadline": 1, "error": 3}
    reasons = {
        "exit": "crash",
        "hang": "deadline",
        "raise": "error: KeyError",
        "nan": "error: NonFiniteRewardError",
        "text": "error: ValueError",
    }
    for mood, score in zip(moods, scores, strict=True):
        assert score.correctness is Outcome.RIGHT
        if mood == "fine":
            assert (score.total, dict(score.custom), score.reason) == (1.5, {name: 1.0}, "")
        else:
            assert (score.total, dict(score.custom), score.reason) == (None, {}, f"{name}: {reasons[mood]}")


def test_a_reward_may_print_and_is_summed_with_the_others(rewards):
    weights = RewardsSpec(correctness=2.0, format=1.0, custom={f"{rewards}:plain": 0.1})
    with Judge(rewards=weights) as judge:
        (score,) = judge.score([JudgeTask("q", r"\boxed{5} or so", "5")])
    assert score.total == pytest.approx(2.0 + 0.5 + 1.5)


def test_a_worker_loads_neither_torch_nor_datasets_nor_transformers(rewards):
    name = f"{rewards}:torch_loaded"
    with Judge(rewards=RewardsSpec(custom={name: 1.0})) as judge:
        (score,) = judge.score([boxed(r"\frac{1}{2}", "0.5")])
    assert score.custom[name] == 0.0


def test_an_unknown_reward_ends_the_run_before_any_work():
    judge = Judge(rewards=RewardsSpec(custom={"no_such_module:reward": 1.0}))
    with pytest.raises(InvalidRunError, match="no_such_module:reward"):
        judge.__enter__()
    assert judge.pids == []


def test_closing_leaves_no_process():
    with Judge(JudgeSpec(processes=2)) as judge:
        judge.judge([boxed(r"\frac{2}{4}", "0.5")] * 40)
        pids = judge.pids
        assert len(pids) == 2
    assert all(ends(pid, 0) for pid in pids)
    with pytest.raises(ChildProcessError):
        os.waitpid(pids[0], os.WNOHANG)


def test_a_killed_worker_takes_its_children_along(rewards, tmp_path):
    pid_file = tmp_path / "pid"
    spec = JudgeSpec(deadline_seconds=2.0, processes=1)
    with Judge(spec, RewardsSpec(custom={f"{rewards}:moody": 1.0})) as judge:
        (score,) = judge.score([JudgeTask("child", str(pid_file), "5")])
    assert score.reason.endswith("deadline")
    assert ends(int(pid_file.read_text()), 10)


def test_a_worker_that_died_idle_is_replaced_and_no_task_is_blamed():
    with Judge(JudgeSpec(processes=1)) as judge:
        judge.judge([boxed(r"\frac{2}{4}", "0.5")])
        (pid,) = judge.pids
        os.kill(pid, signal.SIGKILL)
        assert ends(pid, 10)
        assert judge.judge([boxed(r"\frac{2}{4}", "0.5")]) == [RIGHT]
        assert judge.restarts == 1


@pytest.fixture
def interruptible():
    """Ctrl-C raises, also where the suite runs in the background and its shell had SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_leaves_no_busy_worker_and_the_judge_usable():
    with Judge(JudgeSpec(deadline_seconds=60.0, processes=1)) as judge:
        judge.judge([boxed(r"\frac{2}{4}", "0.5")])
        (pid,) = judge.pids
        interrupt = threading.Timer(0.3, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            judge.judge([boxed(HANGS, "5")])
        interrupt.join()
        assert ends(pid, 0)
        assert judge.judge([boxed(r"\frac{2}{4}", "0.5")]) == [RIGHT]


def test_workers_end_by_themselves_when_the_trainer_is_killed():
    program = f"""
        from igpo_trainer.rewards.judge import Judge, JudgeTask
        from igpo_trainer.spec.igpo import JudgeSpec
        with Judge(JudgeSpec(deadline_seconds=0.5, processes=1)) as judge:
            judge.judge([JudgeTask("q", r"\\boxed{{\\frac12}}", "0.5")])
            print(judge.pids[0], flush=True)
            judge._pool._deadline = 1e6  # the trainer never comes to killing it
            judge.judge([JudgeTask("q", r"\\boxed{{{HANGS}}}", "5")])
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE) as trainer:
        worker = int(trainer.stdout.readline())
        assert not ends(worker, 0.5)
        trainer.kill()
        assert ends(worker, 30)


def test_the_number_of_processes_follows_the_cores():
    assert processes_of(JudgeSpec(processes=3)) == 3
    assert [processes_of(JudgeSpec(), cores) for cores in (1, 2, 4, 16, 64)] == [1, 1, 2, 8, 8]
