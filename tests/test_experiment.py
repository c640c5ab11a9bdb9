"""Settings of the experiment, publishing of checkpoints, and the committed known-corpus model."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from semantic_pivots import experiment, models, pretrain
from semantic_pivots.fingerprint import sha256_file
from semantic_pivots.mixture import balanced_sample, corpus_digest, load_tokens
from semantic_pivots.severance import GROUPS, assignment_digest
from semantic_pivots.tokenizer import train_tokenizer
from semantic_pivots.training import Trainer, TrainingConfig
from tests.test_mixture import make_corpus


def test_settings_are_read_and_unknown_ones_are_named(tmp_path):
    path = tmp_path / "experiment.yaml"
    path.write_text("severance:\n  triple: zh-en-fr\n  min_both: 7\ntraining:\n  layers: 3\n")
    severance, training = experiment.read_settings(path)
    assert severance == experiment.Severance("zh-en-fr", min_both=7) and training == {"layers": 3}
    for text, named in (("sever: {}\n", "unknown part 'sever'"), ("severance:\n  tripel: x\n", "unknown setting of severance 'tripel'")):
        path.write_text(text)
        with pytest.raises(ValueError, match=named):
            experiment.read_settings(path)


def test_the_digest_is_of_what_a_corpus_says_not_of_its_files(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMANTIC_PIVOTS_CACHE", str(tmp_path / "home"))
    folder = make_corpus(tmp_path / "a", 30)
    shutil.copytree(folder, tmp_path / "b")
    for path in (tmp_path / "b").glob("*.parquet"):
        pq.write_table(pq.read_table(path), path, compression="none")
        assert sha256_file(path) != sha256_file(folder / path.name)
    assert corpus_digest(folder) == corpus_digest(tmp_path / "b")
    experiment.require_same_corpus(folder, {"corpus_sha256": corpus_digest(folder)})
    other, cache = make_corpus(tmp_path / "c", 30, seed=5), tmp_path / "cache"
    assert [corpus_digest(f, cache) for f in (folder, other, folder)] == [corpus_digest(f) for f in (folder, other, folder)]
    for kept in cache.iterdir():
        kept.write_text("cut off")
    assert corpus_digest(folder, cache) == corpus_digest(folder) and len(list(cache.iterdir())) == 2
    with pytest.raises(models.ModelError, match=rf"sha256 {corpus_digest(folder)}, .* has {corpus_digest(other)}"):
        experiment.require_same_corpus(other, {"corpus_sha256": corpus_digest(folder)})


@pytest.fixture
def finished_run(tmp_path):
    corpus = make_corpus(tmp_path / "corpus", 60)
    tokenizer = train_tokenizer(balanced_sample(corpus), 420)
    config = TrainingConfig(
        corpus=str(corpus), parallel="", vocabulary=tokenizer.get_vocab_size(), hidden=16, layers=2, heads=2, intermediate=24, context=32,
        total_tokens=2000, batch_rows=8, warmup_tokens=100, export_tokens=(1000,), validate_tokens=1000, compile=False, precision="float32", threads=1,
    )  # fmt: skip
    trainer = Trainer(config, tmp_path / "run", load_tokens(tokenizer, corpus), tokenizer)
    trainer.run()
    return tmp_path / "run"


def test_published_checkpoints_are_loaded_by_name_and_old_ones_go(finished_run, tmp_path, monkeypatch):
    root = tmp_path / "root"
    home = root / "data" / "models" / models.KNOWN_CORPUS
    (home / "tokens-9M").mkdir(parents=True)
    assignment = pd.DataFrame({"concept_id": ["a.n"], "triple": "fr-en-ja", "block": 0, "group": "full"})
    pretrain.publish(finished_run, home, assignment, experiment.Severance())
    assert sorted(p.name for p in home.iterdir()) == ["assignment.parquet", "log.csv", "manifest.json", "tokens-1k", "tokens-2k"]
    manifest = experiment.read_manifest(home)
    assert manifest["config"]["corpus"] == "" and str(tmp_path) not in json.dumps(manifest)
    assert manifest["assignment_sha256"] == assignment_digest(assignment) and manifest["severance"]["triple"] == "fr-en-ja"
    pd.testing.assert_frame_equal(experiment.read_assignment(home), assignment)
    assignment.assign(group="none").to_parquet(home / experiment.ASSIGNMENT)
    with pytest.raises(models.ModelError, match="digest"):
        experiment.read_assignment(home)
    monkeypatch.setattr(models, "ROOT", root)
    lm = models.load(models.KNOWN_CORPUS, dtype="float32")
    assert lm.n_layers == 2 and lm.checksum != models.load(f"{models.KNOWN_CORPUS}@tokens-1k", dtype="float32").checksum
    pretrain.publish(finished_run, home / "seed-1", assignment, experiment.Severance(), last_only=True)
    assert [p.name for p in (home / "seed-1").glob("tokens-*")] == list(experiment.read_manifest(home / "seed-1")["checkpoints"]) == ["tokens-2k"]
    assert models.load(f"{models.KNOWN_CORPUS}/seed-1", dtype="float32").checksum == lm.checksum


def test_without_a_trained_model_the_way_out_is_named(tmp_path):
    with pytest.raises(models.ModelError, match="make pretrain"):
        experiment.read_manifest(tmp_path)


def test_another_optimizer_is_another_run():
    config = TrainingConfig()
    assert config.optimizer == "muon" and replace(config, optimizer="adamw") != config
    with pytest.raises(ValueError, match="optimizer 'sgd' is not known"):
        replace(config, optimizer="sgd")


# --- the committed model ----------------------------------------------------------------------------------------------


def test_committed_checkpoints_are_those_of_the_manifest():
    manifest = experiment.read_manifest()
    found = {p.name for p in experiment.HOME.glob("tokens-*")}
    assert found == set(manifest["checkpoints"]) and len(found) >= 6
    total = 0
    for name, entry in manifest["checkpoints"].items():
        assert {f: sha256_file(experiment.HOME / name / f) for f in entry["files"]} == entry["files"]
        total += sum((experiment.HOME / name / f).stat().st_size for f in entry["files"])
    assert total <= 100e6


def test_committed_groups_are_blocked_and_of_the_manifest():
    manifest = experiment.read_manifest()
    assignment = experiment.read_assignment()  # compares it with the manifest
    assert (assignment.groupby("block").group.agg(set) == set(GROUPS)).all() and assignment.concept_id.is_unique
    assert manifest["severance"] == vars(experiment.read_severance())


def test_committed_severance_proves_the_cuts():
    path = experiment.ROOT / "data" / "results" / "laptop" / "severance.parquet"
    table = pd.read_parquet(path)
    cut = table[table.cut]
    assert len(cut) and (cut.n_both_after == 0).all() and (cut[cut.edge != "source-fourth"].n_both_before > 0).all()
    for end in ("first", "second"):
        change = table[f"n_{end}_after"] - table[f"n_{end}_before"]
        assert (change >= 0).all() and (change <= np.maximum(2, 0.01 * table[f"n_{end}_before"])).all()


def test_cut_only_cuts_as_the_committed_draw_says_and_trains_nothing(monkeypatch):
    seen = []
    monkeypatch.setattr(pretrain, "cut_corpus", lambda *a: seen.append(a))
    monkeypatch.setattr(pretrain, "train", lambda *a: pytest.fail("it trains"))
    pretrain.main(["--cut-only"])
    (severance, assignment, forms), *more = seen
    assert not more and severance == experiment.read_severance() and assignment.equals(experiment.read_assignment())
