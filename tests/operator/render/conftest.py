import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

GOLDEN = runpy.run_path(str(Path(__file__).with_name("golden.py")))


def pytest_generate_tests(metafunc):
    """A test that takes `name` runs for every golden manifest."""
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", GOLDEN["NAMES"])


@pytest.fixture(scope="session")
def golden():
    """The functions of golden.py, which test modules cannot import."""
    return SimpleNamespace(**GOLDEN)
