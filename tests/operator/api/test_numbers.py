"""The loader at a desk reads the scalars of YAML exactly as kubectl and the API server do."""

import json
import random
import re
import subprocess
from typing import Any

import pytest

from igpo_cluster import programs
from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.yaml_document import read_documents

# Not among them: .inf and .nan, over which kubectl itself stumbles, with the whole file.
SPELLED = """
5e-7 5E-7 1_000 0x10 0X1f 1e3 .5 5. 08 010 0o17 0b101 1.0 -1 +1 +0x10 -0x10 1e400 -.5 +.5 1__0 _1 1_ 0_8 0.1e-3 1e+3
12e03 00 0 -0 0.0 -0.0 1.5e300 9223372036854775807 9223372036854775808 18446744073709551615 18446744073709551616 1e19
1e-400 yes no on off true True TRUE y n null ~ 1:30 0x 0b2 0o8 1e 1e-5_0 1,000 5e-07 4.9e-324 2.5 256.0
0.30000000000000004 123456789012345678 1.7976931348623157e308 1e2 0b-1 0.1_5 1.0e0 '5' "1e3" 1d3 Infinity NaN 0x1p3 ٣ ½
"""
ALPHABET = "0123456789+-._eExXoObB"


def random_spellings(count: int) -> list[str]:
    rng = random.Random(1)
    shapes = [lambda: "".join(rng.choices(ALPHABET, k=rng.randint(1, 7))), lambda: repr(rng.lognormvariate(0, 20))]
    texts = [rng.choice(shapes)() for _ in range(count)]
    # These begin another YAML construct (a list, a document) and are no scalars.
    return [text for text in texts if not re.match(r"-+$|\.\.\.$|---", text)]


def document(index: int, spelling: str) -> str:
    return (
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: s{index}}}\n---\n"
        "apiVersion: igpo.dev/v1alpha1\nkind: IGPOTraining\n"
        f"metadata: {{name: n{index}}}\nspec:\n  model: {{source: x}}\n  dataset: {{source: x}}\n"
        f"  rewards:\n    custom:\n      value: {spelling}\n"
    )


@pytest.fixture(scope="module")
def read_back(control_plane, api):
    """What kubectl and the API server make of each spelling; absent: refused."""
    spellings = list(dict.fromkeys([*SPELLED.split(), *random_spellings(250)]))
    documents = "---\n".join(document(index, spelling) for index, spelling in enumerate(spellings))
    # A document that is refused does not stop the others; the ConfigMaps keep the answer a List.
    kubectl = [str(programs.locate("kubectl")), f"--kubeconfig={control_plane.kubeconfig}"]
    done = subprocess.run(
        [*kubectl, "create", "--dry-run=server", "-o", "json", "-f", "-"],
        input=documents, capture_output=True, text=True, check=False, timeout=110,
    )  # fmt: skip
    values: dict[str, Any] = {}
    for item in objects(done.stdout):
        custom = item.get("spec", {}).get("rewards", {}).get("custom", {})
        if "value" in custom:  # the API server leaves null out
            values[spellings[int(item["metadata"]["name"][1:])]] = custom["value"]
    assert len(values) > 50, done.stderr
    return spellings, values


def objects(text: str) -> list[dict[str, Any]]:
    """The JSON documents of a stream, lists opened."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        found += value["items"] if value["kind"].endswith("List") else [value]
        at += len(text[at:]) - len(text[at:].lstrip())
    return found


def test_the_loader_reads_the_numbers_that_the_api_server_reads(read_back, tmp_path):
    spellings, stored = read_back
    for spelling in spellings:
        path = tmp_path / "run.yaml"
        path.write_text(document(0, spelling), encoding="utf-8")
        try:
            ours = read_documents(path)[1].value["spec"]["rewards"]["custom"]["value"]
        except InvalidRunError:
            ours = None
        is_number = isinstance(ours, int | float) and not isinstance(ours, bool)
        assert is_number == (spelling in stored), (spelling, ours, stored.get(spelling))
        if is_number:
            assert float(ours) == float(stored[spelling]), (spelling, ours, stored[spelling])


def test_spellings_that_people_trip_over_are_among_them(read_back):
    _, stored = read_back
    assert stored["5e-7"] == 5e-7
    assert stored["1_000"] == 1000
    assert stored["0x10"] == 16
    assert stored[".5"] == 0.5
    assert {"08", "1:30", "yes", "1,000", "'5'"}.isdisjoint(stored) or stored["08"] == 8
