"""`igpo eval`: the loop's own numbers for the same checkpoint, outside of training."""

import json
from pathlib import Path

import pytest

from igpo_trainer.loop.measure import Subject, measure
from igpo_trainer.observe.evaluation_table import evaluation_table
from igpo_trainer.observe.evaluations import read_evaluation
from igpo_trainer.spec.errors import InterruptedRunError, InvalidRunError, RunError

WIDE = {"source": "holdout", "samples": 3, "temperature": 0.7}
SETS = {"evaluation": {"datasets": [{"source": "holdout"}, WIDE]}}


def plain(record):
    """A record as the journal has it, without wall-clock data."""
    return json.loads(record.model_dump_json(exclude={"time", "step"}))


def recorded(desk, folder, step):
    """The first two evaluations of a step in a run's journal."""
    found = [r for r in desk.events(folder, "evaluation") if r["step"] == step][:2]
    return [{name: value for name, value in record.items() if name != "step"} for record in found]


def subject(desk, document, **options):
    (loaded,) = desk.load(desk.root, document)
    return Subject(loaded, desk.root, **options)


def test_the_final_model_gives_the_numbers_of_the_last_evaluation_in_the_loop(desk):
    document = desk.igpo(**SETS)
    folder = desk.train(document)
    again = measure(subject(desk, document, model=folder / "final"))
    assert [plain(record) for record in again] == recorded(desk, folder, 2)
    assert "holdout" in evaluation_table(again)
    assert len(evaluation_table(again).splitlines()) == 3


def test_one_checkpoint_measured_twice_gives_equal_numbers_and_completions(desk, tmp_path):
    document = desk.sft(**SETS)
    desk.train(document)
    runs = [measure(subject(desk, document, out=tmp_path / name)) for name in ("a", "b")]
    assert [plain(record) for record in runs[0]] == [plain(record) for record in runs[1]]
    files = [sorted((tmp_path / name).rglob("*.jsonl")) for name in ("a", "b")]
    assert [path.name for path in files[0]] == ["holdout-1xT0.jsonl", "holdout-3xT0.7.jsonl"]
    for first, second in zip(*files, strict=True):
        assert read_evaluation(first).samples == read_evaluation(second).samples


@pytest.mark.parametrize("lora", [None, {"rank": 2, "alpha": 4.0}])
def test_a_kept_checkpoint_gives_the_numbers_that_training_measured_there_adapters_and_all(desk, lora, tmp_path):
    base = desk.sft("base", training={"steps": 30})
    model = {"from": None, "scratch": base["spec"]["model"]["scratch"], "lora": lora}
    optimizer = {"learningRate": 1.0e-2}
    document = desk.igpo(**SETS, model=model, optimizer=optimizer, checkpoints={"keepLast": 2})
    folder = desk.train(document)
    for step in (1, 2):
        again = measure(subject(desk, document, step=step, out=tmp_path / str(step)))
        assert [plain(record) for record in again] == recorded(desk, folder, step)
        for path in sorted((tmp_path / str(step)).rglob("*.jsonl")):
            in_loop = folder / "evaluations" / path.relative_to(tmp_path / str(step))
            assert read_evaluation(path).samples == read_evaluation(in_loop).samples


def test_step_0_is_the_model_that_the_run_starts_from(desk):
    document = desk.igpo(**SETS, model={"from": None, "scratch": desk.sft()["spec"]["model"]["scratch"]})
    folder = desk.train(document)
    again = measure(subject(desk, document, step=0))
    assert [plain(record) for record in again] == recorded(desk, folder, 0)


def test_best_or_final_of_the_run_is_taken_and_samples_change_when_asked(desk):
    document = desk.sft()
    desk.train(document)
    (record,) = measure(subject(desk, document, change={"samples": 2, "temperature": 1.0}))
    assert (record.samples, record.temperature) == (2, 1.0)


def test_without_a_model_the_remedy_is_named(desk):
    with pytest.raises(InvalidRunError, match="no finished model; run the manifest first"):
        measure(subject(desk, desk.sft("never")))


def test_a_step_that_was_not_kept_is_refused_with_those_that_were(desk):
    document = desk.sft(checkpoints={"keepLast": 2, "keepBest": 0})
    desk.train(document)
    with pytest.raises(InvalidRunError, match="no checkpoint of step 1; kept are 2, 3: name one of these"):
        measure(subject(desk, document, step=1))


def test_a_checkpoint_of_another_manifest_is_refused(desk):
    desk.train(desk.sft())
    with pytest.raises(InvalidRunError, match="holds another run"):
        measure(subject(desk, desk.sft(seed=5), step=3))


def test_a_model_and_a_step_are_two_things(desk):
    with pytest.raises(InvalidRunError, match="--model and --step 1 name two things"):
        measure(subject(desk, desk.sft(), model=desk.root, step=1))


def test_a_causal_model_in_a_file_is_measured_as_the_start_of_a_run_only(desk):
    with pytest.raises(InvalidRunError, match=r"--model tiny\.gguf holds a causal model; .* measure it by --step 0"):
        measure(subject(desk, desk.sft(), model=Path("tiny.gguf")))


def test_an_evaluation_told_to_stop_says_that_nothing_was_changed(desk):
    document = desk.sft()
    desk.train(document)
    with pytest.raises(InterruptedRunError, match="nothing was changed, start the evaluation again"):
        measure(subject(desk, document), should_stop=lambda: True)


def test_a_folder_that_cannot_be_written_is_one_line(desk, tmp_path):
    document = desk.sft()
    desk.train(document)
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(RunError, match=r"taken.*cannot be written .*name another --out"):
        measure(subject(desk, document, out=tmp_path / "taken"))
