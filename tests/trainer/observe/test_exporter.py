import json
import math
import shutil
import subprocess
import threading
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from igpo_trainer.observe.catalogue import METRICS
from igpo_trainer.observe.exporter import Exporter, RunIdentity
from igpo_trainer.observe.records import CheckpointRecord, DataRecord, Phase, Split, State, Time
from igpo_trainer.spec.contract import CheckpointStatus, RewriteStatus, TrainerStatus
from igpo_trainer.spec.errors import RunError

RL = RunIdentity(kind="IGPOTraining", name="gsm8k", algorithm="IGPO", seed=3, planned_steps=40, run_id="u1", attempt=2)
SFT = RunIdentity(kind="LengthAlignedSFT", name="gsm8k", planned_steps=60)


@pytest.fixture
def exporter():
    exporter = Exporter(RL)
    yield exporter
    exporter.close()


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.read().decode(), answer.headers


def values(exporter):
    """{(name, frozenset of labels): value} of /metrics."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exporter.metrics().decode())
        for sample in family.samples
    }


def value(exporter, name, **labels):
    return values(exporter).get((name, frozenset(labels.items())))


def test_a_step_is_served_over_http_with_its_numbers(exporter, make):
    record = make.step(7)
    port = exporter.serve(0, "127.0.0.1")
    exporter.publish(record)
    text, headers = get(port, "/metrics")
    assert headers["Content-Type"].startswith("text/plain; version=")
    assert f"igpo_trainer_step {record.step}.0" in text.splitlines()
    assert f'igpo_reward_mean{{reward="total"}} {record.reward_mean["total"]}' in text.splitlines()
    groups = record.groups_initial
    assert value(exporter, "igpo_step_groups_ratio", stage="initial", outcome="all_wrong") == groups.all_wrong / 16
    assert value(exporter, "igpo_step_groups_ratio", stage="final", outcome="all_wrong") == (
        record.groups_final.all_wrong / 16
    )
    assert value(exporter, "igpo_groups_total", stage="initial", outcome="mixed") == groups.mixed
    assert value(exporter, "igpo_token_entropy_nats", token="hint") == record.entropy.hint
    assert value(exporter, "igpo_token_entropy_nats", token="generated") == record.entropy.generated
    assert value(exporter, "igpo_rescue_attempts_total", result="rescued") == record.rescue.rescued
    assert value(exporter, "igpo_replaced_completions_total") == record.replaced
    assert value(exporter, "igpo_trainer_updates_total") == 4
    assert value(exporter, "igpo_trainer_phase_duration_seconds_sum", phase="update") == 1.1
    lengths = record.completion_lengths
    assert value(exporter, "igpo_completion_length_tokens_count") == 128
    assert value(exporter, "igpo_completion_length_tokens_sum") == sum(n * count for n, count in lengths.items())
    below = sum(count for n, count in lengths.items() if n <= 32)
    assert value(exporter, "igpo_completion_length_tokens_bucket", le="32.0") == below
    assert value(exporter, "igpo_trainer_rank_step_duration_seconds", rank="0") == record.time.seconds


def test_counters_add_up_over_steps_and_gauges_show_the_last(exporter, make):
    steps = [make.step(step) for step in (1, 2, 3)]
    for record in steps:
        exporter.publish(record)
    assert value(exporter, "igpo_replaced_completions_total") == sum(r.replaced for r in steps)
    assert value(exporter, "igpo_trainer_tokens_total", token="generated") == sum(r.tokens.generated for r in steps)
    assert value(exporter, "igpo_trainer_loss") == steps[-1].loss


def test_known_counters_start_at_zero(exporter):
    for name, labels in (
        ("igpo_trainer_skipped_updates_total", {"reason": "nonfinite"}),
        ("igpo_groups_total", {"stage": "final", "outcome": "all_wrong"}),
        ("igpo_completions_total", {"stage": "initial", "verdict": "unjudged"}),
        ("igpo_rescue_attempts_total", {"result": "rescued"}),
        ("igpo_hint_tokens_total", {"state": "filtered"}),
        ("igpo_reward_errors_total", {"reward": "correctness"}),
        ("igpo_unjudged_completions_total", {"reason": "deadline"}),
        ("igpo_trainer_out_of_memory_total", {"phase": "rollout"}),
        ("igpo_trainer_checkpoint_failures_total", {}),
        ("igpo_trainer_progress_total", {}),
        ("igpo_trainer_phase_duration_seconds_count", {"phase": "rollout"}),
    ):
        assert value(exporter, name, **labels) == 0.0, name


def test_a_custom_reward_has_its_error_counter_from_the_start():
    exporter = Exporter(RunIdentity(kind="IGPOTraining", name="x", rewards=("correctness", "brevity")))
    assert value(exporter, "igpo_reward_errors_total", reward="brevity") == 0.0


def test_what_was_not_measured_is_absent_and_not_zero(exporter, make):
    names = {name for name, _ in values(exporter)}
    assert not {"igpo_reward_mean", "igpo_trainer_loss", "igpo_kl_divergence_nats", "igpo_eval_accuracy_ratio"} & names
    exporter.publish(make.step(1, kl=None, hint_ratio=None, entropy=Split(generated=0.5), grad_norm=math.inf))
    assert value(exporter, "igpo_token_entropy_nats", token="generated") == 0.5
    assert value(exporter, "igpo_token_entropy_nats", token="hint") is None
    names = {name for name, _ in values(exporter)}
    assert not {"igpo_kl_divergence_nats", "igpo_hint_length_ratio", "igpo_trainer_gradient_norm"} & names


def test_a_series_goes_when_its_value_goes(exporter, make):
    exporter.publish(make.step(1))
    assert value(exporter, "igpo_token_entropy_nats", token="hint") is not None
    assert exporter.status().metrics["entropy_hint"] > 0
    exporter.publish(make.step(2, entropy=Split(generated=0.5)))
    assert value(exporter, "igpo_token_entropy_nats", token="hint") is None
    assert "entropy_hint" not in exporter.status().metrics


def test_state_is_one_hot(exporter):
    exporter.state(State.RESCUE)
    states = {labels: v for (name, labels), v in values(exporter).items() if name == "igpo_trainer_state"}
    assert len(states) == len(State)
    assert [dict(labels)["state"] for labels, v in states.items() if v == 1.0] == ["rescue"]


def test_status_has_the_contracts_form(exporter, make):
    port = exporter.serve(0, "127.0.0.1")
    exporter.state(State.ROLLOUT)
    exporter.progress(5)
    exporter.publish(make.evaluation(0))
    exporter.publish(make.step(10, loss=math.nan))
    exporter.checkpoint(
        CheckpointStatus(step=10, path="checkpoints/step-10", digest="ab"),
        CheckpointStatus(step=5, path="checkpoints/step-5", digest="cd"),
    )
    body, headers = get(port, "/status")
    assert headers["Content-Type"] == "application/json"
    status = TrainerStatus.model_validate_json(body)
    assert (status.stage, status.step, status.planned_steps, status.attempt, status.run_id) == (
        "rollout",
        10,
        40,
        2,
        "u1",
    )
    assert status.progress == 5
    assert (status.checkpoint.digest, status.best.digest) == ("ab", "cd")
    assert status.non_finite == ["loss"]
    assert status.eta_seconds == pytest.approx(30 * make.step(10).time.seconds)
    assert status.metrics["accuracy"] == 0.31
    assert status.metrics["all_wrong_initial"] == make.step(10).groups_initial.all_wrong_ratio
    assert "loss" not in status.metrics
    assert json.loads(body)["metrics"].keys() >= {"reward", "entropy_hint", "entropy_generated"}


def test_the_accuracy_of_status_is_that_which_chooses_the_best_checkpoint(exporter, make):
    greedy = {"samples": 1, "temperature": 0.0, "all_wrong": None}
    exporter.publish(make.evaluation(0, accuracy=0.3, **greedy))
    exporter.publish(make.evaluation(0, accuracy=0.2, all_wrong=0.4))
    assert exporter.status().metrics == {"accuracy": 0.3, "heldout_all_wrong": 0.4}
    exporter.publish(make.evaluation(20, accuracy=0.8, **greedy))
    exporter.publish(make.evaluation(20, accuracy=0.7, all_wrong=0.1))
    assert exporter.status().metrics == {"accuracy": 0.8, "heldout_all_wrong": 0.1}


def test_healthz_answers_and_other_paths_are_404(exporter):
    port = exporter.serve(0, "127.0.0.1")
    assert get(port, "/healthz")[0] == "ok\n"
    with pytest.raises(urllib.error.HTTPError, match="404") as raised:
        get(port, "/etc/passwd")
    raised.value.close()


def test_openmetrics_is_served_to_those_who_ask(exporter):
    port = exporter.serve(0, "127.0.0.1")
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        assert answer.read().endswith(b"# EOF\n")


def test_a_resumed_run_restores_gauges_but_no_counter(exporter, records):
    exporter.resumed([r for r in records if r.step <= 20])
    assert value(exporter, "igpo_trainer_step") == 20
    assert value(exporter, "igpo_eval_last_step", dataset="holdout", samples="8", temperature="1.2") == 20
    assert value(exporter, "igpo_trainer_last_checkpoint_step") == 20
    assert value(exporter, "igpo_trainer_updates_total") == 0
    assert value(exporter, "igpo_completion_length_tokens_count") == 0
    assert exporter.status().step == 20


def test_events_outside_of_records_are_counted(exporter):
    exporter.skipped_update("nonfinite")
    exporter.out_of_memory(Phase.ROLLOUT)
    exporter.checkpoint_failed()
    exporter.publish(CheckpointRecord(step=3, name="step-3", time=Time(at=50.0, seconds=2.0)))
    assert value(exporter, "igpo_trainer_skipped_updates_total", reason="nonfinite") == 1
    assert value(exporter, "igpo_trainer_out_of_memory_total", phase="rollout") == 1
    assert value(exporter, "igpo_trainer_checkpoint_failures_total") == 1
    assert value(exporter, "igpo_trainer_checkpoints_total") == 1
    assert value(exporter, "igpo_trainer_last_checkpoint_timestamp_seconds") == 50.0
    assert value(exporter, "igpo_trainer_phase_duration_seconds_sum", phase="checkpoint") == 2.0


def test_an_sft_run_has_its_own_metrics_and_none_of_rl(make):
    exporter = Exporter(SFT)
    for record in make.sft_records():
        exporter.publish(record)
    assert value(exporter, "igpo_sft_length_deviation_tokens") == 35.0 - 64
    assert value(exporter, "igpo_sft_examples_total", result="rewritten") == 1200
    assert value(exporter, "igpo_sft_examples_total", result="kept") == 2300
    assert value(exporter, "igpo_sft_examples_total", result="dropped") == 320
    assert value(exporter, "igpo_trainer_updates_total") == 60
    assert value(exporter, "igpo_sft_loss", split="eval") == pytest.approx(4 * math.exp(-2))
    assert not {name for name, _ in values(exporter) if name.startswith(("igpo_reward", "igpo_groups", "igpo_hint"))}


def test_a_finished_rewrite_has_its_lengths_and_reasons(make):
    exporter = Exporter(SFT)
    exporter.publish(make.rewrite_record())
    assert value(exporter, "igpo_sft_kept_rewrites") == 70
    assert value(exporter, "igpo_sft_teacher_tokens") == 54_000
    assert value(exporter, "igpo_sft_dropped_rewrites_total", reason="rewrite with a wrong answer") == 10
    assert value(exporter, "igpo_sft_rewrite_length_tokens_count", stage="original") == 100
    assert value(exporter, "igpo_sft_rewrite_length_tokens_sum", stage="kept") == 30 * 20 + 40 * 40


def test_a_rewrite_that_goes_on_is_in_status_and_metrics():
    exporter = Exporter(SFT)
    for status in (
        RewriteStatus(rows=100, done=30, cached=20, kept=9, tokens=700, requests=12, retries=2),
        RewriteStatus(rows=100, done=50, cached=20, kept=25, tokens=900, requests=34, retries=4, token_budget=5000),
    ):
        exporter.rewriting(status)
        assert exporter.status().rewrite == status
    assert value(exporter, "igpo_sft_rewrite_rows") == 100
    assert value(exporter, "igpo_sft_rewrite_done_rows", source="teacher") == 30
    assert value(exporter, "igpo_sft_rewrite_done_rows", source="cache") == 20
    assert value(exporter, "igpo_sft_kept_rewrites") == 25
    assert value(exporter, "igpo_sft_teacher_tokens") == 900
    assert value(exporter, "igpo_sft_teacher_token_budget") == 5000
    assert value(exporter, "igpo_sft_teacher_requests_total", attempt="first") == 30
    assert value(exporter, "igpo_sft_teacher_requests_total", attempt="repeated") == 4


def test_a_data_record_of_an_rl_run_adds_no_sft_series(exporter):
    exporter.publish(DataRecord(problems=5, target_length=64, time=Time(at=1.0)))
    assert not {name for name, _ in values(exporter) if name.startswith("igpo_sft")}


def test_every_exported_series_is_in_the_catalogue_with_its_labels(make):
    for run, journal in ((RL, make.rl_records()), (SFT, make.sft_records())):
        exporter = Exporter(run)
        for record in journal:
            exporter.publish(record)
        for family in text_string_to_metric_families(exporter.metrics().decode()):
            if family.name.startswith("process_"):
                continue
            metric = METRICS.get(family.name) or METRICS[f"{family.name}_total"]
            for sample in family.samples:
                assert set(sample.labels) - {"le"} == set(metric.label_names), sample.name
            assert family.documentation == metric.help


def lint(text):
    """What promtool would say about names, by its rules, for machines that lack it."""
    complaints = []
    for family in text_string_to_metric_families(text):
        name, kind = family.name, family.type
        if not family.documentation:
            complaints.append(f"{name} no help text")
        if kind != "counter" and name.endswith("_total"):
            complaints.append(f"{name} non-counter metrics should not have '_total' suffix")
        if kind not in ("histogram", "summary") and name.endswith(("_bucket", "_count", "_sum")):
            complaints.append(f"{name} reserved suffix")
        if any(f"_{word}" in name for word in ("gauge", "counter", "histogram", "summary")):
            complaints.append(f"{name} metric name should not include type")
        if any(
            name.endswith(f"_{unit}") for unit in ("ms", "milliseconds", "minutes", "hours", "kilobytes", "percent")
        ):
            complaints.append(f"{name} use base unit")
        if name != name.lower() or ":" in name:
            complaints.append(f"{name} not snake case")
    for line in text.splitlines():
        if line.startswith("# TYPE ") and line.endswith(" counter") and not line.split()[2].endswith("_total"):
            complaints.append(f"{line} counter metrics should have '_total' suffix")
    return complaints


@pytest.mark.parametrize("run", [RL, SFT], ids=["rl", "sft"])
def test_the_output_is_clean_under_promtool(make, run):
    exporter = Exporter(run)
    for record in make.rl_records() if run is RL else make.sft_records():
        exporter.publish(record)
    text = exporter.metrics()
    assert lint(text.decode()) == []
    promtool = shutil.which("promtool")
    if promtool is not None:
        done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, timeout=60, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_pure_check_finds_bad_names():
    bad = "# HELP x_total y\n# TYPE x_total gauge\nx_total 1\n# HELP t_ms y\n# TYPE t_ms gauge\nt_ms 1\n"
    assert len(lint(bad)) == 2


def test_a_busy_port_moves_on_at_a_desk_and_says_so(exporter, caplog):
    first = exporter.serve(0, "127.0.0.1")
    other = Exporter(RL)
    second = other.serve(first, "127.0.0.1", next_free=True)
    assert second > first
    assert f"port {first} is taken; /metrics is on port {second}" in caplog.text
    assert get(second, "/healthz")[0] == "ok\n"
    other.close()


def test_a_busy_port_is_an_error_in_a_pod(exporter):
    port = exporter.serve(0, "127.0.0.1")
    with pytest.raises(RunError, match=rf"cannot listen on 127\.0\.0\.1:{port}: taken; free the port"):
        Exporter(RL).serve(port, "127.0.0.1")


def test_an_address_of_another_machine_is_an_error_with_the_address():
    with pytest.raises(RunError, match=r"cannot listen on 192\.0\.2\.1:0 \(.+\); check the address"):
        Exporter(RL).serve(0, "192.0.2.1")


def test_it_lingers_until_told_to_hurry_and_then_the_port_is_free(make):
    exporter = Exporter(RL)
    port = exporter.serve(0, "127.0.0.1")
    exporter.publish(make.step(40))
    hurry = threading.Event()
    closing = threading.Thread(target=exporter.close, args=(300.0, hurry.wait))
    closing.start()
    assert "igpo_trainer_step 40.0" in get(port, "/metrics")[0]
    hurry.set()
    closing.join(timeout=30)
    assert not closing.is_alive()
    next_run = Exporter(RL)
    assert next_run.serve(port, "127.0.0.1") == port
    next_run.close()


def test_closing_without_serving_is_harmless():
    exporter = Exporter(RL)
    exporter.close(linger_seconds=300)
    assert exporter.status().stage == "starting"


def test_updates_from_many_threads_are_not_lost(exporter, make):
    port = exporter.serve(0, "127.0.0.1")
    record = make.step(1)

    def work():
        for _ in range(20):
            exporter.publish(record)
            exporter.progress()
            get(port, "/metrics")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert value(exporter, "igpo_trainer_progress_total") == 80
    assert value(exporter, "igpo_replaced_completions_total") == 80 * record.replaced
    assert exporter.status().progress == 80
