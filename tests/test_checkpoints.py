"""Outcomes of the severance experiment against plain loops on made-up scores."""

import numpy as np
import pandas as pd
import pytest

from semantic_pivots import checkpoints, factorial, task
from semantic_pivots.artifacts import ROOT
from semantic_pivots.severance import GROUPS


@pytest.fixture(scope="module")
def lexicon():
    return task.read_lexicon(ROOT / "data" / "lexicon.parquet")


@pytest.fixture(scope="module")
def items(lexicon):
    return task.build_items(lexicon, task.draw_concepts(lexicon, 60, 3), ("fr", "ja"), 3)


def assigned(concept_ids):
    groups = list(GROUPS)
    return pd.DataFrame(
        {"concept_id": concept_ids, "triple": "fr-en-ja", "block": np.arange(len(concept_ids)) // 4, "group": [groups[i % 4] for i in range(len(concept_ids))]}
    )


def test_a_foreign_target_is_never_a_translation_of_any_of_the_ten_words(lexicon, items):
    foreign = checkpoints.foreign_targets(items, lexicon, 0)
    assert foreign.drop(columns="target_word").equals(items.drop(columns="target_word")) and (foreign.target_word != items.target_word).all()
    word_of = {row.target_word: row for row in items.itertuples()}
    for row in foreign.itertuples():
        other = word_of[row.target_word]
        assert other.concept_id not in lexicon.conflicts[row.concept_id] and other.source_word not in [row.source_word, *row.distractors]
    same_pos = [lexicon.pos[word_of[r.target_word].concept_id] == lexicon.pos[r.concept_id] for r in foreign.itertuples()]
    assert np.mean(same_pos) > 0.9
    assert checkpoints.foreign_targets(items, lexicon, 0).equals(foreign) and not checkpoints.foreign_targets(items, lexicon, 1).equals(foreign)


def test_without_another_concept_there_is_no_foreign_target(lexicon, items):
    with pytest.raises(ValueError, match=r"\(fr-ja\): no other concept's translation"):
        checkpoints.foreign_targets(items.head(1), lexicon, 0)


def test_a_block_with_an_untestable_concept_is_left_out_whole(lexicon):
    pool = task.Pool(lexicon, ["test"])
    good = [c for c in pool.table.index[:40] if pool.enough(c)][:8]
    bad = next(c for c in lexicon[lexicon.split == "test"].index if not pool.enough(c, ("fr", "en", "ja")))
    kept = checkpoints.scorable(lexicon, assigned([*good[:6], bad, good[7]]))
    assert kept.concept_id.tolist() == good[:4] and set(kept.columns) == {"concept_id", "triple", "block", "group"}


def test_outcomes_are_pooled_over_directions(items):
    scores = pd.concat([items.assign(rank=np.arange(len(items)) % 10 + 1.0, score=0.5), items.assign(source_lang="ja", target_lang="fr", rank=2.0, score=0.1)])
    table = checkpoints.outcomes(scores)
    both = checkpoints.pooled(table, ["fr-ja", "ja-fr"], ["reciprocal_rank", "score"]).set_index("concept_id")
    for i, concept in enumerate(items.concept_id):
        assert both.reciprocal_rank[concept] == pytest.approx((1 / (i % 10 + 1) + 0.5) / 2) and both.score[concept] == pytest.approx(0.3)
    assert (both.direction == "fr-ja + ja-fr").all()


def test_the_fixed_tests_find_what_was_put_in_and_correct_over_four():
    generator = np.random.default_rng(0)
    assignment = assigned([f"c{i:03}.n" for i in range(160)])
    effect = assignment.group.map({"full": 0.3, "direct_only": 0.3, "pivot_only": 0.0, "none": 0.0}).to_numpy()
    outcome = pd.DataFrame({"concept_id": assignment.concept_id, "direction": "fr-ja", "reciprocal_rank": 0.3 + effect + generator.normal(0, 0.1, 160)})
    table = checkpoints.confirmatory(outcome, assignment, 0.3, 999, 200).set_index("contrast")
    assert table.loc["direct", "p_holm"] < 0.01 and table.loc["direct", "estimate"] == pytest.approx(0.3, abs=0.05)
    assert (table.loc[["pivot", "interaction", "pivot_only - none"], "p_holm"] > 0.05).all()
    assert table.loc[list(checkpoints.PRIMARY), "p_holm"].min() == pytest.approx(4 * table.loc["direct", "p"])
    assert np.isnan(table.loc["pivot_only - chance", "p_holm"])
    plain = factorial.contrasts(outcome, assignment, ["reciprocal_rank"], n_permutations=999, n_resamples=200).set_index("contrast")
    assert table.loc["pivot", "estimate"] == plain.loc["pivot", "estimate"]


def test_layer_outcomes_subtract_the_control_and_average_the_middle():
    rows = [(c, layer, ps, 0.1 * layer + 0.01 * ps) for c in ("a.n", "b.n") for layer in range(4) for ps in (0, 1)]
    traces = pd.DataFrame(rows, columns=["concept_id", "layer", "prompt_set", "p_en"]).assign(source_lang="fr", target_lang="ja", p_control_en=0.05)
    traces[["p_source", "p_control_source", "p_accepted", "p_control_accepted"]] = 0.2, 0.1, 0.0, 0.3
    table = checkpoints.layer_outcomes(traces, 1, 2)
    assert table.english.tolist() == pytest.approx([0.15 + 0.005 - 0.05] * 2)
    assert table.source.tolist() == pytest.approx([0.1] * 2) and table.target.tolist() == pytest.approx([-0.3] * 2)
    curves = checkpoints.layer_curves(traces, assigned(["a.n", "b.n"]), 50)
    assert len(curves) == 4 * 2 * 3 and curves[(curves.layer == 3) & (curves.measure == "english")]["mean"].tolist() == pytest.approx([0.255] * 2)


def test_label_shares_leave_wrong_items_out():
    assignment = assigned(["a.n", "b.n", "c.n", "d.n"])
    behaviors = pd.DataFrame({"concept_id": ["a.n", "a.n", "b.n", "c.n"], "rule": "robust", "label": ["pivot", "cooccurrence", "wrong", "pivot"]})
    table = checkpoints.label_shares(behaviors, assignment, 50).set_index("group")
    assert table.share["full"] == 0.5 and table.share["direct_only"] == 1 and np.isnan(table.share["pivot_only"]) and table.n_wrong["pivot_only"] == 1
