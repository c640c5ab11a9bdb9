import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers import models as tokenizer_models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from semantic_pivots import documents, evaluation, transfer
from semantic_pivots.artifacts import Store
from semantic_pivots.corpus import shards
from semantic_pivots.documents import encode, subset
from semantic_pivots.mixture import Mix, balanced_sample, epoch_rows, load_tokens, read_documents
from semantic_pivots.models import ModelError
from semantic_pivots.tokenizer import as_transformers, train_tokenizer
from semantic_pivots.transfer import Base, Recipe, run_arms, train_arm, validation_rows
from tests.test_mixture import make_corpus

RECIPE = Recipe(tokens=3000, lr=1e-2, batch_rows=4, context=32, compile=False, precision="float32", threads=1, validation_rows=4)


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    """A toy corpus and a tiny model of its tokenizer."""
    folder = tmp_path_factory.mktemp("setting")
    make_corpus(folder / "corpus", 150)
    tokenizer = train_tokenizer(balanced_sample(folder / "corpus"), 420)
    torch.manual_seed(0)
    shape = LlamaConfig(vocab_size=tokenizer.get_vocab_size(), hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True, pad_token_id=0, bos_token_id=1, eos_token_id=2)  # fmt: skip
    LlamaForCausalLM(shape).save_pretrained(folder / "model")
    as_transformers(tokenizer).save_pretrained(folder / "model")
    return folder, tokenizer, load_tokens(tokenizer, folder / "corpus")


@pytest.fixture
def base(setting):
    return Base(f"path:{setting[0] / 'model'}", RECIPE)


@pytest.fixture(scope="module")
def parallel():
    return pd.DataFrame({"sentence_id": [f"s{i}" for i in range(4)], "en": ["a dog", "one cat", "the sea", "red"], "fr": ["un chien", "chat", "mer", "rouge"], "zh": list("狗猫海红"), "ja": ["イヌ", "ネコ", "うみ", "あか"]})  # fmt: skip


def weights(base):
    return {n: p.detach().clone() for n, p in base.network.model.named_parameters()}


def equal(a, b):
    return all(torch.equal(a[n], b[n]) for n in a)


def test_a_subset_reads_as_its_documents_would(setting):
    _, tokenizer, tokens = setting
    documents = np.array([5, 90, 2, 41])
    part = subset(tokens, documents)
    assert len(part) == 4 and part.lengths().tolist() == tokens.lengths()[documents].tolist() and part.mixed.all() and not part.held_out.any()
    for new, old in enumerate(documents):
        a, b = (c.tokens[c.segment_start[c.document_start[d]] : c.segment_start[c.document_start[d + 1]]] for c, d in ((part, new), (tokens, old)))
        assert a.tolist() == b.tolist()
        lo, hi = tokens.document_start[old], tokens.document_start[old + 1]
        units = part.segment_unit[part.document_start[new] : part.document_start[new + 1]]
        assert np.diff(units).tolist() == np.diff(tokens.segment_unit[lo:hi]).tolist()
    # the same documents encoded anew give the same rows
    every = [d for p in shards(setting[0] / "corpus") for d in read_documents(p)]
    again = encode([every[d] for d in documents], tokenizer, tokens.special)
    rows = [epoch_rows(c, 3, 0, 32, Mix(1, 1)) for c in (part, again)]
    assert np.array_equal(rows[0].ids, rows[1].ids) and np.array_equal(rows[0].piece, rows[1].piece)
    assert subset(tokens, documents[::-1]).digest != part.digest


def test_documents_are_found_by_id_and_held_out_ones_are_those_of_the_training(setting):
    folder, _, tokens = setting
    every = [d for p in shards(folder / "corpus") for d in read_documents(p)]
    assert [d.doc_id for d in documents.documents_of(folder / "corpus", [every[7].doc_id, every[3].doc_id])] == [every[7].doc_id, every[3].doc_id]
    with pytest.raises(ValueError, match="has no document 'nothing' \\(1 of 1 are missing\\)"):
        documents.documents_of(folder / "corpus", ["nothing"])
    held = {d.doc_id for d in documents.held_out_documents(folder / "corpus")}
    assert held == {d.doc_id for d, h in zip(every, tokens.held_out) if h}


def test_every_run_starts_from_the_base_and_is_kept(setting, base, parallel, tmp_path):
    _, _, tokens = setting
    validation = validation_rows(base, tokens, parallel)
    arm = subset(tokens, np.arange(20, 90))
    log = train_arm(base, arm, 0, validation, tmp_path)
    first = weights(base)
    assert not equal(first, base.start) and log.tokens.iloc[-1] >= 3000 and log.lr.iloc[-1] < 2e-3 and log.lr.max() == pytest.approx(1e-2, rel=0.1)
    assert log.dropna(subset=["parallel_en"]).shape[0] == 3 and log.loss.iloc[-3:].mean() < log.loss.iloc[:3].mean()
    train_arm(base, arm, 1, validation, tmp_path)
    assert not equal(weights(base), first)
    stamp = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    again = train_arm(base, arm, 0, validation, tmp_path)
    assert equal(weights(base), first) and again.equals(log) and stamp == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    assert not list(tmp_path.rglob("state.safetensors")) and len(list(tmp_path.iterdir())) == 2
    fresh = Base(f"path:{setting[0] / 'model'}", RECIPE)
    train_arm(fresh, arm, 0, validation, tmp_path / "elsewhere")
    assert equal(weights(fresh), first), "a run depends on what ran before it"


KILLED = """
    import sys
    from dataclasses import replace
    from pathlib import Path
    import numpy as np, pandas as pd
    from tokenizers import Tokenizer
    from semantic_pivots import transfer
    from semantic_pivots.documents import subset
    from semantic_pivots.mixture import load_tokens
    from semantic_pivots.training import TrainingConfig
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    original = transfer.Recipe.config
    transfer.Recipe.config = lambda self, network, seed: replace(original(self, network, seed), checkpoint_minutes=0.0)
    base = transfer.Base(f"path:{folder / 'model'}", transfer.Recipe(tokens=3000, lr=1e-2, batch_rows=4, context=32, compile=False, precision="float32", threads=1, validation_rows=4))
    tokens = load_tokens(Tokenizer.from_file(str(folder / "model" / "tokenizer.json")), folder / "corpus")
    parallel = pd.read_json(sys.argv[3])
    transfer.train_arm(base, subset(tokens, np.arange(20, 90)), 0, transfer.validation_rows(base, tokens, parallel), out)
"""


def test_a_killed_run_ends_as_an_uninterrupted_one(setting, base, parallel, tmp_path, monkeypatch):
    original = Recipe.config
    monkeypatch.setattr(Recipe, "config", lambda self, network, seed: replace(original(self, network, seed), checkpoint_minutes=0.0))
    folder, _, tokens = setting
    arm, validation = subset(tokens, np.arange(20, 90)), validation_rows(base, tokens, parallel)
    log = train_arm(base, arm, 0, validation, tmp_path / "whole").drop(columns="tokens_per_s")
    whole = weights(base)
    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(KILLED))
    parallel.to_json(tmp_path / "parallel.json")
    process = subprocess.Popen([sys.executable, str(script), str(folder), str(tmp_path / "killed"), str(tmp_path / "parallel.json")], env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}, stderr=subprocess.DEVNULL)  # fmt: skip
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        logs = list((tmp_path / "killed").rglob("log.csv"))
        if logs and logs[0].read_text().count("\n") > 8:
            break
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list((tmp_path / "killed").rglob("state.safetensors")), "the run was not killed in the middle"
    resumed = train_arm(base, arm, 0, validation, tmp_path / "killed").drop(columns="tokens_per_s")
    pd.testing.assert_frame_equal(resumed, log)
    assert equal(weights(base), whole)


def test_all_arms_are_trained_tested_and_taken_from_the_store(setting, base, parallel, lexicon, tmp_path, monkeypatch):
    monkeypatch.setenv("SEMANTIC_PIVOTS_RESULTS", str(tmp_path / "results"))
    _, _, tokens = setting
    validation, pairs = validation_rows(base, tokens, parallel), [("en", "fr")]
    concepts = pd.Series("seen", lexicon.index[:3])
    tests, sentences = evaluation.word_tests(lexicon, concepts, pairs, 1, 0, "lines"), evaluation.sentence_pairs(parallel, pairs, 3, 50, 0)
    arms = {"random": subset(tokens, np.arange(20, 90)), "pivot": subset(tokens, np.arange(60, 140))}
    call = (
        base,
        [arms, arms | {"random": subset(tokens, np.arange(30, 100))}],
        validation,
        tests,
        sentences,
        Store("test"),
        tmp_path / "runs",
        evaluation.TranslationTask(parallel, (("en", "fr"),), 2, 50, 1, 0),
    )
    made = run_arms(*call)
    training, scores, gains, translations = (made[k] for k in ("training", "scores", "gains", "translations"))
    runs = [("none", 0), ("random", 0), ("pivot", 0), ("random", 1), ("pivot", 1)]
    for table in (training, scores, gains, translations):
        assert list(dict.fromkeys(zip(table.arm, table.seed))) == runs
    assert scores.groupby(["arm", "seed"]).score.sum().nunique() == 5 and (scores.tokens[scores.arm == "none"] == 0).all()
    start = training[training.arm == "none"].iloc[0]
    assert start.val_en > 0 and transfer.final_losses(training).set_index(["arm", "seed"]).loc[("random", 1)].val_en != start.val_en
    monkeypatch.setattr(transfer, "train_arm", lambda *a: pytest.fail("trained again"))
    again = run_arms(*call)
    for name, table in made.items():
        pd.testing.assert_frame_equal(again[name], table)
    assert not len(run_arms(*call[:-1])["translations"])
    later = run_arms(call[0], [{}, call[1][1]], *call[2:])["scores"]
    assert set(zip(later.arm, later.seed)) == {("none", 0), ("random", 1), ("pivot", 1)}, "a seed without arms is passed over, the others keep their numbers"


def test_a_second_tokenizer_is_served_without_padding_or_beginning_of_its_own(setting, parallel, tmp_path):
    """As SmolLM2's: byte-level, the end of a text its only special token of the three."""
    folder, _, _ = setting
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(tokenizer_models.BPE({"<|end|>": 0, **{c: i + 1 for i, c in enumerate(alphabet)}}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>").save_pretrained(tmp_path / "model")
    shape = LlamaConfig(vocab_size=257, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=True, eos_token_id=0)  # fmt: skip
    LlamaForCausalLM(shape).save_pretrained(tmp_path / "model")
    base = Base(f"path:{tmp_path / 'model'}", RECIPE)
    assert base.special[:3] == (0, 0, 0)
    every = [d for p in shards(folder / "corpus") for d in read_documents(p)]
    validation = validation_rows(base, [d for d in every if not d.mixed][:20], parallel)
    assert {"val_en", "parallel_ja"} <= set(validation)
    log = train_arm(base, encode(every[:60], base.backend, base.special), 0, validation, tmp_path / "runs")
    assert log.loss.iloc[-1] < log.loss.iloc[0] and np.isfinite(log.parallel_zh.iloc[-1])
    assert evaluation.sentence_gains(base.as_model("x", ""), evaluation.sentence_pairs(parallel, [("en", "ja")], 3, 50, 0), base.special).gain.notna().all()


def test_a_model_of_another_shape_is_refused(setting, tmp_path):
    shape = LlamaConfig(vocab_size=420, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=False)  # fmt: skip
    LlamaForCausalLM(shape).save_pretrained(tmp_path / "model")
    as_transformers(setting[1]).save_pretrained(tmp_path / "model")
    with pytest.raises(ModelError, match="it is no Llama with one matrix for embedding and unembedding"):
        Base(f"path:{tmp_path / 'model'}", RECIPE)


def test_the_command_line_names_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SEMANTIC_PIVOTS_RESULTS", str(tmp_path))
    Store("laptop").write("selection", pd.DataFrame({"arm": ["random"], "doc_id": ["d"], "n_tokens": [1], "pivot_share": [0.0], "rank": [1]}))
    with pytest.raises(SystemExit):
        transfer.main(["--arms", "pivot_npmi"])
    assert "selected no arm 'pivot_npmi'; there are random" in capsys.readouterr().err
    assert json.loads((tmp_path / "laptop" / "manifest.json").read_text())["tables"]["selection"]["rows"] == 1


def test_a_thinned_corpus_is_a_nested_part(setting, tmp_path):
    folder = setting[0] / "corpus"
    small, large = (documents.thinned(folder, share, tmp_path) for share in (0.2, 0.6))
    ids = [{d.doc_id for p in shards(f) for d in read_documents(p)} for f in (small, large, folder)]
    assert ids[0] < ids[1] < ids[2] and 0.4 < len(ids[1]) / len(ids[2]) < 0.8
    assert documents.thinned(folder, 1, tmp_path) == folder and not list(tmp_path.glob(".*"))
    with pytest.raises(ValueError, match="a share of 0 documents"):
        documents.thinned(folder, 0, tmp_path)
