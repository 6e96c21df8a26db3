"""What a person can get wrong: one line with place, value, limit and remedy, the contract's code, nothing written."""

import json
import os
import shutil

import pytest


@pytest.fixture
def refused(tools, runs, tmp_path, capsys):
    """Runs documents that must be refused, and returns the one line on stderr."""

    def run(*documents, code, text=None):
        manifest = tmp_path / "run.yaml"
        if text is None:
            tools.write_manifest(manifest, *documents)
        else:
            manifest.write_text(text)
        before = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}
        capsys.readouterr()
        assert tools.igpo_command("run", "-f", manifest, "--runs", runs, *tools.PORT) == code
        output = capsys.readouterr()
        assert output.out == ""
        (line,) = output.err.splitlines()
        assert line.startswith("igpo: ")
        assert {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()} == before
        assert sorted(path.name for path in runs.iterdir()) == ["LengthAlignedSFT"]
        assert [path.name for path in (runs / "LengthAlignedSFT").iterdir()] == ["base"]
        return line.removeprefix("igpo: ")

    return run


@pytest.fixture
def from_folder(tools, trained, runs, tmp_path):
    """An IGPO run from a copy of base's final/ that the test may damage; the copy and the document."""
    model = tmp_path / "model"
    shutil.copytree(runs / "LengthAlignedSFT" / "base" / "final", model)
    document = tools.igpo(trained.source)
    document["spec"]["model"] = {"source": str(model), "precision": "FP32"}
    return model, document


def with_rows(tools, tmp_path, rows):
    source = tools.write_rows(tmp_path / "mine.jsonl", rows)
    return source, tools.igpo(source)


def test_a_checkpoint_without_weights(from_folder, refused):
    model, document = from_folder
    (model / "model.safetensors").unlink()
    line = refused(document, code=64)
    assert line == (
        f"{model} holds neither model.safetensors nor model.safetensors.index.json; point model.source at a saved model"
    )


def test_a_missing_config(from_folder, refused):
    model, document = from_folder
    (model / "config.json").unlink()
    assert refused(document, code=64).startswith(f"{model / 'config.json'} is missing; ")


def test_a_missing_shard(from_folder, refused):
    model, document = from_folder
    (model / "model.safetensors").unlink()
    index = {"weight_map": {"lm_head.weight": "model-00001-of-00002.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    line = refused(document, code=64)
    assert line.startswith(f"{model / 'model-00001-of-00002.safetensors'} is missing (1 of 1 shards in ")
    assert line.endswith("copy or download it again")


@pytest.mark.parametrize("weight_map", [None, {}, 3, {"lm_head.weight": 3}, {"lm_head.weight": "../model.safetensors"}])
def test_an_index_that_names_no_shards_of_its_folder(from_folder, refused, weight_map):
    model, document = from_folder
    index = model / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    line = refused(document, code=64)
    assert line == f"{index} names no shard files in its weight_map; copy or download it again"


def test_a_truncated_shard(from_folder, refused):
    model, document = from_folder
    weights = model / "model.safetensors"
    size = weights.stat().st_size
    weights.write_bytes(weights.read_bytes()[:-100])
    assert refused(document, code=64) == (
        f"{weights} is truncated: it has {size - 100} bytes and its header promises {size}; copy or download it again"
    )


def test_a_vocabulary_that_does_not_belong_to_the_weights(from_folder, refused):
    model, document = from_folder
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"vocab_size": config["vocab_size"] + 5}))
    line = refused(document, code=64)
    assert f"has {config['vocab_size']} rows but config.json says a vocabulary of {config['vocab_size'] + 5}" in line
    assert line.startswith(str(model / "model.safetensors"))


def without_mask(model):
    """Takes the mask from a model folder's config and tokenizer."""
    for name, key in (("config.json", "mask_token_id"), ("tokenizer_config.json", "mask_token")):
        content = json.loads((model / name).read_text())
        assert content.pop(key) is not None
        (model / name).write_text(json.dumps(content))


def test_a_tokenizer_without_a_mask_token(from_folder, refused):
    model, document = from_folder
    without_mask(model)
    assert refused(document, code=64) == (
        f"{model}: neither the tokenizer nor config.json names a mask token; name its mask by mask_token_id in "
        "config.json or mask_token in tokenizer_config.json"
    )


def test_a_mask_that_config_and_tokenizer_do_not_agree_on(from_folder, refused):
    model, document = from_folder
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"mask_token_id": 9}))
    assert refused(document, code=64) == (
        f"{model}: mask_token_id is 9 in config.json but {config['mask_token_id']} in the tokenizer; make them agree"
    )


def test_a_causal_model_that_is_not_adapted(from_folder, refused):
    model, document = from_folder
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"is_causal": True}))
    assert refused(document, code=64).endswith(
        "is a causal model (is_causal is not false in config.json); set model.adapt: MaskedDiffusion"
    )


def test_a_gguf_file_that_is_none(tools, trained, refused, tmp_path):
    (tmp_path / "m.gguf").write_bytes(b"not one")
    document = tools.igpo(trained.source)
    document["spec"]["model"] = {"source": str(tmp_path / "m.gguf"), "adapt": "MaskedDiffusion"}
    line = refused(document, code=64)
    assert line.startswith(f"{tmp_path}/m.gguf is no readable GGUF file (")
    assert line.endswith("copy or download it again")


def test_a_source_folder_that_is_not_there(tools, trained, refused, tmp_path):
    document = tools.igpo(trained.source)
    document["spec"]["model"] = {"source": str(tmp_path / "nowhere")}
    assert (
        refused(document, code=64)
        == f"model.source '{tmp_path}/nowhere': no such folder; correct the path or give a hub id"
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"answer": None}, "'answer' is empty"),
        ({"answer": "2 + 0 = 2"}, "no filled \\boxed{} in 'answer', so no answer"),
        ({"answer": "2 + 0 = 2 \\boxed{}"}, "no filled \\boxed{} in 'answer', so no answer"),
        ({"question": "  "}, "'question' is empty"),
    ],
)
def test_rows_without_prompt_trace_or_answer_are_refused_with_count_and_place(tools, tmp_path, refused, change, reason):
    rows = tools.problem_rows()
    total = len(rows)
    for row in rows[total // 3 :]:
        row.update(change)
    source, document = with_rows(tools, tmp_path, rows)
    count, first = total - total // 3, total // 3 + 1
    assert refused(document, code=65).startswith(
        f"{source}: {count} of {total} rows cannot be used ({count}: {reason}, first in row {first}); correct or remove"
    )


def test_a_row_that_lacks_the_column(tools, tmp_path, refused):
    rows = tools.problem_rows()
    rows = [{"question": row["question"]} for row in rows]
    source, document = with_rows(tools, tmp_path, rows)
    assert refused(document, code=65) == (
        f"{source} row 1: no column 'answer'; it has question; set fields and answer to the columns and the mark "
        "of this data set"
    )


def test_a_row_that_is_no_json(tools, tmp_path, refused):
    source, document = with_rows(tools, tmp_path, tools.problem_rows())
    lines = source.read_text().splitlines()
    lines[4] = lines[4][:-3]
    source.write_text("\n".join(lines))
    line = refused(document, code=65)
    assert line.startswith(f"{source} row 5: not JSON (")
    assert line.endswith("correct or remove the row")


def test_a_row_that_would_steer_the_model(tools, tmp_path, refused):
    rows = tools.problem_rows()
    rows[16]["question"] += " <mask>"
    source, document = with_rows(tools, tmp_path, rows)
    line = refused(document, code=65)
    assert line.startswith(f"{source} row 17 (key ")
    assert line.endswith("holds the special token '<mask>', which would steer the model; remove it from the row")


def test_an_overlong_prompt_that_may_not_be_dropped(tools, tmp_path, refused):
    rows = tools.problem_rows()
    rows[16]["question"] = rows[16]["question"] * 5
    source, document = with_rows(tools, tmp_path, rows)
    document["spec"]["dataset"]["overlong"] = "Fail"
    line = refused(document, code=65)
    assert line.startswith(f"{source} row 17 (key ")
    assert "dataset.maxPromptTokens is 20" in line


def test_an_empty_data_set(tools, tmp_path, refused):
    source, document = with_rows(tools, tmp_path, [])
    assert str(source) in refused(document, code=65)


def test_a_data_file_that_is_not_there(tools, tmp_path, refused):
    line = refused(tools.igpo(tmp_path / "none.jsonl"), code=64)
    assert line == f"dataset.source {tmp_path}/none.jsonl: no such file; correct the path"


def test_a_data_file_of_another_kind(tools, tmp_path, refused):
    (tmp_path / "rows.csv").write_text("question,answer\n")
    line = refused(tools.igpo(tmp_path / "rows.csv"), code=64)
    assert line == f"dataset.source {tmp_path}/rows.csv: is no .json, .jsonl, .parquet file; convert it to one of them"


def test_more_held_out_problems_than_there_are(tools, trained, refused):
    document = tools.igpo(trained.source)
    document["spec"]["dataset"]["holdout"] = {"rows": 72}
    line = refused(document, code=65)
    assert "dataset.holdout.rows 72 of 72 distinct problems" in line
    assert line.endswith("lower dataset.holdout.rows")


def long_traces(tools, count):
    rows = tools.problem_rows()
    for row in rows[:count]:
        row["answer"] = "2 + 0 = 2 + 0 = 2 + 0 = 2 " + row["answer"]
    return rows


def test_traces_that_mostly_do_not_fit_the_canvas(tools, tmp_path, refused):
    source, document = with_rows(tools, tmp_path, long_traces(tools, 60))
    line = refused(document, code=65)
    assert line.startswith(f"{source}: ")
    assert "traces are longer than the canvas of 12 tokens (longest 21)" in line
    assert "raise sampling.completionLength" in line


def test_fewer_long_traces_are_counted_in_the_journal_and_on_the_console(tools, tmp_path, runs, capsys):
    _, document = with_rows(tools, tmp_path, long_traces(tools, 20))
    document["spec"]["steps"] = 1
    manifest = tools.write_manifest(tmp_path / "run.yaml", document)
    assert tools.igpo_command("run", "-f", manifest, "--runs", runs, *tools.PORT) == 0
    data = tools.journal(runs / "IGPOTraining" / "tiny")[1]
    assert data["event"] == "data"
    counted = data["overlong_traces"]
    assert 14 <= counted <= 20  # six problems are held out
    assert sum(n for length, n in data["trace_lengths"].items() if int(length) - 1 > 12) == counted
    assert f"{counted} traces longer than the canvas" in capsys.readouterr().out


def test_an_injection_ratio_above_1(tools, trained, refused):
    document = tools.igpo(trained.source)
    document["spec"]["hints"]["injectionRatio"] = {"max": 1.5}
    assert "spec.hints.injectionRatio.max 1.5 is above the limit 1.0; set 1.0 or less" in refused(document, code=64)


def test_an_injection_ratio_below_0(tools, trained, refused):
    document = tools.igpo(trained.source)
    document["spec"]["hints"]["injectionRatio"] = {"min": -0.1}
    assert "spec.hints.injectionRatio.min -0.1 is below the limit 0.0" in refused(document, code=64)


def test_a_group_of_one(tools, trained, refused, tmp_path):
    document = tools.igpo(trained.source)
    document["spec"]["groupSize"] = 1
    line = refused(document, code=64)
    assert line.startswith(f"{tmp_path / 'run.yaml'}:")
    assert line.endswith("spec.groupSize 1 is below the limit 2; set 2 or more")


def test_a_block_that_does_not_divide_the_length(tools, trained, refused):
    document = tools.igpo(trained.source)
    document["spec"]["sampling"]["blockLength"] = 5
    line = refused(document, code=64)
    assert line.endswith("spec.sampling.blockLength 5 does not divide completionLength 12; choose a divisor")


def test_prompt_and_completion_beyond_the_models_limit(tools, trained, refused):
    document = tools.igpo(trained.source)
    document["spec"]["dataset"]["maxPromptTokens"] = 40
    assert refused(document, code=64) == (
        "dataset.maxPromptTokens 40 + canvas 12 = 52 tokens, beyond the model's limit of 48; lower one"
    )


def test_prompt_and_completion_beyond_the_limit_of_a_model_from_scratch(tools, trained, refused):
    document = tools.sft(trained.source, name="other")
    document["spec"]["dataset"]["maxPromptTokens"] = 37
    line = refused(document, code=64)
    assert line.endswith("exceed model.scratch.maxPositions 48; set dataset.maxPromptTokens to 36 or less")


def test_a_model_on_a_hub_that_cannot_be_reached(tools, trained, refused, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    document = tools.igpo(trained.source)
    document["spec"]["model"] = {"source": "nobody/nothing"}
    line = refused(document, code=1)
    assert line.startswith("model.source 'nobody/nothing': the hub cannot be reached or does not answer (")
    assert line.endswith("try again, or put the files into a folder and name that")


def test_a_data_set_on_a_hub_that_cannot_be_reached(tools, refused, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    line = refused(tools.igpo("nobody/nothing"), code=1)
    assert line.startswith("dataset.source 'nobody/nothing' (revision main, split 'train'): the hub cannot be reached")
    assert line.endswith("try again, or put the rows into a .jsonl file and name that")


def test_a_start_from_a_run_that_does_not_exist(tools, trained, refused, runs, tmp_path):
    document = tools.igpo(trained.source)
    document["spec"]["model"]["from"]["name"] = "never"
    line = refused(document, code=64)
    assert line.startswith(f"{tmp_path / 'run.yaml'}:")
    assert (
        f"LengthAlignedSFT/never has no finished model in {runs / 'LengthAlignedSFT' / 'never'}; run it first" in line
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "holds no document; write a run of apiVersion igpo.dev/v1alpha1"),
        ("a: [b", "not YAML: "),
        ("hello", 'the document is "hello", not an object; start it with apiVersion'),
    ],
)
def test_a_manifest_that_holds_no_run(refused, tmp_path, text, reason):
    line = refused(code=64, text=text)
    assert line.startswith(str(tmp_path / "run.yaml"))
    assert reason in line


def test_a_manifest_that_is_not_there(tools, tmp_path, capsys):
    manifest = tmp_path / "none.yaml"
    assert tools.igpo_command("run", "-f", manifest, "--runs", tmp_path / "runs") == 64
    error = capsys.readouterr().err
    assert error == f"igpo: {manifest}: cannot be read (No such file or directory); give the path of a manifest\n"
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["no-such-reward", "no.such.module:reward", "json:no_such_function"])
def test_an_unknown_custom_reward(tools, trained, refused, name):
    document = tools.igpo(trained.source)
    document["spec"]["rewards"] = {"custom": {name: 1.0}}
    line = refused(document, code=64)
    assert line.startswith(f"rewards.custom {name!r}: ")
    assert "use one of them or module:function that can be imported" in line


def test_a_suspended_run(tools, trained, refused):
    document = tools.igpo(trained.source)
    document["spec"]["suspend"] = True
    assert refused(document, code=64).endswith("spec.suspend is true, so there is nothing to run; set it to false")


def test_a_runs_folder_that_is_a_file(tools, trained, tmp_path, capsys):
    (tmp_path / "runs").write_text("")
    assert tools.igpo_command("run", "-f", trained.manifest, "--runs", tmp_path / "runs", *tools.PORT) == 64
    (line,) = capsys.readouterr().err.splitlines()
    run_dir = tmp_path / "runs" / "LengthAlignedSFT" / "base"
    assert line == (
        f"igpo: {tmp_path / 'runs'} is a file, so {run_dir} cannot be made; move it away or choose another folder"
    )


def test_a_runs_folder_without_write_permission(tools, trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: not mode & os.W_OK)  # root may write everywhere
    assert tools.igpo_command("run", "-f", trained.manifest, "--runs", tmp_path / "runs", *tools.PORT) == 64
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"igpo: {tmp_path} cannot be written by uid ")
