import xml.etree.ElementTree as ET

import numpy as np
import pytest
from arm_runs.measured import Measured
from demo_arms.chart import all_wrong_svg
from demo_arms.plan import ARMS
from demo_arms.scores import Arm, bars, lead

PROBLEMS = 200


def measured(step, share, all_wrong):
    """Problems of which `all_wrong` have no right sample, and the others so many that the mean is `share`."""
    solved = round(PROBLEMS * (1 - all_wrong))
    score_P = np.zeros(PROBLEMS)
    score_P[:solved] = share * PROBLEMS / solved
    return Measured(step, 0, score_P)


def arm(name, end=0.4, end_wrong=0.3, curve=((1, 0.5), (2, 0.25))):
    start, finish = measured(0, 0.1, 0.6), measured(40, end, end_wrong)
    return Arm(name, 0, start, finish, start, finish, 3, 9, 640, 12.5, curve)


def seed(igpo=0.4, resample=0.25, igpo_wrong=0.3):
    return {"IGPO": arm("IGPO", igpo, igpo_wrong), "Resample": arm("Resample", resample), "GRPO": arm("GRPO", 0.2)}


def test_a_lead_is_paired_by_problem():
    generator = np.random.default_rng(0)
    base_P = generator.random(PROBLEMS)
    one, other = arm("IGPO"), arm("Resample")
    object.__setattr__(one, "sampled_end", Measured(40, 0, base_P + 0.125))
    object.__setattr__(other, "sampled_end", Measured(40, 0, base_P))
    found = lead(one, other)
    assert found.mean == pytest.approx(0.125)
    assert (found.low, found.high) == pytest.approx((0.125, 0.125))  # unpaired intervals would be ± 0.06


def test_both_promises_are_kept_when_every_seed_keeps_them():
    assert [bar.passed for bar in bars([seed(), seed(), seed()])] == [True, True]


def test_one_seed_below_ten_points_breaks_the_first_promise():
    first, second = bars([seed(), seed(igpo=0.34), seed()])
    assert (first.passed, second.passed) == (False, True)
    assert first.found.startswith("2 of 3: +15.0, +9.0, +15.0")


def test_one_seed_whose_all_wrong_share_hardly_falls_breaks_the_second_promise():
    first, second = bars([seed(), seed(), seed(igpo_wrong=0.45)])
    assert (first.passed, second.passed) == (True, False)
    assert second.found == "2 of 3: 50 %, 50 %, 25 %"


def test_the_chart_is_xml_with_one_curve_an_arm_at_the_mean_of_the_seeds():
    low = {name: arm(name, curve=((1, 0.2), (2, 0.2), (3, 0.2))) for name in ARMS}
    high = {name: arm(name, curve=((1, 0.6), (2, 0.6), (3, 0.6))) for name in ARMS}
    svg = ET.fromstring(all_wrong_svg([low, high]))
    titles = [element.text for element in svg.iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == 3 * 3
    assert all("40.0 %" in title for title in titles)
