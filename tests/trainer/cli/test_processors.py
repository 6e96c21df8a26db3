import os

import pytest

from igpo_trainer.cli.processors import usable_processors


@pytest.fixture
def sixteen(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))


@pytest.mark.parametrize(("text", "count"), [("max 100000", 16), ("800000 100000", 8), ("50000 100000", 1)])
def test_the_limit_of_version_2_counts(sixteen, tmp_path, text, count):
    (tmp_path / "cpu.max").write_text(text + "\n")
    assert usable_processors(tmp_path) == count


@pytest.mark.parametrize(("quota", "count"), [("-1", 16), ("250000", 2), ("9900000", 16)])
def test_the_limit_of_version_1_counts(sixteen, tmp_path, quota, count):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota + "\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert usable_processors(tmp_path) == count


def test_without_cgroups_affinity_alone_counts(sixteen, tmp_path):
    assert usable_processors(tmp_path) == 16


def test_this_machine_has_at_least_one():
    assert 1 <= usable_processors() <= os.cpu_count()
