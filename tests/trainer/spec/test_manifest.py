import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.igpo import IGPOTrainingSpec
from igpo_trainer.spec.manifest import dependency_order, load_manifest, source_of
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


def test_all_problems_of_all_documents_come_at_once_in_the_order_of_lines(problems):
    bad = rl().replace("spec:\n", "spec:\n  groupSize: 1\n") + "  seed: -1\n  zzz: 1\n"
    found = problems(bad, "- 5\n", bad.replace("igpo.dev/v1alpha1", "v1"))
    assert [int(problem.split(":")[1]) for problem in found] == [6, 10, 11, 13, 15, 20, 24, 25]


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
        "run.yaml:19: spec.model.from LengthAlignedSFT/a is in namespace 'x', this run in 'z'; "
        "put both into one namespace"
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


@settings(deadline=None, max_examples=40)
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
