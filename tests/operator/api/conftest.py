"""Makes `mutants` importable: random manifests, and ways to break them."""

import sys
from pathlib import Path

import pytest

from igpo_cluster.waiting import until
from igpo_operator.api.kinds import KINDS

sys.path.insert(0, str(Path(__file__).parent / "support"))

CRDS = Path(__file__).parents[3] / "crds"


@pytest.fixture(scope="session")
def api(control_plane):
    """The API server with our CRDs, and a namespace nothing is stored in."""
    from mutants.apiserver import ApiServer

    control_plane.apply_crds(CRDS)
    # kubectl asks for the list of resources less often than it changes here.
    listed = ("api-resources", "--api-group=igpo.dev", "--cached=false", "-o", "name")
    until(lambda: len(control_plane.kubectl(*listed).split()) == len(KINDS), "both kinds to be listed")
    return ApiServer(control_plane)
