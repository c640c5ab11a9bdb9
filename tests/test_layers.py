import numpy as np
import pandas as pd
import pytest

from semantic_pivots import layers, report_layers, stats

PAIR = {"model": "m", "lens": "raw", "prompt_set": 0, "source_lang": "zh", "target_lang": "fr", "overlap": False, "readable": True}


def item(concept, steps, **changes):
    """Rows of one item; a step is (information, p_source, p_accepted, p_en, p_control_en, info is accepted)."""
    rows = []
    for layer, (information, source, accepted, en, control, is_accepted) in enumerate(steps):
        row = (
            PAIR | changes | {"concept_id": concept, "layer": layer, "information": information, "top1_prob": 0.5, "top1_text": "s" if layer == 0 else concept}
        )
        row["top1_id"] = ord(row["top1_text"])
        row |= {"p_source": source, "p_accepted": accepted, "p_en": en, "p_control_en": control, "p_fr": accepted, "p_zh": source, "p_ja": 0.125}
        row |= {"info_is_accepted": is_accepted, "top1_is_accepted": is_accepted, "info_text": f"{concept}{layer}", "n_background": 2}
        row |= {f"info_is_{la}": False for la in ("source", "en", "fr", "zh", "ja")} | {"info_is_en": en > max(source, accepted)}
        rows.append(row)
    return rows


THROUGH_ENGLISH = item(
    "a", [(0.1, 0, 0, 0, 0.9, False), (2, 0.5, 0.1, 0.2, 0, False), (2, 0.1, 0.1, 0.6, 0, False), (2, 0, 0.8, 0.1, 0, True), (2, 0, 0.9, 0, 0, True)]
)
STRAIGHT = item(
    "b", [(0.1, 0, 0, 0.9, 0, False), (2, 0.5, 0.1, 0.2, 0, False), (2, 0.1, 0.6, 0.2, 0, True), (2, 0.3, 0.2, 0, 0, False), (2, 0, 0.9, 0, 0, True)]
)
WRONG = item("c", [(0.1, 0, 0, 0, 0, False)] * 4 + [(2, 0.9, 0, 0, 0, False)])


def test_mean_intervals_agree_with_the_mean_and_hold_it():
    values = np.random.default_rng(0).normal(2, 1, (200, 3))
    table = stats.mean_intervals(values, 2000, seed=1)
    np.testing.assert_allclose(table[:, 0], values.mean(0))
    assert (table[:, 1] < table[:, 0]).all() and (table[:, 0] < table[:, 2]).all()
    # the normal approximation is good for 200 values
    np.testing.assert_allclose(table[:, 2] - table[:, 1], 2 * 1.96 * values.std(0) / np.sqrt(200), rtol=0.1)


def test_mean_intervals_pass_over_missing_values():
    values = np.array([[1.0, np.nan], [3.0, 5.0], [2.0, np.nan]])
    assert stats.mean_intervals(values, 500)[:, 0].tolist() == [2.0, 5.0]
    assert np.isnan(stats.mean_intervals(values[:1])[:, 1:]).all()


def test_by_layer_averages_prompt_sets_within_a_concept_first():
    traces = pd.DataFrame([*THROUGH_ENGLISH, *item("a", [(s[0], 1.0, *s[2:]) for s in [(2, 0, 0, 0, 0, True)] * 5], prompt_set=1), *STRAIGHT])
    means = layers.by_layer(traces, ["p_source"], n_resamples=100).set_index("layer")
    assert means.n.tolist() == [2] * 5
    assert means["mean"][1] == pytest.approx(((0.5 + 1) / 2 + 0.5) / 2)


def test_third_language_is_neither_source_target_nor_english():
    assert layers.with_third(pd.DataFrame(STRAIGHT)).p_third.tolist() == [0.125] * 5


def test_milestones_on_cases_with_a_known_answer():
    table = layers.milestones(pd.DataFrame([*THROUGH_ENGLISH, *STRAIGHT, *WRONG])).set_index("concept_id")
    assert table.right.to_dict() == {"a": True, "b": True, "c": False}
    assert table.informative.tolist() == [1, 1, 4]
    # at layer 2 of the second item the target is only ahead for a moment
    assert table.wins["a"] == 3 and table.wins["b"] == 4 and np.isnan(table.wins["c"])
    assert table.english_leads.to_dict() == {"a": 1, "b": 0, "c": 0}
    # what an uninformative layer says does not count, for the control neither
    assert table.control_leads.sum() == 0


def test_models_may_differ_in_their_layers():
    other = [r | {"model": "n", "layer": max(r["layer"] - 1, 0)} for r in STRAIGHT if r["layer"] != 1]
    table = layers.milestones(pd.DataFrame([*STRAIGHT, *other])).set_index("model")
    assert table.wins.to_dict() == {"m": 4, "n": 3}


def test_traces_with_a_layer_twice_are_refused():
    with pytest.raises(ValueError, match="items have different layers"):
        layers.milestones(pd.DataFrame([*STRAIGHT, *STRAIGHT]))


def test_directions_with_english_have_no_english_lead():
    rows = [r | {"target_lang": "en"} for r in THROUGH_ENGLISH]
    table = layers.milestones(pd.DataFrame(rows))
    assert table.english_leads.isna().all()
    summary = layers.milestone_table(table, n_resamples=50)
    assert set(summary.measure) == {"informative", "wins"}


def test_win_curves_end_at_the_share_that_is_won():
    curves = layers.win_curves(layers.milestones(pd.DataFrame([*THROUGH_ENGLISH, *STRAIGHT, *WRONG])), 5)
    assert curves.share.tolist() == [0, 0, 0, 0.5, 1] and (curves.n == 2).all()


def test_constants_name_the_commonest_token():
    table = layers.constants(pd.DataFrame([*THROUGH_ENGLISH, *STRAIGHT])).set_index("layer")
    assert (table.token[0], table.share[0]) == ("s", 1.0) and table.share[1] == 0.5
    assert table.most_confident.sum() == pytest.approx(1)


def test_tokens_of_one_text_are_not_taken_for_one_token():
    traces = pd.DataFrame([*THROUGH_ENGLISH, *STRAIGHT]).assign(top1_text="\ufffd")
    table = layers.constants(traces).set_index("layer")
    assert (table.token[1], table.share[1]) == ("\ufffd", 0.5)


def test_followed_concept_must_be_traced():
    path = layers.followed(pd.DataFrame([*THROUGH_ENGLISH, *STRAIGHT]), "a")
    assert path.whose.tolist() == ["none of these", "none of these", "English", "target", "target"]
    with pytest.raises(ValueError, match=r"'zebra.n' was not traced; traced are for example a, b"):
        layers.followed(pd.DataFrame([*THROUGH_ENGLISH, *STRAIGHT]), "zebra.n")


def test_prose_takes_its_numbers_from_the_tables():
    traces = pd.DataFrame([*THROUGH_ENGLISH, *STRAIGHT])
    pooled = layers.by_layer(traces, ["information"], ["model"], 50)
    text = report_layers.information_sentences(pooled, {"m": 0.69}, 1.0)
    assert "block 2 is the first with at least 1 nat, 2.00" in text and "n = 2 concepts" in text
    nothing = report_layers.information_sentences(pooled.assign(mean=0.0), {"m": 0.69}, 1.0)
    assert "no layer holds as much as 1 nat" in nothing
    items = layers.milestones(traces)
    tables = layers.milestone_table(items, ["model", "lens"], 50), layers.milestone_table(items, None, 50)
    assert "only 2 concepts" in report_layers.english_sentences(*tables) and "nan" not in report_layers.english_sentences(*tables)
    assert "0.50 [" in report_layers.english_sentences(tables[0].assign(n=20), tables[1].assign(n=20))
    said = report_layers.winner_sentences(tables[1], layers.target_gap(items, 50), 5)
    assert "Chinese → French" in said and "No concept was answered correctly both" in said


def test_later_in_other_languages_is_paired_by_concept():
    into_english = [r | {"target_lang": "en"} for r in THROUGH_ENGLISH] + [r | {"target_lang": "en"} for r in STRAIGHT]
    items = layers.milestones(pd.DataFrame([*THROUGH_ENGLISH, *STRAIGHT, *into_english]))
    items["wins"] += np.where(items.target_lang == "en", 0, np.where(items.concept_id == "a", 1.0, 3.0))
    gap = layers.target_gap(items, 50).iloc[0]
    assert (gap.n, gap["mean"]) == (2, 2.0) and gap.low >= 1 and gap.high <= 3


def test_blank_answers_are_counted_at_the_last_layer():
    traces = pd.DataFrame([*THROUGH_ENGLISH, *STRAIGHT])
    last = traces.layer == traces.layer.max()
    traces["top1_text"] = np.where(last & (traces.concept_id == "a"), " ", "mot")
    shares = layers.blank_answers(traces)
    assert shares.to_dict() == {"fr": 0.5}
    assert "50 % of the items into French" in report_layers.blank_sentence(shares, "m") and "No last layer" in report_layers.blank_sentence(shares * 0, "m")


def test_gains_of_the_ridge_lens_are_paired():
    raw = pd.DataFrame({"text": [0, 1], "layer": 0, "n": 3, "kl": [5.0, 2.0], "agreement": 0.1, "positions": "text", "concept_id": [0, 1]})
    both = pd.concat([raw.assign(lens="raw"), raw.assign(lens="ridge", kl=[1.0, 1.5], agreement=0.2)])
    assert layers.lens_gains(both).gain.tolist() == [4.0, 0.5]
