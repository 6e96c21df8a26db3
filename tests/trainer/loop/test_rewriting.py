"""The stage that rewrites, and the SFT that trains on what it kept, with a real teacher over HTTP."""

import json
from collections import Counter

import pytest

from igpo_teacher.faults import Faults
from igpo_teacher.server import TeacherServer
from igpo_trainer.loop.rewriting import RewriteProgress, rewrite
from igpo_trainer.loop.stop import StopSignal
from igpo_trainer.models.load import load_tokenizer
from igpo_trainer.spec.errors import InvalidDataError, InvalidRunError, RunError
from igpo_trainer.spec.identity import document_hash

CANVAS = {"completionLength": 24, "steps": 6, "blockLength": 8}


@pytest.fixture
def teacher():
    with TeacherServer() as server:
        yield server


def rewriting(desk, teacher, *, rows=60, name="base", **rewrite):
    """A LengthAlignedSFT on verbose traces of up to 41 tokens, most of which do not fit the canvas of 24."""
    steps = [{"steps": steps, "share": 0.25} for steps in (1, 2, 3, 4)]
    return desk.sft(
        name,
        dataset={"wordProblems": {"rows": rows, "style": "Verbose", "difficulties": steps}},
        rewrite={"teacher": {"baseUrl": teacher.base_url, "model": "short"}} | rewrite,
        length={"target": 24},
        sampling=CANVAS,
    )


def carry_out(desk, document, **options):
    (loaded,) = desk.load(desk.root, document)
    return rewrite(loaded, desk.place(), StopSignal(), **options)


def folder_of(desk, name="base"):
    return desk.root / "LengthAlignedSFT" / name / "rewritten"


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_stage_leaves_rows_with_provenance_and_the_lengths_before_and_after(desk, teacher):
    teacher.faults = Faults(wrong=0.1, overlong=0.1)
    progress = RewriteProgress()
    record = carry_out(desk, rewriting(desk, teacher), progress=progress)
    kept, dropped = (rows(folder_of(desk) / name) for name in ("kept.jsonl", "dropped.jsonl"))
    assert (record.rows, record.kept, sum(record.dropped.values())) == (60, len(kept), len(dropped))
    assert record.dropped == Counter(row["reason"] for row in dropped)
    assert set(record.dropped) == {"rewrite with a wrong answer", "rewrite longer than length.target"}
    assert {row["verdict"] for row in kept} == {"right"}
    assert {row["tokens"] for row in kept} == set(record.kept_lengths) == {9, 13, 17, 21}
    assert set(record.original_lengths) == {14, 23, 32, 41}
    assert sum(record.kept_lengths.values()) == len(kept)
    assert record.prompt_tokens + record.completion_tokens == progress.status.tokens > 0
    assert (progress.status.done, progress.status.kept) == (60, len(kept))


def test_a_finished_stage_is_left_alone_and_needs_no_teacher(desk, teacher):
    record = carry_out(desk, rewriting(desk, teacher))
    asked = teacher.asked.total()
    teacher.faults = Faults(refused=1.0)
    progress = RewriteProgress()
    assert carry_out(desk, rewriting(desk, teacher), progress=progress) == record
    assert (progress.status.done, progress.status.cached, progress.status.kept) == (60, 60, record.kept)
    assert teacher.asked.total() == asked


def test_training_takes_the_kept_rewrites_and_its_journal_says_so(desk, teacher):
    teacher.faults = Faults(wrong=0.1)
    document = rewriting(desk, teacher)
    record = carry_out(desk, document)
    run_dir = desk.train(document)
    start, told, data = desk.lines(run_dir)[:3]
    assert (start["event"], told["event"], data["event"]) == ("start", "rewrite", "data")
    assert told["kept"] == data["problems"] == data["rewritten"] == record.kept
    assert data["dropped"] == record.dropped
    assert data["trace_lengths"] == {str(length): count for length, count in record.kept_lengths.items()}
    assert "Trace length before and after" in (report := (run_dir / "report.html").read_text())
    assert "rewrite with a wrong answer" in report
    assert (run_dir / "final").is_dir()


def test_training_without_the_rewrites_says_how_to_get_them(desk, teacher):
    with pytest.raises(InvalidRunError, match=r"holds no finished rewrite of these traces; run `igpo rewrite"):
        desk.train(rewriting(desk, teacher))
    assert not (desk.root / "LengthAlignedSFT").exists()


def test_rewrites_of_other_traces_are_not_trained_on(desk, teacher):
    document = rewriting(desk, teacher)
    carry_out(desk, document)
    path = folder_of(desk) / "result.json"
    path.write_text(path.read_text().replace('"inputs": "', '"inputs": "0'))
    with pytest.raises(InvalidRunError, match="holds no finished rewrite of these traces"):
        desk.train(document)
    asked = teacher.asked.total()
    carry_out(desk, document)
    assert teacher.asked.total() == asked
    desk.train(document)


def test_traces_whose_prompt_is_too_long_cost_nothing_and_are_counted(desk, teacher):
    source = desk.root / "rows.jsonl"
    drawn = [(name, n) for name in ("tom", "ben") for n in range(2, 8)]
    long = " ".join(["he rests now ."] * 12)
    texts = [f"{name} has {n} apples . {long if n == 2 else ''} how many ?" for name, n in drawn]
    traces = [rf"{n} + 0 = {n} so he now has {n} \boxed{{ {n} }}" for _, n in drawn]
    lines = [json.dumps({"question": q, "answer": t}) for q, t in zip(texts, traces, strict=True)]
    source.write_text("\n".join(lines))
    document = rewriting(desk, teacher)
    document["spec"]["dataset"] = {"source": str(source), "maxPromptTokens": 20, "holdout": {"rows": 1}}
    record = carry_out(desk, document)
    overlong = record.dropped["overlong prompt"]
    assert 1 <= overlong <= 2
    assert (record.rows, record.kept, teacher.asked.total()) == (11, 11 - overlong, 11 - overlong)


def test_when_no_rewrite_can_be_kept_the_rows_say_why(desk, teacher):
    teacher.faults = Faults(wrong=0.8, overlong=1.0)
    with pytest.raises(InvalidDataError) as caught:
        carry_out(desk, rewriting(desk, teacher))
    dropped = rows(folder_of(desk) / "dropped.jsonl")
    wrong = sum(row["reason"] == "rewrite with a wrong answer" for row in dropped)
    assert str(caught.value) == (
        f"none of 60 rewrites by short can be kept ({wrong} rewrite with a wrong answer, {60 - wrong} rewrite longer "
        f"than length.target); look at {folder_of(desk) / 'dropped.jsonl'}, then change rewrite.prompt, "
        "rewrite.teacher or length.target"
    )
    assert not (folder_of(desk) / "result.json").exists()
    assert len(rows(folder_of(desk) / "answers.jsonl")) == 60


def test_a_missing_key_is_said_before_anything_is_written(desk, teacher, monkeypatch):
    monkeypatch.delenv("IGPO_TEACHER_API_KEY", raising=False)
    document = rewriting(desk, teacher)
    document["spec"]["rewrite"]["teacher"]["apiKeySecretRef"] = {"name": "teacher", "key": "token"}
    with pytest.raises(InvalidRunError, match=r"\.yaml:\d+: the teacher's key is missing: IGPO_TEACHER_API_KEY"):
        carry_out(desk, document)
    assert not (desk.root / "LengthAlignedSFT").exists()


def test_the_key_in_the_environment_is_the_teachers_and_stays_out_of_every_file(desk, teacher, monkeypatch, capfd):
    teacher.key = "sk-do-not-tell-anybody"
    monkeypatch.setenv("IGPO_TEACHER_API_KEY", teacher.key)
    document = rewriting(desk, teacher)
    carry_out(desk, document)
    desk.train(document)
    written = b"".join(path.read_bytes() for path in desk.root.rglob("*") if path.is_file())
    assert teacher.key.encode() not in written
    assert teacher.key not in "".join(capfd.readouterr())


def test_a_larger_budget_is_the_same_run_and_finds_its_answers(desk, teacher):
    small = rewriting(desk, teacher, tokenBudget=5000)
    with pytest.raises(InvalidRunError, match=r"rewrite\.tokenBudget 5000 is spent: .* raise rewrite\.tokenBudget"):
        carry_out(desk, small)
    on_file = len(rows(folder_of(desk) / "answers.jsonl"))
    large = rewriting(desk, teacher, tokenBudget=10**6)
    assert document_hash(desk.load(desk.root, small)[0]) == document_hash(desk.load(desk.root, large)[0])
    carry_out(desk, large)
    assert 0 < on_file < 60
    assert set(teacher.asked.values()) == {1}


def test_a_model_name_that_was_refused_is_corrected_in_place(desk, teacher):
    wrong = rewriting(desk, teacher)
    wrong["spec"]["rewrite"]["teacher"]["model"] = "shrot"
    with pytest.raises(InvalidRunError, match="knows no model 'shrot'"):
        carry_out(desk, wrong)
    assert carry_out(desk, rewriting(desk, teacher)).kept == 60


def test_another_spec_that_asks_the_same_finds_the_answers_until_one_of_them_was_trained(desk, teacher):
    teacher.faults = Faults(overlong=1.0)
    document = rewriting(desk, teacher)
    document["spec"]["length"] = {"target": 20}
    document["spec"]["sampling"] = {**CANVAS, "completionLength": 20, "blockLength": 10}
    document["spec"]["rewrite"]["prompt"] = "Shorten it."
    with pytest.raises(InvalidDataError, match="none of 60 rewrites"):
        carry_out(desk, document)
    longer = rewriting(desk, teacher, prompt="Shorten it.")
    longer["spec"]["length"] = {"target": 120}
    longer["spec"]["sampling"] = {**CANVAS, "completionLength": 120, "steps": 12, "blockLength": 10}
    longer["spec"]["model"]["scratch"]["maxPositions"] = 160
    record = carry_out(desk, longer)
    assert (record.kept > 0, teacher.asked.total()) == (True, 60)
    desk.train(longer)
    with pytest.raises(InvalidRunError, match="holds another run"):
        carry_out(desk, document)


def test_a_full_disk_is_one_line_with_the_next_action(desk, teacher, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("igpo_trainer.loop.rewriting.write_atomically", full)
    with pytest.raises(RunError, match=r"No space left on device; the teacher's answers so far are kept; make room"):
        carry_out(desk, rewriting(desk, teacher))
    assert len(rows(folder_of(desk) / "answers.jsonl")) == 60


def test_a_rewrite_for_a_run_that_starts_from_another_uses_its_tokenizer(desk, teacher):
    document = rewriting(desk, teacher, name="second")
    document["spec"]["model"] = {"from": {"kind": "LengthAlignedSFT", "name": "base"}, "precision": "FP32"}
    assert carry_out(desk, document).kept == 60
    run_dir = desk.place().from_root / "LengthAlignedSFT" / "base"
    (loaded,) = desk.load(desk.root, document)
    tokenizer = load_tokenizer(loaded.spec.model, from_folder=run_dir / "final")
    assert tokenizer.get_vocab() == load_tokenizer(desk.load(desk.root, desk.sft())[0].spec.model).get_vocab()
