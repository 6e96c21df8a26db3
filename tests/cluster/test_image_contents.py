"""What is in the images of this tree, file by file. Builds them, as root; `make e2e` uses the same ones."""

import re
from fnmatch import fnmatch

import pytest

from igpo_cluster.builder import store
from igpo_cluster.images import ROOT, build_all, reference_of, revision
from igpo_cluster.stored_image import StoredImage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

NAMES = ("operator", "trainer")
BUILD_TOOLS = re.compile(
    r"(usr/(local/)?)?s?bin/([\w-]+-)?(cc|gcc|g\+\+|c\+\+|cpp|clang|clang\+\+|ld|as|make|cmake)(-[\d.]+)?"
)
LEFTOVERS = (
    "*/.cache/pip/*",
    "*/pip/http*",
    "var/cache/apt/archives/*.deb",
    "root/.cache/*",
    "tmp/?*",
    "src/*",
    "build/*",
)
OPERATOR_BYTES = 600e6


@pytest.fixture(scope="module")
def images() -> dict[str, StoredImage]:
    build_all()
    return {name: StoredImage(store(), reference_of(name)) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_nothing_to_build_with_and_nothing_of_the_build_is_left(name: str, images: dict[str, StoredImage]) -> None:
    files = list(images[name].files())
    assert [file for file in files if BUILD_TOOLS.fullmatch(file)] == []
    assert [file for file in files if any(fnmatch(file, pattern) for pattern in LEFTOVERS)] == []


@pytest.mark.parametrize("name", NAMES)
def test_what_an_inventory_of_software_reads_is_there(name: str, images: dict[str, StoredImage]) -> None:
    found = {
        match[1] for file in images[name].files() if (match := re.search(r"/(\w+)-[^/]+\.dist-info/METADATA$", file))
    }
    wanted = {"operator": {"igpo", "kopf", "kubernetes"}, "trainer": {"igpo", "torch", "transformers", "peft"}}
    assert wanted[name] <= found
    assert "var/lib/dpkg/status" in images[name].files()


def test_the_operator_has_no_torch_and_is_small(images: dict[str, StoredImage]) -> None:
    assert not [file for file in images["operator"].files() if "site-packages/torch" in file]
    assert images["operator"].size < OPERATOR_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_the_image_says_what_it_is_and_runs_as_nobody(name: str, images: dict[str, StoredImage]) -> None:
    config = images[name].config
    assert config["User"] == "65532:65532"
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert labels["title"] == f"igpo-{name}"
    assert labels["licenses"] == "Apache-2.0"
    assert labels["revision"] == revision(ROOT)
    assert labels.keys() >= {"description", "version", "source", "base.name"}
