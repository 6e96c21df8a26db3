import pytest

from igpo_trainer.spec.contract import MAX_NAME_LENGTH

RL = """\
apiVersion: igpo.dev/v1alpha1
kind: IGPOTraining
metadata:
  name: {name}
spec:
  model: {model}
  dataset: {{source: "builtin:word-problems", maxPromptTokens: 64}}
  sampling: {{completionLength: {length}, steps: 8, blockLength: 8}}
"""


def rl(name="a"):
    return RL.format(name=name, model="{scratch: {}}", length=32)


def test_cluster_fields_are_kept_but_not_the_trainers_business(load):
    extra = (
        "  image: 5\n  storage: {anything: true}\n  runPolicy: {}\n  managedBy: x\n  workers: {replicas: 2, env: []}\n"
    )
    [document] = load(rl() + extra)
    assert document.spec.workers.replicas == 2
    assert document.raw["spec"]["storage"] == {"anything": True}


def test_a_status_written_by_the_operator_is_ignored(load):
    [document] = load(rl() + "status: {phase: Running, anything: [1]}\n")
    assert document.name == "a"


def test_other_metadata_is_allowed(load):
    [document] = load(rl().replace("metadata:\n", "metadata:\n  uid: x\n  labels: {a: b}\n  generation: 2\n"))
    assert document.namespace is None


def test_a_field_left_empty_has_its_default(load):
    [document] = load(rl() + "  seed:\n  hints:\n    chunkTokens: ~\n")
    assert (document.spec.seed, document.spec.hints.chunk_tokens.min) == (0, 5)


def test_a_whole_number_may_be_written_as_a_float(load):
    [document] = load(rl() + "  steps: 1e2\n  groupSize: 8.0\n  seed: 0x10\n")
    assert (document.spec.steps, document.spec.group_size, document.spec.seed) == (100, 8, 16)


BAD_DOCUMENTS = {
    "text": (
        "hello\n",
        'run.yaml:1: the document is "hello", not an object; start it with apiVersion: igpo.dev/v1alpha1',
    ),
    "another version": (
        rl().replace("v1alpha1", "v1"),
        'run.yaml:1: apiVersion "igpo.dev/v1" is not igpo.dev/v1alpha1; set igpo.dev/v1alpha1',
    ),
    "no version": (
        rl().replace("apiVersion: igpo.dev/v1alpha1\n", ""),
        "run.yaml:1: apiVersion is missing; add apiVersion: igpo.dev/v1alpha1",
    ),
    "another kind": (
        rl().replace("IGPOTraining", "IGPOTrainning"),
        'run.yaml:2: kind "IGPOTrainning" is none of LengthAlignedSFT, IGPOTraining; did you mean IGPOTraining?',
    ),
    "no kind": (
        rl().replace("kind: IGPOTraining\n", ""),
        "run.yaml:1: kind is missing; add one of LengthAlignedSFT, IGPOTraining",
    ),
    "another top field": (rl() + "specs: {}\n", "run.yaml:9: specs is not a field; did you mean spec?"),
    "no metadata": (
        rl().replace("metadata:\n  name: a\n", ""),
        "run.yaml:1: metadata is not an object; add metadata: {name: …}",
    ),
    "no name": (rl().replace("name: a", "label: a"), "run.yaml:3: metadata.name is missing; add a name"),
    "no DNS label": (
        rl("My_Run"),
        'run.yaml:4: metadata.name "My_Run" is not a DNS label; use lower-case letters, digits and -, with a letter or '
        "digit at both ends",
    ),
    "a line break in the name": (
        rl(r'"a\n"'),
        r'run.yaml:4: metadata.name "a\n" is not a DNS label; use lower-case letters, digits and -, with a letter or '
        "digit at both ends",
    ),
    "a number as name": (
        rl("12"),
        "run.yaml:4: metadata.name 12 is not a DNS label; use lower-case letters, digits and -, with a letter or "
        "digit at both ends, in quotes",
    ),
    "a long name": (
        rl("a" * 48),
        f'run.yaml:4: metadata.name "{"a" * 48}" has 48 characters, the limit is 47; shorten it',
    ),
    "a bad namespace": (
        rl().replace("name: a", "name: a\n  namespace: A"),
        'run.yaml:5: metadata.namespace "A" is not a DNS label; use lower-case letters, digits and -, with a letter or '
        "digit at both ends",
    ),
    "no spec": (
        rl().partition("spec:")[0],
        "run.yaml:1: spec is missing; add spec with at least model and dataset",
    ),
    "a spec that is a list": (
        rl().partition("spec:")[0] + "spec: [1]\n",
        "run.yaml:5: spec [1] is not an object; write its fields",
    ),
}


@pytest.mark.parametrize(("document", "problem"), BAD_DOCUMENTS.values(), ids=BAD_DOCUMENTS.keys())
def test_a_bad_document_is_one_line_with_its_remedy(problems, document, problem):
    assert problems(document) == [problem]


def test_the_longest_generated_name_is_a_dns_label(load):
    name = "a" * MAX_NAME_LENGTH
    [document] = load(
        rl(name).replace("IGPOTraining", "LengthAlignedSFT") + "  training: {steps: 1}\n  length: {target: 32}\n"
    )
    assert len(f"{document.name}-lasft-a999-9999") == 63
