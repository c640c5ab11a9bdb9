import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from semantic_pivots import models, training
from semantic_pivots.fingerprint import sha256_file
from semantic_pivots.mixture import balanced_sample, epoch_rows, load_tokens
from semantic_pivots.tokenizer import save_tokenizer, train_tokenizer
from semantic_pivots.training import Trainer, TrainingConfig, cross_entropy, learning_rate, make_optimizers, visible
from tests.test_mixture import make_corpus


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    """A toy corpus, its tokenizer and a tiny configuration."""
    folder = tmp_path_factory.mktemp("setting")
    make_corpus(folder / "corpus", 150)
    tokenizer = train_tokenizer(balanced_sample(folder / "corpus"), 420)
    save_tokenizer(tokenizer, folder / "tokenizer")
    pd.DataFrame({"en": ["dog"], "fr": ["chien"], "zh": ["狗"], "ja": ["イヌ"]}).to_parquet(folder / "parallel.parquet")
    config = TrainingConfig(
        corpus=str(folder / "corpus"), tokenizer=str(folder / "tokenizer"), parallel=str(folder / "parallel.parquet"), vocabulary=tokenizer.get_vocab_size(), hidden=16, layers=2, heads=2, intermediate=24,
        context=32, total_tokens=12_000, batch_rows=8, lr=1e-2, warmup_tokens=1000, export_tokens=(2000, 6000), validate_tokens=5000, checkpoint_minutes=0.0,
        compile=False, precision="float32", threads=1,
    )  # fmt: skip
    return folder, config, tokenizer, load_tokens(tokenizer, folder / "corpus")


def trained(setting, out, **changes):
    _, config, tokenizer, tokens = setting
    trainer = Trainer(replace(config, **changes), out, tokens, tokenizer)
    trainer.run()
    return trainer


@pytest.fixture(scope="module")
def whole(setting, tmp_path_factory):
    """An uninterrupted run."""
    return trained(setting, tmp_path_factory.mktemp("whole"))


def same_log(a, b):
    tables = [pd.read_csv(f / "log.csv").drop(columns="tokens_per_s") for f in (a, b)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_a_run_killed_in_the_middle_ends_as_an_uninterrupted_one(setting, whole, tmp_path):
    config = tmp_path / "run.yaml"
    # states lag behind the log, so that steps and an export are made once more
    config.write_text(yaml.safe_dump(json.loads(json.dumps(asdict(replace(setting[1], checkpoint_minutes=0.0005))))))
    command = [sys.executable, "-m", "semantic_pivots.training", "--config", str(config), "--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        command, env=os.environ | {"SEMANTIC_PIVOTS_CACHE": str(tmp_path / "cache"), "CUDA_VISIBLE_DEVICES": ""}, stderr=subprocess.DEVNULL
    )
    log, until = tmp_path / "run" / "log.csv", time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until and (not log.is_file() or log.read_text().count("\n") < 24):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with safe_open(tmp_path / "run" / "state.safetensors", "pt") as file:
        assert 0 < json.loads(file.metadata()["run"])["state"]["step"] < len(whole.log)
    (tmp_path / "run" / ".state-left.safetensors").write_bytes(b"half")
    (tmp_path / "run" / ".tmpABCdef").write_bytes(b"half of what safetensors was writing")
    assert 10 < log.read_text().count("\n") < len(whole.log), "the run was not killed in the middle"
    resumed = trained(setting, tmp_path / "run")
    assert resumed.state == whole.state
    for (name, a), b in zip(resumed.network.model.named_parameters(), whole.network.model.parameters()):
        assert torch.equal(a, b), name
    same_log(tmp_path / "run", whole.out)
    assert not list((tmp_path / "run").glob(".*"))
    names = [p.name for p in whole.out.iterdir() if p.is_dir()]
    assert sorted(names) == ["tokens-12k", "tokens-2k", "tokens-6k"]
    assert all(sha256_file(whole.out / n / "model.safetensors") == sha256_file(tmp_path / "run" / n / "model.safetensors") for n in names)


def test_a_finished_run_stays_as_it_is(setting, whole):
    before = sha256_file(whole.out / "state.safetensors")
    assert trained(setting, whole.out).state == whole.state
    assert sha256_file(whole.out / "state.safetensors") == before


def test_another_configuration_corpus_or_damaged_state_is_refused(setting, whole, tmp_path):
    with pytest.raises(ValueError, match=r"another configuration: layers is 3, was 2; lr is 0.02, was 0.01"):
        trained(setting, whole.out, lr=0.02, layers=3)
    folder, config, tokenizer, _ = setting
    other = load_tokens(tokenizer, make_corpus(tmp_path / "other", 20, seed=3))
    with pytest.raises(ValueError, match="another corpus: sha256"):
        Trainer(config, whole.out, other, tokenizer)
    (tmp_path / "state.safetensors").write_bytes(b"broken")
    with pytest.raises(ValueError, match="state.safetensors is damaged"):
        trained(setting, tmp_path)


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(setting, tmp_path):
    _, config, tokenizer, tokens = setting
    trainer = Trainer(config, tmp_path, tokens, tokenizer)
    parameter = next(trainer.network.model.parameters())
    parameter.register_hook(lambda gradient: gradient * float("nan"))
    before = parameter.detach().clone()
    with pytest.raises(FloatingPointError, match=r"the length of the gradient nan at step 1; try a lower lr than 0.01"):
        trainer.run()
    assert torch.equal(parameter, before) and not trainer.checkpoint_path.exists()


def test_starting_again_leaves_nothing_of_the_run_before(setting, whole, tmp_path):
    shutil.copytree(whole.out, tmp_path / "run")
    (tmp_path / "run" / "state.safetensors").unlink()
    again = trained(setting, tmp_path / "run", total_tokens=3000, export_tokens=(1000,))
    assert (
        sorted(p.name for p in again.out.glob("tokens-*"))
        == ["tokens-1k", "tokens-3k"]
        == sorted(json.loads((again.out / "manifest.json").read_text())["checkpoints"])
    )


def test_loss_falls_and_the_log_has_validation_losses(whole):
    log = pd.read_csv(whole.out / "log.csv")
    assert list(log.columns) == training.LOG_COLUMNS
    assert log.loss.iloc[-5:].mean() < log.loss.iloc[:5].mean() - 1
    assert log[["val_en", "val_fr", "val_zh", "val_ja", "parallel_ja"]].dropna().shape[0] >= 4
    assert log.tokens.is_monotonic_increasing and log.tokens.iloc[-1] >= 12_000


def test_exports_load_and_the_manifest_lists_them(setting, whole):
    manifest = json.loads((whole.out / "manifest.json").read_text())
    assert manifest["corpus_sha256"] == setting[3].digest and manifest["seed"] == 0 and manifest["config"]["hidden"] == 16
    for name, entry in manifest["checkpoints"].items():
        assert all(sha256_file(whole.out / name / f) == s for f, s in entry["files"].items())
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(entry["files"]) and entry["validation"]["val_en"] > 0
    final = whole.out / "tokens-12k"
    assert {t.dtype for t in load_file(final / "model.safetensors").values()} == {torch.bfloat16}
    network, tokenizer = AutoModelForCausalLM.from_pretrained(final), AutoTokenizer.from_pretrained(final)
    assert network(**tokenizer("dog", return_tensors="pt")).logits.shape[-1] == setting[1].vocabulary
    assert models.load(f"path:{final}", dtype="float32").n_layers == 2


def test_documents_of_a_row_do_not_see_each_other(setting):
    _, config, _, tokens = setting
    network = training.Network(replace(config, context=64))
    batch = epoch_rows(tokens, 0, 0, 64).batch(0, 4)

    def hidden(b):
        ids, _, positions, piece = map(torch.from_numpy, b)
        return network.body(inputs_embeds=network.embedding(ids), attention_mask=visible(piece), position_ids=positions, use_cache=False)[0].detach()

    assert (batch.piece.max(1) >= 2).any()
    changed = batch._replace(input_ids=np.where(batch.piece == 1, (batch.input_ids + 7) % config.vocabulary, batch.input_ids))
    a, b = hidden(batch), hidden(changed)
    others = torch.from_numpy(batch.piece) > 1
    assert torch.equal(a[others], b[others]) and not torch.equal(a, b)
    row = int(np.flatnonzero(batch.piece.max(1) >= 2)[0])
    alone = torch.from_numpy(batch.input_ids[row][batch.piece[row] == 2])[None]
    torch.testing.assert_close(network.model.model(alone)[0][0], a[row][torch.from_numpy(batch.piece[row] == 2)], atol=1e-5, rtol=1e-4)


def test_cross_entropy_is_that_of_torch(monkeypatch):
    monkeypatch.setattr(training, "HEAD_ROWS", 16)
    torch.manual_seed(0)
    hidden, weight = torch.randn(40, 8, requires_grad=True), torch.randn(30, 8, requires_grad=True)
    labels = torch.randint(0, 30, (40,))
    labels[::7] = -100
    ours = cross_entropy(hidden, weight, labels)
    gradients = torch.autograd.grad(ours * 2, (hidden, weight))
    plain = torch.nn.functional.cross_entropy(hidden @ weight.T, labels)
    torch.testing.assert_close(ours, plain)
    with torch.no_grad():
        torch.testing.assert_close(cross_entropy(hidden, weight, labels), plain.detach())
    for a, b in zip(gradients, torch.autograd.grad(plain * 2, (hidden, weight))):
        torch.testing.assert_close(a, b)


def test_learning_rate_warms_up_stays_and_ends_at_zero():
    config = TrainingConfig(total_tokens=1000, warmup_tokens=100, lr=1.0)
    assert learning_rate(config, 0) == 0.01 and learning_rate(config, 500) == 1.0
    assert learning_rate(config, 900) == pytest.approx(0.5) and learning_rate(config, 1000) == 0
    assert learning_rate(replace(config, schedule="cosine"), 1000) == pytest.approx(0.05)


def test_wrong_settings_are_named(tmp_path):
    (tmp_path / "x.yaml").write_text("hiden: 3\n")
    with pytest.raises(ValueError, match="unknown settings hiden"):
        TrainingConfig.from_yaml(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text("lr: 1e-3\ntotal_tokens: 2e6\nexport_tokens: [1e5, 1000000]\ncompile: false\n")
    read = TrainingConfig.from_yaml(tmp_path / "x.yaml")
    assert (read.lr, read.total_tokens, read.export_tokens, read.compile) == (0.001, 2_000_000, (100_000, 1_000_000), False)
    for wrong in ("lr: fast", "layers: 2.5", "compile: 1", "layers: true"):
        (tmp_path / "x.yaml").write_text(wrong)
        with pytest.raises(ValueError, match="must be of the kind of"):
            TrainingConfig.from_yaml(tmp_path / "x.yaml")
    with pytest.raises(ValueError, match="schedule 'linear' is not known"):
        TrainingConfig(schedule="linear")
    with pytest.raises(ValueError, match="not a multiple of heads"):
        TrainingConfig(heads=3)
    with pytest.raises(ValueError, match=r"clip \(0.0\) must be positive"):
        TrainingConfig(clip=0.0)


def test_without_a_compiler_it_warns_and_trains(setting, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(training.shutil, "which", lambda name: None)
    with pytest.warns(UserWarning, match="no C\\+\\+ compiler"):
        network = training.Network(replace(setting[1], compile=True))
    assert network.loss(epoch_rows(setting[3], 0, 0, 32).batch(0, 2)).item() > 0


@pytest.mark.parametrize("shape", [(8, 8), (8, 24), (24, 8)])
def test_muon_in_float32_takes_the_steps_of_torchs(shape):
    torch.manual_seed(0)
    gradient, start = torch.randn(shape), torch.randn(shape)
    moved = []
    for muon in (torch.optim.Muon, training.Float32Muon):
        p = torch.nn.Parameter(start.clone())
        optimizer = muon([p], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
        for k in range(3):
            p.grad = gradient * (k + 1)
            optimizer.step()
        moved.append(p.detach() - start)
    assert (moved[0] - moved[1]).norm() < 0.02 * moved[0].norm()  # torch's products are rounded to eight bits
    optimizers = make_optimizers(torch.nn.Linear(*shape), TrainingConfig(precision="float32"))
    assert {type(o) for o in optimizers} == {torch.optim.AdamW, training.Float32Muon}
