import copy
import dataclasses
import json
import shutil

import pytest
import torch

from semantic_pivots import lens, models, tokens
from semantic_pivots.fingerprint import sha256_file
from tests.conftest import make_tokenizer


@torch.inference_mode()
def test_tree_forward_equals_plain_forward(family_model):
    """Every sequence of a tree after a shared prefix gets the hidden states it gets alone."""
    lm = family_model
    prefix, branches = [2, 10, 20, 30, 40], [[50, 60, 70], [50, 60, 80, 90], [50, 61], [55, 60, 70]]
    trees = [tokens.token_tree(branches[:2]), tokens.token_tree(branches)]
    from semantic_pivots.scoring import run_trees

    hidden = run_trees(lm, lm.prefill(prefix), len(prefix), trees)
    body = lm.network.get_submodule(lm.family.body)
    for tree, states in zip(trees, hidden):
        for sequence, path in zip(branches, tree.paths):
            plain = body(torch.tensor([prefix + sequence])).last_hidden_state[0, len(prefix) :]
            torch.testing.assert_close(states[list(path)], plain, atol=1e-5, rtol=1e-4)


def test_bfloat16_keeps_the_residual_stream_in_float32(family_model):
    """With rounded weights, the float32 stream is nearer to the float32 model than a body that is bfloat16 throughout."""
    rounded = models.widen_vectors(copy.deepcopy(family_model.network).to(torch.bfloat16))
    lm = dataclasses.replace(family_model, network=rounded, dtype="bfloat16")
    ids = list(range(2, 40))
    body = family_model.network.get_submodule(family_model.family.body)
    exact = body(torch.tensor([ids])).last_hidden_state
    with lens.capture_blocks(lm) as outputs:
        ours = lm.run_body(torch.tensor([ids])).last_hidden_state
    assert {o.dtype for o in outputs} == {torch.float32}
    rounded = copy.deepcopy(family_model.network).to(torch.bfloat16)
    plain = rounded.get_submodule(family_model.family.body)(torch.tensor([ids])).last_hidden_state
    assert (ours - exact).norm() < (plain.float() - exact).norm()
    torch.testing.assert_close(lm.normed(outputs[-1][0]), ours[0].float(), atol=1e-5, rtol=1e-5)


def test_checkpoints_of_the_known_corpus_are_checked(model_folder, monkeypatch, tmp_path):
    home = tmp_path / "data" / "models" / "known-corpus"
    monkeypatch.setattr(models, "ROOT", tmp_path)
    with pytest.raises(models.ModelError, match="make pretrain"):
        models.load("known-corpus")
    checkpoints = {}
    for name, count in (("tokens-2M", 2_000_000), ("tokens-10M", 10_000_000)):
        shutil.copytree(model_folder, home / name)
        checkpoints[name] = {"tokens": count, "files": {"model.safetensors": sha256_file(home / name / "model.safetensors")}}
    (home / "manifest.json").write_text(json.dumps({"checkpoints": checkpoints}))
    assert models.load("known-corpus", dtype="float32").checksum == models.load("known-corpus@tokens-2M", dtype="float32").checksum
    with pytest.raises(models.ModelError, match=r"known-corpus/seed-1: .* 'python -m semantic_pivots.pretrain --seed 1' trains"):
        models.load("known-corpus/seed-1")
    shutil.copytree(home, tmp_path / "again")
    shutil.copytree(tmp_path / "again", home / "seed-1")
    assert models.load("known-corpus/seed-1@tokens-2M", dtype="float32").id == "known-corpus/seed-1@tokens-2M"
    with pytest.raises(models.ModelError, match="model id 'known-corpus/other' is not known"):
        models.load("known-corpus/other")
    with pytest.raises(models.ModelError, match="no such checkpoint; known: tokens-2M, tokens-10M"):
        models.load("known-corpus@tokens-3M", dtype="float32")
    (home / "tokens-10M" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(models.ModelError, match="tokens-10M: model.safetensors is damaged"):
        models.load("known-corpus", dtype="float32")


@torch.inference_mode()
def test_head_in_slices_equals_the_models_logits(family_model, monkeypatch):
    """Normaliser, logits and argmax agree with the whole forward pass, softcap included."""
    lm = family_model
    monkeypatch.setattr(models, "VOCABULARY_SLICE", 64)
    monkeypatch.setattr(models, "HEAD_ROWS", 5)
    ids = torch.randint(3, 400, (2, 9), generator=torch.Generator().manual_seed(0))
    logits = lm.network(ids).logits.flatten(0, 1)
    hidden = lm.network.get_submodule(lm.family.body)(ids).last_hidden_state.flatten(0, 1)
    normaliser, top = lm.normaliser(hidden)
    torch.testing.assert_close(normaliser, logits.logsumexp(-1), atol=1e-5, rtol=1e-5)
    assert torch.equal(top, logits.argmax(-1))
    wanted = torch.arange(18) * 7
    torch.testing.assert_close(lm.logits_of(hidden, wanted), logits[torch.arange(18), wanted], atol=1e-5, rtol=1e-5)


def test_blocks_and_norm_are_found(family_model):
    assert family_model.n_layers == 3
    assert "norm" in type(family_model.final_norm).__name__.lower()
    assert family_model.unembedding.shape == (400, 32)


def test_prompt_longer_than_the_window_is_refused(tiny_model):
    tree = torch.zeros(1, 1, dtype=torch.long), torch.tensor([[512]]), torch.ones(1, 1, 1, dtype=torch.bool)
    with pytest.raises(models.ModelError, match="513 tokens is longer than the attention window of 512"):
        tiny_model.extend([], *tree)


def test_a_folder_loads_and_is_recorded(model_folder):
    lm = models.load(f"path:{model_folder}", dtype="float32")
    assert lm.facts() == {"model": f"path:{model_folder}", "checksum": lm.checksum, "dtype": "float32", "device": "cpu"}
    assert len(lm.checksum) == 64


def test_probe_chooses_a_known_dtype():
    assert models.probe_dtype(torch.device("cpu"), size=64, repeats=1) in ("float32", "bfloat16")


@pytest.mark.parametrize(
    ("model_id", "message"),
    [
        ("gpt2", "model id 'gpt2' is not known: use packaged:"),
        ("packaged:gpt2", "packaged:gpt2 is not known; packaged models: gemma-3-270m, smollm2-135m"),
        ("path:/nowhere/at/all", "there is no such folder"),
        ("hub:allenai/OLMo-1B-0724-hf", "name the revision too"),
        ("hub:allenai/OLMo-1B-0724-hf@abc", "cannot be fetched .* use a packaged model"),
    ],
)
def test_unknown_and_unreachable_models(model_id, message):
    with pytest.raises(models.ModelError, match=message):
        models.load(model_id, dtype="float32")


def test_weights_from_a_hub_are_told_apart_by_their_contents(model_folder, monkeypatch):
    """A branch such as main moves: its name is no checksum."""
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *a, **k: str(model_folder))
    lm = models.load("hub:some/model@main", dtype="float32")
    assert lm.checksum == models.load(f"path:{model_folder}", dtype="float32").checksum
    (model_folder / "tokenizer.json").unlink()
    with pytest.raises(models.ModelError, match="hub:some/model@main: the folder lacks a tokenizer"):
        models.load("hub:some/model@main", dtype="float32")


def test_unknown_dtype():
    with pytest.raises(models.ModelError, match="dtype 'float8' is not known"):
        models.load("packaged:gemma-3-270m", dtype="float8")


@pytest.mark.parametrize(
    ("file", "message"), [("tokenizer.json", "lacks a tokenizer"), ("model.safetensors", "lacks .*safetensors weights"), ("config.json", "lacks config.json")]
)
def test_incomplete_folders_say_what_is_missing(model_folder, file, message):
    (model_folder / file).unlink()
    with pytest.raises(models.ModelError, match=message):
        models.load(f"path:{model_folder}", dtype="float32")


def test_pickled_weights_are_not_loaded(model_folder):
    (model_folder / "model.safetensors").rename(model_folder / "pytorch_model.bin")
    with pytest.raises(models.ModelError, match="lacks .*safetensors"):
        models.load(f"path:{model_folder}", dtype="float32")


def test_unknown_model_type(model_folder):
    config = json.loads((model_folder / "config.json").read_text()) | {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}
    (model_folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(models.ModelError, match="model type 'gpt2' is not supported; known types: gemma2"):
        models.load(f"path:{model_folder}", dtype="float32")


def test_missing_package_names_the_way_out(monkeypatch):
    monkeypatch.setitem(models.PACKAGED, "absent", models.Packaged((("no-such-distribution", "a.gguf"),), "0" * 64, ""))
    with pytest.raises(models.ModelError, match="no-such-distribution .* is not installed. Run 'make env'"):
        models.load("packaged:absent", dtype="float32")


def test_wrong_checksum_is_refused_before_loading(monkeypatch, tmp_path):
    monkeypatch.setenv("SEMANTIC_PIVOTS_CACHE", str(tmp_path))
    wrong = dataclasses.replace(models.PACKAGED["smollm2-135m"], sha256="f" * 64)
    monkeypatch.setitem(models.PACKAGED, "smollm2-135m", wrong)
    with pytest.raises(models.ModelError, match="sha256 of the installed weights is b179c.*, expected fff"):
        models.load("packaged:smollm2-135m", dtype="float32")
    assert not list(tmp_path.rglob("*.safetensors"))


def test_conversion_is_done_once_and_damage_is_mended(monkeypatch, tmp_path, model_folder):
    """A converted model is reused; a truncated one, or one whose conversion was killed, is converted again."""
    monkeypatch.setenv("SEMANTIC_PIVOTS_CACHE", str(tmp_path / "cache"))
    conversions = []

    def convert(parts, scratch):
        conversions.append(parts)
        return shutil.copytree(model_folder, scratch / "model")

    monkeypatch.setattr(models, "_convert", convert)
    for _ in range(2):
        models.load("packaged:smollm2-135m", dtype="float32")
    assert len(conversions) == 1
    (weights,) = (tmp_path / "cache").rglob("model.safetensors")
    weights.write_bytes(weights.read_bytes()[:100])
    models.load("packaged:smollm2-135m", dtype="float32")
    assert len(conversions) == 2
    next((tmp_path / "cache").rglob("converted.json")).unlink()  # as if killed before the record was written
    models.load("packaged:smollm2-135m", dtype="float32")
    assert len(conversions) == 3


def test_no_bos_is_added_where_the_tokenizer_has_none():
    (encoded,) = tokens.encode_targets(make_tokenizer(bos=False), ["Please:"], " ", ["犬"])
    assert encoded.ids[0] != 2
