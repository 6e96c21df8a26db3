import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.spec.contract import MAX_NAME_LENGTH, ExitCode
from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.igpo import IGPOTrainingSpec
from igpo_trainer.spec.manifest import ManifestError, dependency_order, load_manifest, source_of
from igpo_trainer.spec.sft import LengthAlignedSFTSpec

FULL = Path(__file__).parent / "fixtures" / "gsm8k.yaml"

SFT = """\
apiVersion: igpo.dev/v1alpha1
kind: LengthAlignedSFT
metadata:
  name: {name}
spec:
  model: {model}
  dataset: {{source: "builtin:word-problems", maxPromptTokens: 64}}
  training: {{steps: 10}}
  length: {{target: {length}}}
  sampling: {{completionLength: {length}, steps: 8, blockLength: 8}}
"""
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
SCRATCH = "{scratch: {}}"


def from_(kind, name):
    return f"{{from: {{kind: {kind}, name: {name}}}}}"


def sft(name="a", model=SCRATCH, length=32):
    return SFT.format(name=name, model=model, length=length)


def rl(name="a", model=SCRATCH, length=32):
    return RL.format(name=name, model=model, length=length)


@pytest.fixture
def load(tmp_path):
    def load_text(*documents):
        path = tmp_path / "run.yaml"
        path.write_text("---\n".join(documents), encoding="utf-8")
        return load_manifest(path)

    return load_text


@pytest.fixture
def problems(load, tmp_path):
    def problems_of(*documents):
        with pytest.raises(ManifestError) as caught:
            load(*documents)
        assert caught.value.exit_code == ExitCode.INVALID_RUN == 64
        assert str(caught.value) == "\n".join(caught.value.problems)
        return [problem.removeprefix(f"{tmp_path}/") for problem in caught.value.problems]

    return problems_of


@pytest.fixture
def spec_problems(problems):
    """Problems of one RL document whose spec is the given YAML; its first line is line 5 of the file."""

    def problems_of(spec, kind="IGPOTraining"):
        head = f"apiVersion: igpo.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: a}}\nspec:\n"
        return problems(head + textwrap.indent(textwrap.dedent(spec), "  "))

    return problems_of


BASE = "model: {source: x}\ndataset: {source: data}\n"


def test_both_kinds_written_out_in_full_load():
    training, alignment = load_manifest(FULL)
    assert (training.kind, training.name, training.namespace, training.line) == ("IGPOTraining", "gsm8k", "rl", 2)
    assert (alignment.kind, alignment.name, alignment.line) == ("LengthAlignedSFT", "gsm8k", 40)
    assert isinstance(training.spec, IGPOTrainingSpec)
    assert isinstance(alignment.spec, LengthAlignedSFTSpec)
    assert training.spec.optimizer.learning_rate == 5e-7
    assert training.spec.sampling.cache == "None"
    assert training.spec.workers.gpus_per_worker == 8
    assert training.spec.seed == 3
    assert alignment.spec.rewrite is not None
    assert alignment.spec.rewrite.teacher.api_key_secret_ref.key == "token"
    assert training.raw["spec"]["storage"]["size"] == "200Gi"


def test_values_of_the_full_example_are_the_defaults():
    training, _ = load_manifest(FULL)
    defaults = IGPOTrainingSpec.model_validate({"model": {"source": "x"}, "dataset": {"source": "y"}})
    given = ("model", "dataset", "prompt", "evaluation", "seed", "workers")
    assert training.spec.model_dump(exclude=set(given)) == defaults.model_dump(exclude=set(given))


def test_a_document_knows_the_place_of_its_fields(load, tmp_path):
    [document] = load(rl())
    assert document.place("spec", "sampling", "steps") == f"{tmp_path}/run.yaml:8"
    assert document.place("spec", "hints", "chunkTokens", "min") == f"{tmp_path}/run.yaml:5"


def test_a_path_may_be_a_string():
    assert [str(document) for document in load_manifest(str(FULL))] == ["IGPOTraining/gsm8k", "LengthAlignedSFT/gsm8k"]


BAD_SPECS = {
    "η above 1": (
        "hints:\n  injectionRatio: {min: 0.2, max: 1.5}\n",
        "run.yaml:8: spec.hints.injectionRatio.max 1.5 is above the limit 1.0; set 1.0 or less",
    ),
    "η below 0": (
        "hints:\n  injectionRatio: {min: -0.1}\n",
        "run.yaml:8: spec.hints.injectionRatio.min -0.1 is below the limit 0.0; set 0.0 or more",
    ),
    "η bounds swapped": (
        "hints:\n  injectionRatio:\n    min: 0.6\n    max: 0.2\n",
        "run.yaml:9: spec.hints.injectionRatio.min 0.6 is above max 0.2; swap them",
    ),
    "chunk bounds swapped": (
        "hints: {chunkTokens: {min: 6, max: 5}}\n",
        "run.yaml:7: spec.hints.chunkTokens.min 6 is above max 5; swap them",
    ),
    "a group of one": ("groupSize: 1\n", "run.yaml:7: spec.groupSize 1 is below the limit 2; set 2 or more"),
    "block not dividing": (
        "sampling:\n  completionLength: 256\n  blockLength: 5\n",
        "run.yaml:9: spec.sampling.blockLength 5 does not divide completionLength 256; choose a divisor",
    ),
    "steps not dividing": (
        "sampling: {steps: 12}\n",
        "run.yaml:7: spec.sampling.steps 12 must be a multiple of the 8 blocks and at most completionLength 256",
    ),
    "greedy rollouts": (
        "sampling: {temperature: 0}\n",
        "run.yaml:7: spec.sampling.temperature 0 gives G equal rollouts; RL needs a temperature above 0",
    ),
    "guided rollouts": (
        "sampling: {cfgScale: 1.5}\n",
        "run.yaml:7: spec.sampling.cfgScale 1.5 samples from another policy than the one trained; set it to 0",
    ),
    "a misspelt field": (
        "hints:\n  injectionRatioo: {min: 0}\n",
        "run.yaml:8: spec.hints.injectionRatioo is not a field; did you mean injectionRatio?",
    ),
    "a python name": ("group_size: 4\n", "run.yaml:7: spec.group_size is not a field; did you mean groupSize?"),
    "a field unlike any other": (
        "objective: {clip: {zzzz: 1}}\n",
        "run.yaml:7: spec.objective.clip.zzzz is not a field; choose from low, high",
    ),
    "a misspelt field in a list": (
        "evaluation:\n  datasets:\n    - source: holdout\n    - source: x\n      sampels: 3\n",
        "run.yaml:11: spec.evaluation.datasets[1].sampels is not a field; did you mean samples?",
    ),
    "a misspelt worker field": (
        "workers: {replica: 2}\n",
        "run.yaml:7: spec.workers.replica is not a field; did you mean replicas?",
    ),
    "an unknown value": (
        "algorithm: igpo\n",
        'run.yaml:7: spec.algorithm "igpo" is none of IGPO, GRPO, Resample; did you mean IGPO?',
    ),
    "a value unlike any other": (
        "algorithm: DPO2\n",
        'run.yaml:7: spec.algorithm "DPO2" is none of IGPO, GRPO, Resample; choose one of them',
    ),
    "an only value": ("sampling: {cache: Dual}\n", 'run.yaml:7: spec.sampling.cache "Dual" is not None; set None'),
    "text for a number": ('steps: "5"\n', 'run.yaml:7: spec.steps "5" is not a whole number; write a whole number'),
    "a truth for a number": ("seed: yes\n", "run.yaml:7: spec.seed true is not a whole number; write a whole number"),
    "a fraction for a whole number": (
        "steps: 2.5\n",
        "run.yaml:7: spec.steps 2.5 is not a whole number; write a whole number",
    ),
    "a number for text": ("prompt: {system: 5}\n", "run.yaml:7: spec.prompt.system 5 is not text; put it in quotes"),
    "text for a truth": (
        "suspend: maybe\n",
        'run.yaml:7: spec.suspend "maybe" is not true or false; write true or false',
    ),
    "a number for an object": ("hints: 5\n", "run.yaml:7: spec.hints 5 is not an object; write an object"),
    "a text for a list": (
        "trackers: wandb\n",
        'run.yaml:7: spec.trackers "wandb" is not a list; write a list',
    ),
    "a union below its limit": (
        "batching: {rolloutRows: 0}\n",
        "run.yaml:7: spec.batching.rolloutRows 0 is not Auto and is below the limit 1; set Auto or set 1 or more",
    ),
    "a union misspelt": (
        "judge: {processes: auto}\n",
        'run.yaml:7: spec.judge.processes "auto" is not Auto and is not a whole number; did you mean Auto?',
    ),
    "an open bound": (
        "optimizer: {learningRate: 0}\n",
        "run.yaml:7: spec.optimizer.learningRate 0 is not above the limit 0.0; set more than 0.0",
    ),
    "a list too long": (
        "optimizer: {betas: [0.9, 0.99, 0.999]}\n",
        "run.yaml:7: spec.optimizer.betas [0.9, 0.99, 0.999] has more items than the limit of 2; remove some",
    ),
    "a list too short": (
        "evaluation: {datasets: []}\n",
        "run.yaml:7: spec.evaluation.datasets [] has 0 items, the limit is at least 1; add some",
    ),
    "a beta of 1": (
        "optimizer:\n  betas: [0.9, 1]\n",
        "run.yaml:8: spec.optimizer.betas [0.9, 1.0] must both lie in [0, 1)",
    ),
    "no holdout": (
        "evaluation:\n  datasets: [{source: x}]\n",
        "run.yaml:8: spec.evaluation.datasets lacks holdout, by which the best checkpoint is chosen; add {source: holdout}",
    ),
    "selection on a test split": (
        "evaluation: {selectBy: test}\n",
        'run.yaml:7: spec.evaluation.selectBy "test" is not holdout; set holdout',
    ),
    "a reward without weight": (
        "rewards:\n  custom: {brevity: }\n",
        "run.yaml:8: spec.rewards.custom.brevity null is not a number; write a number",
    ),
    "an empty text": (
        "prompt: {traceFormat: ''}\n",
        'run.yaml:7: spec.prompt.traceFormat "" is shorter than the limit of 1 characters; give a longer text',
    ),
    "a trace format without trace": (
        "prompt: {traceFormat: '{answer}'}\n",
        "run.yaml:7: spec.prompt.traceFormat '{answer}' has no {body}",
    ),
}


@pytest.mark.parametrize(("spec", "problem"), BAD_SPECS.values(), ids=BAD_SPECS.keys())
def test_a_bad_field_is_one_line_with_place_value_limit_and_remedy(spec_problems, spec, problem):
    assert spec_problems(BASE + spec) == [problem]


BAD_BASES = {
    "a missing field": (
        "model: {source: x}\ndataset:\n  split: train\n",
        "run.yaml:6: spec.dataset.source is missing; add it (Hub id, a .jsonl, .json or .parquet file, a folder of "
        "those, or builtin:word-problems)",
    ),
    "a null where a value must be": (
        "model: {source: x}\ndataset:\n",
        "run.yaml:6: spec.dataset is missing; add it (Problems, reference traces and answers)",
    ),
    "two origins": (
        "model: {source: x, scratch: {}}\ndataset: {source: data}\n",
        "run.yaml:5: spec.model: exactly one of source, scratch and from must be set; found source, scratch",
    ),
    "prompt and canvas beyond the model": (
        "model: {scratch: {maxPositions: 300}}\ndataset:\n  source: data\n  maxPromptTokens: 45\n",
        "run.yaml:8: spec.dataset.maxPromptTokens 45 and a canvas of 256 tokens exceed model.scratch.maxPositions 300; "
        "set dataset.maxPromptTokens to 44 or less",
    ),
    "a default prompt beyond the model": (
        "model: {scratch: {maxPositions: 300}}\ndataset: {source: data}\n",
        "run.yaml:6: spec.dataset.maxPromptTokens 600 and a canvas of 256 tokens exceed model.scratch.maxPositions 300; "
        "set dataset.maxPromptTokens to 44 or less",
    ),
    "a canvas beyond the model": (
        "model:\n  scratch:\n    maxPositions: 256\ndataset: {source: data, maxPromptTokens: 64}\n",
        "run.yaml:7: spec.model.scratch.maxPositions 256 leaves no room for a prompt beside a canvas of 256 tokens; "
        "raise it to 320",
    ),
    "an odd head": (
        "model: {scratch: {hiddenSize: 100, heads: 4, maxPositions: 900}}\ndataset: {source: data}\n",
        "run.yaml:5: spec.model.scratch.hiddenSize 100 over heads 4 is not an even head width; choose sizes where "
        "hiddenSize / heads is an even whole number",
    ),
    "a source that is no name": (
        "model: {from: {name: Not_A_Name}}\ndataset: {source: data}\n",
        'run.yaml:5: spec.model.from.name "Not_A_Name" does not match the pattern ^[a-z0-9]([-a-z0-9]*[a-z0-9])?$; '
        "correct it",
    ),
    "a dropout under RL": (
        "model: {source: x, lora: {dropout: 0.1}}\ndataset: {source: data}\n",
        "run.yaml:5: spec.model.lora.dropout 0.1 makes the importance ratio random; RL needs 0",
    ),
    "options of another source": (
        "model: {source: x}\ndataset: {source: data, wordProblems: {}}\n",
        "run.yaml:6: spec.dataset.wordProblems belongs to source builtin:word-problems; source is 'data'",
    ),
}


@pytest.mark.parametrize(("spec", "problem"), BAD_BASES.values(), ids=BAD_BASES.keys())
def test_bad_model_and_data_name_the_field_to_change(spec_problems, spec, problem):
    assert spec_problems(spec) == [problem]


def test_sft_has_exactly_one_duration(spec_problems):
    for training in ("{}", "{epochs: 1, steps: 10}"):
        [problem] = spec_problems(BASE + f"training: {training}\n", kind="LengthAlignedSFT")
        assert problem == "run.yaml:7: spec.training: exactly one of epochs and steps must be set"


def test_sft_evaluates_at_its_target_length(spec_problems):
    [problem] = spec_problems(BASE + "training: {epochs: 1}\nlength: {target: 128}\n", kind="LengthAlignedSFT")
    assert problem == (
        "run.yaml:4: spec.sampling.completionLength 256 differs from length.target 128; "
        "SFT, RL and evaluation share one canvas length"
    )


def test_originals_at_their_own_context_must_fit_the_model_too(spec_problems):
    spec = "model: {scratch: {maxPositions: 1000}}\ndataset: {source: data}\ntraining: {epochs: 1}\n"
    [problem] = spec_problems(spec + "length: {originals: Context, contextTokens: 2000}\n", kind="LengthAlignedSFT")
    assert "spec.model.scratch.maxPositions 1000 leaves no room" in problem
    assert "a canvas of 2000 tokens" in problem


def test_all_problems_of_all_documents_come_at_once_in_the_order_of_lines(problems):
    bad = rl().replace("spec:\n", "spec:\n  groupSize: 1\n") + "  seed: -1\n  zzz: 1\n"
    found = problems(bad, "- 5\n", bad.replace("igpo.dev/v1alpha1", "v1"))
    assert [int(problem.split(":")[1]) for problem in found] == [6, 10, 11, 13, 15, 20, 24, 25]


def test_long_values_are_cut_in_errors(spec_problems):
    [problem] = spec_problems(BASE + f"seed: {'x' * 5000}\n")
    assert len(problem) < 200
    assert "xxx… is not a whole number" in problem


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
    [document] = load(sft(name))
    assert len(f"{document.name}-lasft-a999-9999") == 63


def test_an_empty_file_is_no_manifest(problems):
    assert problems("# nothing\n") == ["run.yaml: holds no document; write a run of apiVersion igpo.dev/v1alpha1"]


def test_a_file_that_is_not_yaml_is_an_invalid_run(load):
    with pytest.raises(InvalidRunError, match=r"run.yaml:2: not YAML: "):
        load("a: [1\nb: 2\n")


def test_a_run_may_start_from_one_that_is_not_in_the_manifest(load):
    [document] = load(rl(model=from_("LengthAlignedSFT", "elsewhere")))
    assert source_of(document) == ("LengthAlignedSFT", "elsewhere")
    assert dependency_order([document]) == [document]


def test_two_runs_of_one_kind_and_name_are_refused(problems):
    [problem] = problems(rl("a"), sft("a"), rl("a"))
    assert problem.startswith("run.yaml:24: IGPOTraining/a is already defined at ")
    assert problem.endswith("run.yaml:1; rename one of them")


def test_a_run_and_its_source_share_one_canvas_length(problems):
    found = problems(rl("b", from_("LengthAlignedSFT", "a"), length=16), sft("a", length=32))
    assert found == [
        "run.yaml:8: spec.sampling.completionLength 16 of IGPOTraining/b differs from length.target 32 of "
        "LengthAlignedSFT/a, from which it starts; give both runs one canvas length"
    ]


def test_a_run_and_its_source_share_one_namespace(problems):
    [problem] = problems(
        sft("a").replace("name: a", "name: a\n  namespace: x"),
        rl("b", from_("LengthAlignedSFT", "a")).replace("name: b", "name: b\n  namespace: z"),
    )
    assert problem == (
        "run.yaml:19: spec.model.from LengthAlignedSFT/a is in namespace 'x', this run in 'z'; put both into one namespace"
    )


def test_a_cycle_is_refused_and_spelt_out(problems):
    found = problems(
        rl("before", from_("IGPOTraining", "a")),
        rl("a", from_("IGPOTraining", "b")),
        rl("b", from_("IGPOTraining", "a")),
    )
    assert found == [
        "run.yaml:15: spec.model.from makes a cycle: IGPOTraining/a → IGPOTraining/b → IGPOTraining/a; "
        "let one run start from a source"
    ]


def test_a_run_from_itself_is_a_cycle(problems):
    [problem] = problems(rl("a", from_("IGPOTraining", "a")))
    assert "makes a cycle: IGPOTraining/a → IGPOTraining/a" in problem


def test_sources_come_before_the_runs_that_start_from_them(load):
    documents = load(
        rl("c", from_("IGPOTraining", "b")), rl("b", from_("LengthAlignedSFT", "a")), rl("d"), sft("a"), sft("e")
    )
    assert [document.name for document in dependency_order(documents)] == ["d", "a", "b", "c", "e"]


@given(st.permutations(range(6)), st.lists(st.integers(0, 5), min_size=6, max_size=6))
def test_any_acyclic_manifest_is_ordered_once_and_independent_runs_keep_their_order(
    tmp_path_factory, positions, choices
):
    # run i starts from a run of lower number, or from scratch
    sources = [None if i == 0 or choices[i] >= i else choices[i] for i in range(6)]
    texts = [rl(f"r{i}", SCRATCH if s is None else from_("IGPOTraining", f"r{s}")) for i, s in enumerate(sources)]
    path = tmp_path_factory.getbasetemp() / "ordered.yaml"
    path.write_text("---\n".join(texts[i] for i in positions))
    documents = load_manifest(path)
    order = [int(document.name[1:]) for document in dependency_order(documents)]
    assert sorted(order) == list(range(6))
    assert all(source is None or order.index(source) < order.index(run) for run, source in enumerate(sources))
    if all(source is None for source in sources):
        assert order == list(positions)


def test_the_spec_imports_neither_torch_nor_anything_as_heavy():
    code = (
        "import pkgutil, sys, igpo_trainer.spec as spec\n"
        "for module in pkgutil.iter_modules(spec.__path__, 'igpo_trainer.spec.'): __import__(module.name)\n"
        "heavy = {'torch', 'transformers', 'accelerate', 'datasets', 'numpy', 'peft', 'rich', 'typer', 'yaml'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert output.strip() == "[]"


def test_the_manifest_loader_imports_in_under_300_milliseconds():
    code = (
        "import os, time\n"
        "start = time.process_time()\n"
        "import igpo_trainer.spec.manifest\n"
        "print(time.process_time() - start)"
    )
    runs = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True) for _ in range(5)]
    assert min(float(run.stdout) for run in runs) < 0.3
