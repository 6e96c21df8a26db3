from speed.clock import peaks

PROGRAM = """
import sys
sys.path.insert(0, {folder!r})
from speed.clock import print_peak

print_peak(lambda: len(b"x" * int(sys.argv[-1])))
"""


def test_the_peak_of_an_arm_is_its_own_not_that_of_the_process_that_started_it(tmp_path, pytestconfig):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(folder=str(pytestconfig.rootpath / "benchmarks")))
    mib = 2**20
    ballast = b"x" * (256 * mib)
    found = peaks([str(16 * mib), str(64 * mib)], [str(program)])
    assert ballast
    for arm, took in found.items():
        assert abs(took["above"] - int(arm)) < 4 * mib, "the kernel counts pages in batches"
        assert took["above"] < took["process"]
