import re

from igpo_trainer.observe.catalogue import METRICS, RL, SCRAPE_LABELS, SECTIONS, SFT, Type, metrics_of
from igpo_trainer.observe.records import Phase, State


def test_every_metric_is_declared_once():
    assert len(METRICS) == sum(len(section) for section in SECTIONS.values())


def test_names_follow_the_prometheus_conventions():
    for metric in METRICS.values():
        assert re.fullmatch(r"igpo_[a-z0-9_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.type is Type.COUNTER), metric.name
        assert metric.name.endswith("_info") == (metric.type is Type.INFO), metric.name
        assert not re.search(r"_(ms|milliseconds|minutes|percent|kb|mb|gauge|counter|histogram)(_|$)", metric.name)
        assert metric.help.endswith((".", ";")) or metric.help[-1].isalnum()
        assert bool(metric.buckets) == (metric.type is Type.HISTOGRAM), metric.name


def test_no_label_collides_with_one_that_the_scrape_adds():
    assert not {name for metric in METRICS.values() for name in metric.label_names} & SCRAPE_LABELS


def test_every_label_is_open_or_has_known_values():
    assert all(label.open or label.values for metric in METRICS.values() for label in metric.labels)


def test_a_counter_with_closed_labels_stays_below_a_hundred_series():
    for metric in METRICS.values():
        series = 1
        for label in metric.labels:
            series *= max(1, len(label.values))
        assert series < 100, metric.name


def test_each_kind_has_the_missions_numbers_it_can_have():
    rl, sft = ({metric.name for metric in metrics_of(kind)} for kind in (RL, SFT))
    assert {"igpo_reward_mean", "igpo_step_groups_ratio", "igpo_groups_total", "igpo_token_entropy_nats"} <= rl
    assert "igpo_sft_loss" in sft
    assert not {"igpo_reward_mean", "igpo_token_entropy_nats"} & sft


def test_every_phase_is_a_state():
    assert {phase.value for phase in Phase} < {state.value for state in State}
