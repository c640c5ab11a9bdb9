"""Models trained again: which are taken, and the tests for all of them together against plain ones."""

import json

import numpy as np
import pandas as pd
import pytest

from semantic_pivots import repetitions, report_causal
from semantic_pivots.models import ModelError
from semantic_pivots.severance import GROUPS


def trained(seed, **other):
    config = {"seed": seed, "hidden": 8, "threads": seed, "total_tokens": 2000, "precision": "float32" if seed else "bfloat16", "validate_tokens": 10 * seed}
    manifest = {"seed": seed, "assignment_sha256": "a", "corpus_sha256": "b", "tokenizer_sha256": "c", "config": config}
    return manifest | {"checkpoints": {"tokens-1k": {"tokens": 1000}, "tokens-2k": {"tokens": 2000}}} | other


def write(home, name, manifest):
    (home / name).mkdir(parents=True, exist_ok=True)
    (home / name / "manifest.json").write_text(json.dumps(manifest))


def test_repetitions_are_of_the_same_draw_corpus_and_recipe(tmp_path):
    write(tmp_path, "", trained(0))
    assert repetitions.find_repetitions(tmp_path) == {}
    write(tmp_path, "seed-10", trained(10))
    write(tmp_path, "seed-2", trained(2))
    assert repetitions.find_repetitions(tmp_path) == {
        "seed 2": "known-corpus/seed-2@tokens-2k",
        "seed 10": "known-corpus/seed-10@tokens-2k",
    }
    assert repetitions.precisions(tmp_path) == {"seed 0": "bfloat16", "seed 2": "float32", "seed 10": "float32"}
    write(tmp_path, "seed-3", trained(3, corpus_sha256="other"))
    with pytest.raises(ModelError, match="seed-3 .*corpus_sha256: other, not b"):
        repetitions.find_repetitions(tmp_path)
    write(tmp_path, "seed-3", trained(3, config={"seed": 3, "hidden": 16, "threads": 1, "total_tokens": 2000}))
    with pytest.raises(ModelError, match="hidden: 16, not 8"):
        repetitions.find_repetitions(tmp_path)
    write(tmp_path, "seed-3", trained(0))
    with pytest.raises(ModelError, match="its seed 0 is that of"):
        repetitions.find_repetitions(tmp_path)


def simulated(n_blocks, effect, of_training, generator):
    groups = list(GROUPS) * n_blocks
    ids = [f"c{i}" for i in range(len(groups))]
    assignment = pd.DataFrame({"concept_id": ids, "triple": "fr-en-ja", "block": np.repeat(np.arange(n_blocks), 4), "group": groups})
    meets, words = np.isin(groups, ("full", "direct_only")), generator.normal(0, 0.1, len(ids))
    trainings = {
        f"seed {k}": pd.DataFrame(
            {"concept_id": ids, "direction": "fr-ja", "reciprocal_rank": 0.4 + words + meets * (effect + shift) + generator.normal(0, 0.1, len(ids))}
        )
        for k, shift in enumerate(of_training)
    }
    return assignment, trainings


def test_trainings_stand_side_by_side_with_their_mean():
    assignment, trainings = simulated(20, 0.3, (0, 0), np.random.default_rng(0))
    table = repetitions.tests_by_training(trainings, assignment, 0.3, 199, 100).set_index(["training", "contrast"])
    assert list(dict.fromkeys(table.index.get_level_values(0))) == ["seed 0", "seed 1", "mean of 2"]
    direct = table.xs("direct", level="contrast")
    assert direct.estimate["mean of 2"] == pytest.approx(direct.estimate.iloc[:2].mean()) and direct.p_holm.max() < 0.05
    assert direct.sd_trainings["mean of 2"] == pytest.approx(direct.estimate.iloc[:2].std()) and direct.sd_trainings.iloc[:2].isna().all()
    text = report_causal.trainings_sentences(
        table.reset_index().assign(precision=lambda t: t.training.map({"seed 0": "bfloat16", "seed 1": "float32"}).fillna(""))
    )
    assert "Trained in bfloat16 (seed 0), float32 (seed 1)." in text
    assert f"seed 1 {direct.estimate['seed 1']:.3f}" in text and f"{direct.mixed_low['mean of 2']:.3f}" in text
    with pytest.raises(ValueError, match="seed 1 was scored on other concepts than seed 0"):
        repetitions.tests_by_training(trainings | {"seed 1": trainings["seed 1"].iloc[1:]}, assignment, 0.3, 99, 50)
    alone = repetitions.tests_by_training({"seed 0": trainings["seed 0"]}, assignment, 0.3, 199, 100)
    assert set(alone.training) == {"seed 0"} and "trained once" in report_causal.trainings_sentences(alone)


def test_trainings_that_disagree_widen_the_interval_that_covers_another():
    def width(of_training):
        table = repetitions.tests_by_training(*reversed(simulated(20, 0.1, of_training, np.random.default_rng(1))), 0.3, 99, 200)
        row = table[(table.training == "mean of 3") & (table.contrast == "direct")].iloc[0]
        return row.mixed_high - row.mixed_low, row.ci_high - row.ci_low

    (alike, given), (apart, given_apart) = width((0, 0, 0)), width((-0.3, 0, 0.3))
    assert alike < 2 * given and given_apart < 2 * given and apart > 4 * given_apart
