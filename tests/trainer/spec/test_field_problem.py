import pytest

BASE = "model: {source: x}\ndataset: {source: data}\n"


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
    "a cache unlike any other": (
        "sampling: {cache: Quick}\n",
        'run.yaml:7: spec.sampling.cache "Quick" is none of None, Prefix, Dual; choose one of them',
    ),
    "a threshold without confidence": (
        "sampling: {confidenceThreshold: 0.9, remasking: Random}\n",
        "run.yaml:7: spec.sampling.confidenceThreshold 0.9 has no meaning with remasking Random; remove it or set "
        "remasking to LowConfidence",
    ),
    "an unknown item": (
        "trackers:\n  - wandb\n  - tensorbord\n",
        'run.yaml:9: spec.trackers[1] "tensorbord" is none of tensorboard, wandb, mlflow; did you mean tensorboard?',
    ),
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
        "run.yaml:8: spec.evaluation.datasets lacks holdout, by which the best checkpoint is chosen; "
        "add {source: holdout}",
    ),
    "selection on a test split": (
        "evaluation: {selectBy: test}\n",
        'run.yaml:7: spec.evaluation.selectBy "test" is not holdout; set holdout',
    ),
    "a reward without weight": (
        "rewards:\n  custom: {brevity: }\n",
        "run.yaml:8: spec.rewards.custom.brevity null is not a number; write a number",
    ),
    "a reward that is an object": (
        "rewards: {custom: {brevity: {weight: {of: }}}}\n",
        'run.yaml:7: spec.rewards.custom.brevity {"weight": {"of": null}} is not a number; write a number',
    ),
    "a number beyond 64 bits": (
        "steps: 18446744073709551615\n",
        "run.yaml:7: spec.steps 1.8446744073709552e+19 is not a whole number; write a whole number",
    ),
    "a number beyond the limit": (
        "steps: 9000000000\n",
        "run.yaml:7: spec.steps 9000000000 is above the limit 1000000; set 1000000 or less",
    ),
    "a trace format that cannot be filled": (
        "prompt: {traceFormat: '{body} {solution}'}\n",
        "run.yaml:7: spec.prompt.traceFormat '{body} {solution}' cannot be filled; use {body} and "
        "{answer}, and double every literal brace",
    ),
    "an empty text": (
        "prompt: {traceFormat: ''}\n",
        'run.yaml:7: spec.prompt.traceFormat "" is shorter than the limit of 1 characters; give a longer text',
    ),
    "a format beside an answer rule": (
        "evaluation:\n  datasets:\n    - source: holdout\n    - {source: x, answer: {after: A}, format: MATH}\n",
        "run.yaml:10: spec.evaluation.datasets[1].format MATH has columns and answers of its own; "
        "remove fields and answer, or format",
    ),
    "a format that does not exist": (
        "evaluation:\n  datasets: [{source: holdout}, {source: x, format: GSM8k}]\n",
        'run.yaml:8: spec.evaluation.datasets[1].format "GSM8k" is none of GSM8K, MATH, MetaMathQA, OpenR1, AMC, '
        "Minerva; did you mean GSM8K?",
    ),
    "a trace format without trace": (
        "prompt: {traceFormat: '{answer}'}\n",
        "run.yaml:7: spec.prompt.traceFormat '{answer}' has no {body}; add it where the trace belongs",
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
        "run.yaml:8: spec.dataset.maxPromptTokens 45 and a canvas of 256 tokens exceed model.scratch.maxPositions "
        "300; set dataset.maxPromptTokens to 44 or less",
    ),
    "a default prompt beyond the model": (
        "model: {scratch: {maxPositions: 300}}\ndataset: {source: data}\n",
        "run.yaml:6: spec.dataset.maxPromptTokens 600 and a canvas of 256 tokens exceed model.scratch.maxPositions "
        "300; set dataset.maxPromptTokens to 44 or less",
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
    "a difficulty twice": (
        "model: {source: x}\ndataset:\n  source: builtin:word-problems\n  wordProblems:\n"
        "    difficulties: [{steps: 2, share: 1}, {steps: 2, share: 1}]\n",
        "run.yaml:9: spec.dataset.wordProblems.difficulties repeats steps [2, 2]; name each number of steps once",
    ),
    "only difficulties without share": (
        "model: {source: x}\ndataset:\n  source: builtin:word-problems\n  wordProblems:\n"
        "    difficulties: [{steps: 2, share: 0}]\n",
        "run.yaml:9: spec.dataset.wordProblems.difficulties has only shares of 0; give at least one a positive share",
    ),
    "a revision without source": (
        "model: {scratch: {maxPositions: 900}, revision: main}\ndataset: {source: data}\n",
        "run.yaml:5: spec.model.revision and adapt belong to source; remove them or set model.source",
    ),
    "a causal model that is not adapted": (
        "model: {source: models/tiny.gguf}\ndataset: {source: data}\n",
        "run.yaml:5: spec.model.source models/tiny.gguf holds a causal model; set adapt to MaskedDiffusion",
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


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ("attempts: 0", "attempts 0 is below the limit 1; set 1 or more"),
        ("timeoutSeconds: 4000", "timeoutSeconds 4000 is above the limit 3600; set 3600 or less"),
        ("tokenBudget: 0", "tokenBudget 0 is below the limit 1; set 1 or more"),
        ("temperature: 2.5", "temperature 2.5 is above the limit 2.0; set 2.0 or less"),
    ],
)
def test_a_rewrite_keeps_within_its_bounds(spec_problems, field, problem):
    spec = f"training: {{epochs: 1}}\nrewrite: {{teacher: {{baseUrl: x, model: m}}, {field}}}\n"
    assert spec_problems(BASE + spec, kind="LengthAlignedSFT") == [f"run.yaml:8: spec.rewrite.{problem}"]


def test_originals_at_their_own_context_must_fit_the_model_too(spec_problems):
    spec = "model: {scratch: {maxPositions: 1000}}\ndataset: {source: data}\ntraining: {epochs: 1}\n"
    [problem] = spec_problems(spec + "length: {originals: Context, contextTokens: 2000}\n", kind="LengthAlignedSFT")
    assert "spec.model.scratch.maxPositions 1000 leaves no room" in problem
    assert "a canvas of 2000 tokens" in problem


def test_the_context_of_originals_holds_the_target(spec_problems):
    spec = BASE + "training: {epochs: 1}\nlength: {originals: Context, contextTokens: 128}\n"
    assert spec_problems(spec, kind="LengthAlignedSFT") == [
        "run.yaml:8: spec.length.contextTokens 128 is below target 256; raise it to 256 or more"
    ]


def test_originals_at_their_own_context_exclude_rewriting(spec_problems):
    spec = BASE + "training: {epochs: 1}\nrewrite: {teacher: {baseUrl: x, model: m}}\nlength: {originals: Context}\n"
    assert spec_problems(spec, kind="LengthAlignedSFT") == [
        "run.yaml:9: spec.length.originals Context trains the traces as they are, rewrite replaces them; "
        "set it to Drop or remove rewrite"
    ]


@pytest.mark.parametrize(("name", "key", "wrong"), [("Teacher", "token", "name"), ("teacher", "the token", "key")])
def test_a_secret_that_no_pod_could_name_is_refused(spec_problems, name, key, wrong):
    teacher = f'{{baseUrl: "https://x/v1", model: m, apiKeySecretRef: {{name: {name}, key: {key}}}}}'
    spec = BASE + f"training: {{epochs: 1}}\nrewrite: {{teacher: {teacher}}}\n"
    [problem] = spec_problems(spec, kind="LengthAlignedSFT")
    assert problem.startswith(f"run.yaml:8: spec.rewrite.teacher.apiKeySecretRef.{wrong} ")
    assert "does not match the pattern" in problem


def test_long_values_are_cut_in_errors(spec_problems):
    [problem] = spec_problems(BASE + f"seed: {'x' * 5000}\n")
    assert len(problem) < 200
    assert "xxx… is not a whole number" in problem
