"""The two-by-two analysis on data whose truth is known."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_pivots.factorial import CONTRASTS, blocked, contrasts, detectable_effect, dose_response, group_means, randomisation_test
from semantic_pivots.severance import EDGES, GROUPS

WEIGHTS = np.array(list(CONTRASTS.values()))


def experiment(n_blocks, effects=(0, 0, 0, 0), seed=0, noise=1.0, block_sd=2.0):
    """Outcomes [block × group] with block effects, an assignment and a table of outcomes."""
    generator = np.random.default_rng(seed)
    values = generator.normal(0, block_sd, (n_blocks, 1)) + generator.normal(0, noise, (n_blocks, 4)) + np.array(effects)
    ids = [f"c{b}.{g}" for b in range(n_blocks) for g in GROUPS]
    assignment = pd.DataFrame({"concept_id": ids, "triple": "fr-en-ja", "block": np.repeat(np.arange(n_blocks), 4), "group": list(GROUPS) * n_blocks})
    outcomes = pd.DataFrame({"concept_id": ids, "direction": "fr-ja", "score": values.ravel()})
    return values, assignment, outcomes.assign(log_ratio=outcomes.score * 2, reciprocal_rank=generator.random(len(ids)))


def test_contrasts_mean_what_they_say():
    full, pivot_only, direct_only, none = 7.0, 3.0, 4.0, 1.0
    value = dict(zip(CONTRASTS, WEIGHTS @ [full, pivot_only, direct_only, none]))
    assert value["direct"] == ((full - pivot_only) + (direct_only - none)) / 2
    assert value["pivot"] == ((full - direct_only) + (pivot_only - none)) / 2
    assert value["interaction"] == (full - pivot_only) - (direct_only - none)
    assert value["pivot_only - none"] == pivot_only - none
    assert np.allclose(WEIGHTS.sum(1), 0) and list(GROUPS) == ["full", "pivot_only", "direct_only", "none"]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.integers(-5, 5), min_size=4, max_size=4), min_size=1, max_size=2))
def test_the_test_agrees_with_all_permutations(rows):
    values = np.array(rows, float)
    p = randomisation_test(values, WEIGHTS, 4000, seed=1)
    for i, weights in enumerate(WEIGHTS):
        used = np.flatnonzero(weights)
        draws = []
        for orders in itertools.product(itertools.permutations(used), repeat=len(values)):
            draws.append(abs(sum(row[list(order)] @ weights[used] for row, order in zip(values, orders))))
        observed = abs((values @ weights).sum())
        assert p[i] == pytest.approx(np.mean(np.array(draws) >= observed - 1e-9), abs=0.04)


def test_size_under_the_null():
    p = np.array([randomisation_test(experiment(20, seed=s)[0], WEIGHTS, 199, seed=s) for s in range(400)])
    assert ((p <= 0.05).mean(0) > 0.02).all() and ((p <= 0.05).mean(0) < 0.085).all()


def test_a_simple_effect_keeps_its_size_when_the_other_groups_differ():
    p = [randomisation_test(experiment(20, (9, 0, 0, 0), seed=s)[0], WEIGHTS[3:4], 199, seed=s)[0] for s in range(300)]
    assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.085


def test_planted_effects_are_found():
    values, assignment, outcomes = experiment(60, (3.0, 1.0, 2.0, 0.0), seed=2)  # direct 2, pivot 1, no interaction
    table = contrasts(outcomes, assignment, n_permutations=1999, chance={"reciprocal_rank": 0.5})
    score = table[table.outcome == "score"].set_index("contrast")
    for contrast, truth in {"direct": 2, "pivot": 1, "interaction": 0, "pivot_only - none": 1, "direct_only - none": 2}.items():
        row = score.loc[contrast]
        assert row.ci_low < truth < row.ci_high and abs(row.estimate - truth) < 0.6
        assert row.estimate == pytest.approx(values.mean(0) @ CONTRASTS[contrast])
    assert (score.p[["direct", "pivot", "pivot_only - none"]] == 1 / 2000).all() and score.p["interaction"] > 0.05
    assert score.n["direct"] == 240 and score.n["pivot_only - none"] == 120
    assert list(table.columns) == ["triple", "direction", "outcome", "contrast", "estimate", "ci_low", "ci_high", "p", "p_holm", "n"]
    assert (table.p_holm >= table.p).all()
    direct = table[table.contrast == "direct"].set_index("outcome")
    assert direct.p_holm["score"] == pytest.approx(3 / 2000) and direct.p["log_ratio"] == direct.p["score"]
    chance = table[table.contrast == "pivot_only - chance"]
    assert chance.outcome.tolist() == ["reciprocal_rank"] and chance.p.iloc[0] > 0.01 and abs(chance.estimate.iloc[0]) < 0.15
    raised = outcomes.assign(reciprocal_rank=outcomes.reciprocal_rank + 0.3)
    above = contrasts(raised, assignment, chance={"reciprocal_rank": 0.5}, n_permutations=999)
    assert (above.p[above.contrast.str.endswith("chance")] == 0.001).all()


def test_group_means():
    values, assignment, outcomes = experiment(30, (3.0, 1.0, 2.0, 0.0))
    table = group_means(outcomes, assignment, ["score"]).set_index("group")
    np.testing.assert_allclose(table["mean"][list(GROUPS)], values.mean(0))
    assert (table.ci_low < table["mean"]).all() and (table["mean"] < table.ci_high).all() and (table.n == 30).all()


def test_incomplete_blocks_are_left_out_whole():
    values, assignment, outcomes = experiment(10)
    outcomes.loc[5, "score"] = np.nan  # in block 1
    table = contrasts(outcomes.drop(index=[30]), assignment, ["score"], n_permutations=99)  # 30 is in block 7
    kept = [b for b in range(10) if b not in (1, 7)]
    assert table.estimate[0] == pytest.approx(values[kept].mean(0) @ CONTRASTS["direct"]) and table.n[0] == 32


def test_bad_input():
    _, assignment, outcomes = experiment(5)
    with pytest.raises(ValueError, match="no outcome 'colour'"):
        contrasts(outcomes, assignment, ["colour"])
    with pytest.raises(ValueError, match="second outcome"):
        contrasts(pd.concat([outcomes, outcomes]), assignment)
    with pytest.raises(ValueError, match="no concept"):
        contrasts(outcomes.assign(concept_id="x" + outcomes.concept_id), assignment)
    with pytest.raises(ValueError, match="unknown group 'half'"):
        blocked(pd.DataFrame({"block": [0], "group": ["half"], "score": [1.0]}), "score")
    with pytest.raises(ValueError, match="block 0 has two concepts in group 'none'"):
        blocked(pd.DataFrame({"block": [0, 0], "group": ["none"] * 2, "score": [1.0, 2.0]}), "score")
    with pytest.raises(ValueError, match="2 blocks"):
        detectable_effect(np.zeros((2, 4)))
    assert np.isnan(randomisation_test(np.empty((0, 4)), WEIGHTS)).all()


def test_dose_response_finds_the_dose_given_word_frequency():
    _, assignment, outcomes = experiment(60, block_sd=0.0)
    generator = np.random.default_rng(3)
    rows = []
    for concept in assignment.itertuples():
        for edge in EDGES:
            first, second = generator.integers(20, 500, 2)
            both = 0 if edge in GROUPS[concept.group] else int(generator.integers(1, 20))
            rows.append((concept.concept_id, concept.triple, concept.group, edge, edge in GROUPS[concept.group], both, first, second))
    severance = pd.DataFrame(rows, columns=["concept_id", "triple", "group", "edge", "cut", "n_both_after", "n_first_after", "n_second_after"])
    direct = severance[severance.edge == "source-target"].set_index("concept_id").n_both_after
    outcomes["score"] = outcomes.concept_id.map(direct) + generator.normal(0, 3, len(outcomes))
    table = dose_response(outcomes, assignment, severance, ["score", "reciprocal_rank"], n_resamples=300).set_index(["outcome", "contrast"])
    row = table.loc["score", "source-target in all"]
    assert row.estimate > 0.6 and row.p_holm < 0.001 and row.n == 120
    assert abs(table.loc["score", "source-pivot in all"].estimate) < 0.3 and table.loc["reciprocal_rank", "source-target in full"].p > 0.001
    assert {c for _, c in table.index if c.startswith("source-target")} == {f"source-target in {g}" for g in ("all", "full", "direct_only")}


def test_the_detectable_effect_is_found_as_often_as_it_says():
    values, _, _ = experiment(25, seed=1, noise=1.0)
    table = detectable_effect(values).set_index("contrast")
    assert table.sd_residual["direct"] == pytest.approx(1.0, abs=0.25)
    assert table.detectable["interaction"] == pytest.approx(2 * table.detectable["direct"])
    effect = table.detectable["direct"] / table.sd_residual["direct"]
    found = [randomisation_test(experiment(25, (effect, 0, effect, 0), seed=s)[0], WEIGHTS[:1], 199, seed=s)[0] <= 0.05 for s in range(300)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.07)
