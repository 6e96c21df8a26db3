import io
from datetime import timedelta

from rich.console import Console

from igpo_operator.apply.view import run_of
from igpo_operator.picture import age, next_action, picture_of, table_of
from operatorworld.bodies import pod_body, run_body, running
from operatorworld.clock import START

STATUS = {
    "phase": "Restarting",
    "message": "stopping attempt 2: it broke",
    "conditions": [
        {
            "type": "Reconciling",
            "status": "True",
            "reason": "Restarting",
            "message": "m",
            "lastTransitionTime": "2026-11-24T12:00:00Z",
        }
    ],
    "attempts": [
        {
            "number": 1,
            "class": "OutOfMemory",
            "rank": 1,
            "exitCode": 137,
            "step": 5,
            "message": "killed for memory",
            "endedAt": "2026-11-24T12:00:00Z",
            "lastLines": ["an older line"],
        }
    ],
    "progress": {"step": 7, "plannedSteps": 20, "percentage": 35, "etaSeconds": 90},
    "metrics": {"reward": "0.25"},
}


def _text(renderable: object) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


def test_the_picture_answers_why_it_does_not_train() -> None:
    ended = {"terminated": {"exitCode": 1, "message": "Traceback\nValueError: boom"}}
    pods = [
        pod_body("p-1", rank=1, state=ended, phase="Failed"),
        pod_body("p-0", rank=0, state={"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}),
    ]
    event = {
        "metadata": {"creationTimestamp": "2026-11-24T12:00:00Z"},
        "eventTime": "2026-11-24T12:00:00.000000Z",
        "reason": "AttemptStarted",
        "note": "attempt 2: 2 pods are created",
    }
    text = _text(picture_of(run_of(run_body(status=STATUS)), pods, [event], START + timedelta(seconds=90)))
    for words in (
        "LengthAlignedSFT team/tiny",
        "Restarting  stopping attempt 2: it broke",
        "step 7 of 20",
        "35 %",
        "reward 0.25",
        "killed for memory",
        "ImagePullBackOff",
        "no such image",
        "exit 1",
        "ValueError: boom",
        "attempt 2: 2 pods are created",
        "next:",
    ):
        assert words in text, words
    assert text.index("p-0") < text.index("p-1")


def test_traces_and_tokens_are_shown_while_they_are_rewritten() -> None:
    status = {
        "phase": "Rewriting",
        "message": "attempt 1: a teacher rewrites the traces",
        "rewriting": {"hash": "h", "attempt": 1, "rows": 40, "done": 10, "kept": 8, "dropped": 2, "tokens": 5000},
        "progress": {"step": 0, "stage": "rewrite"},
    }
    text = _text(picture_of(run_of(run_body(status=status)), [], [], START))
    for words in (
        "Rewriting  attempt 1",
        "10 of 40 traces rewritten",
        "25 %",
        "kept 8  dropped 2",
        "teacher tokens 5000",
    ):
        assert words in text, words
    assert "step 0" not in text


def test_a_run_that_was_never_looked_at_says_so() -> None:
    assert "not looked at by the operator yet" in _text(picture_of(run_of(run_body()), [], [], START))


def test_the_next_action_fits_the_phase() -> None:
    def action(phase: str, *pods: dict) -> str:
        from igpo_operator.apply.view import pod_of

        return next_action(run_of(run_body(status={"phase": phase})), [pod_of(pod) for pod in pods])

    assert action("Suspended").startswith("kubectl -n team patch lengthalignedsfts tiny")
    assert action("Running", pod_body("p-0", **running())) == "kubectl -n team logs -f p-0 -c trainer"
    assert action("Complete").startswith("nothing")
    assert "another name" in action("Failed")
    assert action("Waiting").startswith("wait")


def test_all_runs_are_one_table() -> None:
    long = STATUS | {"message": "waits " * 100}
    text = _text(table_of([run_of(run_body(status=long)), run_of(run_body("b", uid="b"))], START))
    assert "7/20" in text
    assert "Restarting" in text


def test_a_narrow_terminal_folds_names_and_cuts_nothing_else() -> None:
    written = io.StringIO()
    runs = [run_of(run_body("word-problems-with-a-long-name", status=STATUS))]
    Console(file=written, width=80).print(table_of(runs, START))
    heads, *lines = written.getvalue().splitlines()
    assert heads.split()[:9] == ["namespace", "kind", "name", "phase", "step", "%", "reward", "restarts", "age"]
    assert lines[0].split()[3:8] == ["Restarting", "7/20", "35", "0.25", "0"]
    assert "word-problems-with-a-long-name" in "".join(
        line[len("team       lasft  ") :].split(" ")[0] for line in lines
    )


def test_ages_are_written_as_kubectl_does() -> None:
    ages = [age(START, START + timedelta(seconds=s)) for s in (-1, 42, 420, 10_800, 432_000)]
    assert ages == ["0s", "42s", "7m", "3h", "5d"]
