"""Makes `mutants` importable: random manifests, and ways to break them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))

CRDS = Path(__file__).parents[3] / "crds"


@pytest.fixture(scope="session")
def api(control_plane):
    """The API server with our CRDs, and a namespace nothing is stored in."""
    from mutants.apiserver import ApiServer

    control_plane.apply_crds(CRDS)
    return ApiServer(control_plane)
