import json

from igpo_trainer.observe.summary import Summary, summarise, write_summary


def test_a_summary_has_the_runs_first_and_last_figures(records):
    steps = [r for r in records if r.event == "step"]
    summary = summarise(records)
    assert (summary.accuracy_start, summary.accuracy_end) == (0.31, 0.31 + 0.27)
    assert (summary.all_wrong_start, summary.all_wrong_end) == (0.42, 0.42 - 0.22)
    assert summary.heldout_problems == 256
    assert summary.rescued_groups == sum(r.rescue.rescued for r in steps)
    assert summary.replaced_completions == sum(r.replaced for r in steps)
    assert (summary.steps, summary.planned_steps, summary.seed) == (40, 40, 3)
    assert summary.seconds == sum(r.time.seconds for r in records)
    assert (summary.accuracy_best, summary.best_step) == (0.31 + 0.27, 40)


def test_summary_json_has_the_promised_keys(run_dir):
    summary = write_summary(run_dir)
    written = json.loads((run_dir / "summary.json").read_text())
    assert written == summary.model_dump()
    assert written.keys() >= {
        "accuracy_start", "accuracy_end", "all_wrong_start", "all_wrong_end", "heldout_problems",
        "rescued_groups", "replaced_completions", "steps", "seconds", "seed",
    }  # fmt: skip


def test_an_empty_journal_is_summarised_as_unknown():
    assert summarise([]) == Summary()
    assert summarise([]).accuracy_start is None


def test_a_run_without_evaluation_has_no_accuracy(make):
    summary = summarise([make.start(), make.step(1)])
    assert summary.accuracy_end is None
    assert summary.all_wrong_end is None
    assert summary.steps == 1


def test_accuracy_follows_the_first_hold_out_set_and_all_wrong_the_widest(make):
    greedy = {"samples": 1, "temperature": 0.0, "all_wrong": None, "pass_at_k": None}
    summary = summarise(
        [
            make.evaluation(0, dataset="openai/gsm8k", accuracy=0.9, all_wrong=0.0),
            make.evaluation(0, accuracy=0.2, **greedy),
            make.evaluation(0, accuracy=0.1, all_wrong=0.6),
            make.step(1),
            make.evaluation(1, accuracy=0.4, **greedy),
            make.evaluation(1, accuracy=0.3, all_wrong=0.3),
        ]
    )
    assert (summary.accuracy_start, summary.accuracy_end) == (0.2, 0.4)
    assert (summary.all_wrong_start, summary.all_wrong_end) == (0.6, 0.3)


def test_the_earliest_of_equally_good_steps_is_the_best(make):
    summary = summarise([make.evaluation(step, accuracy=0.5) for step in (0, 10, 20)])
    assert (summary.accuracy_best, summary.best_step) == (0.5, 0)


def test_an_sft_run_has_losses_and_no_rescue(make):
    summary = summarise(make.sft_records())
    assert summary.loss_start > summary.loss_end
    assert summary.rescued_groups is None
    assert summary.all_wrong_start is None
