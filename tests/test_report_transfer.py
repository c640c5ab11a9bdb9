import numpy as np
import pandas as pd
import pytest

from semantic_pivots import comparison, figures_transfer, followup, orthography, report_selection, report_transfer
from semantic_pivots.transfer import Recipe
from tests.test_evaluation import COUNTS, make_scores

ARMS = {"none": 0.0, "matched": 0.1, "matched_paper": 0.1, "bilingual": 0.5, "pivot_npmi": 0.1, "pivot_paper": 0.1}


def table_of(**effects):
    outcomes = comparison.outcome_table(make_scores(ARMS | effects), COUNTS)
    return outcomes, comparison.contrasts(outcomes, n_resamples=100)


@pytest.mark.parametrize(
    "effects, claim, against_mixed",
    [
        ({"pivot_npmi": 0.9, "pivot_paper": 0.9}, "does help", "Both do better than documents drawn blindly"),
        ({"pivot_npmi": -0.4, "pivot_paper": -0.4}, "does harm", "Both do worse than documents drawn blindly"),
        ({}, "helps was not found", "Both do worse than documents drawn blindly"),
    ],
)
def test_the_conclusion_follows_the_tables(effects, claim, against_mixed):
    _, contrasts = table_of(**effects)
    text = report_transfer.conclusion(contrasts, {})
    assert set(report_transfer.conclusion(contrasts, {}, brief=True).splitlines()) < set(text.splitlines())
    assert "Against documents drawn from all" not in text and "Both" not in report_transfer.conclusion(contrasts[contrasts.arm != "pivot_paper"], {})
    assert claim in text and against_mixed in text and "30 concepts, 3 seeds" in text
    verdict = report_transfer.verdict(contrasts)
    assert verdict.count("Holm") == 4 and ("neither higher nor lower" in verdict) == (not effects)
    assert "found four times in five" in report_transfer.power_sentences(contrasts)


def test_a_wide_interval_is_no_proof_of_absence_and_missing_arms_are_told():
    random = np.random.default_rng(0)
    scores = make_scores({"matched": 0.0, "pivot_npmi": 0.0})
    shift = dict(zip(range(3), random.normal(0, 1, 3)))
    scores["log_ratio"] += scores.seed.map(shift) * (scores.arm == "pivot_npmi")
    contrasts = comparison.contrasts(comparison.outcome_table(scores, COUNTS), n_resamples=100)
    row = contrasts[contrasts.confirmatory].iloc[0]
    assert row.mixed_high - row.mixed_low > 3 * (row.ci_high - row.ci_low), "the runs' spread must widen the mixed model's interval"
    alone = contrasts.assign(arm="random", confirmatory=False)
    assert "says nothing of the claim" in report_transfer.conclusion(alone, {}) and "None of the contrasts" in report_transfer.verdict(alone)
    assert report_transfer.power_sentences(alone) == ""


def test_the_level_is_that_of_the_base_on_held_out_words():
    outcomes, _ = table_of()
    base = outcomes[(outcomes.arm == "none") & (outcomes.split == "heldout")]
    text = report_transfer.level_sentence(outcomes)
    assert f"log-ratio {base.log_ratio.mean():.3f} nats per token" in text and f"MRR {base.mrr.mean():.3f}" in text and "chance 0.293" in text
    assert report_transfer.level_sentence(outcomes[outcomes.arm != "none"]) == ""


def test_larger_runs_are_named():
    _, contrasts = table_of()
    assert "The run `long` has" in report_transfer.conclusion(contrasts, {"long": contrasts})
    assert report_transfer.larger_runs(["no-such-profile"]) == {}
    assert "Another run says otherwise" in report_transfer.conclusion(contrasts, {"long": contrasts.assign(p=1e-4, estimate=-contrasts.estimate)})
    assert "says otherwise" not in report_transfer.conclusion(contrasts, {"long": contrasts.assign(p=1e-4)})
    assert "says otherwise" not in report_transfer.conclusion(contrasts, {"long": contrasts})
    assert "**long.** The log-ratio of held-out words" in report_transfer.larger_sentences("long", contrasts)
    assert "`long` (`python -m semantic_pivots.run --profile long" in report_transfer.missing_sentence(["long"]) and report_transfer.missing_sentence([]) == ""


def test_a_run_of_variations_alone_has_no_verdict_of_its_own():
    effects = {"none": 0.0, "random": 0.0, "bilingual": 0.1, "direct": 0.4, "anti_pivot": 0.0, "pivot_mixed": 0.5, "matched_mixed": 0.1}
    alone = comparison.contrasts(comparison.outcome_table(make_scores(effects), COUNTS), n_resamples=100)
    text = report_transfer.larger_sentences("variations", alone)
    assert not alone.confirmatory.any() and "**variations.** Variations, each" in text and "1 of 1 differs after Holm" in text
    assert "translations meet − mixed documents +0." in text and "None of the contrasts" not in text
    assert "1 of 1 differs after Holm" in report_transfer.conclusion(table_of()[1], {"variations": alone})
    main = table_of(random=0.0, pivot_npmi=0.5)[1]
    poor = comparison.contrasts(comparison.outcome_table(make_scores(effects | {"anti_pivot": 0.45}), COUNTS), n_resamples=100)
    assert "**Poverty in pivots does much the same as richness,**" in report_transfer.conclusion(main, {"variations": poor})
    assert "Poverty" not in report_transfer.conclusion(main, {"variations": alone}) and "in the run `variations`" in report_transfer.conclusion(
        main, {"variations": alone}
    )
    assert report_transfer.poorest_sentence(table_of()[1], alone) == ""
    fig, axes = figures_transfer.forest(alone)
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["95 % over concepts", "95 % over concepts and runs"]
    marked = report_transfer.with_variations(alone)
    assert marked[marked.confirmatory].reference.tolist() == ["matched_mixed"] and "fixed before the runs" in [
        t.get_text() for t in figures_transfer.forest(marked)[0].legends[0].get_texts()
    ]


def test_an_interval_above_zero_that_holm_does_not_leave_is_a_suggestion():
    _, contrasts = table_of()
    key = contrasts.confirmatory & (contrasts.arm == "pivot_npmi") & (contrasts.reference == "matched")
    contrasts.loc[key, ["estimate", "mixed_low", "mixed_high", "p", "p_holm"]] = [0.06, 0.01, 0.11, 0.03, 0.12]
    text = report_transfer.conclusion(contrasts, {})
    assert "is suggested, not shown" in text and "by log-ratio of held-out words 5 of 5 trained arms better (*matched to our pivots*, " in text
    assert "higher by the interval, but not after Holm" in report_transfer.verdict(contrasts)
    each = pd.DataFrame(
        {
            "direction": ["en-fr", "fr-en", "ja-zh", "zh-ja"],
            "split": "heldout",
            "n_seeds": 3,
            "estimate": [0.1, 0.02, -0.3, 0.2],
            "low": [0.05, -0.1, -0.4, 0.1],
            "high": [0.2, 0.1, -0.2, 0.3],
        }
    )
    said = report_transfer.direction_sentence(each)
    assert "above zero in 2 of 4 directions and below in 1; it is largest in zh → ja (+0.200" in said and "smallest in ja → zh (-0.300" in said
    assert "The mean of the 2 other directions than the first two is -0.140" in said
    assert report_transfer.direction_sentence(each.head(2)) == ""


@pytest.mark.parametrize("effect, said", [(0.5, "the difference is there again"), (-0.3, "the other way round"), (0.1, "no difference was found")])
def test_a_replication_is_judged_by_its_own_seeds(effect, said):
    first, contrasts = table_of()
    two = comparison.outcome_table(make_scores({"none": 0.0, "matched": 0.1, "pivot_npmi": effect}, seeds=range(3, 8)), COUNTS)
    table, singles = followup.replicated(first, contrasts, two, n_resamples=50)
    rows = followup.claim_rows(table).set_index("run")
    assert rows.n_seeds.to_dict() == {"first run": 3, "replication": 5, "all runs": 8}
    assert rows.estimate["all runs"] == pytest.approx((3 * rows.estimate["first run"] + 5 * rows.estimate["replication"]) / 8)
    assert rows.p_holm["replication"] == rows.p["replication"] and rows.p_holm["first run"] >= rows.p["first run"]
    own = contrasts[contrasts.confirmatory & (contrasts.arm == "pivot_npmi") & (contrasts.reference == "matched")].iloc[0]
    assert rows.loc["first run", ["estimate", "p_holm", "mixed_low"]].tolist() == own[["estimate", "p_holm", "mixed_low"]].tolist()
    pd.testing.assert_series_equal(singles.groupby("run").difference.mean(), rows.estimate.sort_index(), check_names=False)
    details = report_transfer.replication_details(table)
    seen = table[(table.run == "replication") & (table.split == "seen") & (table.outcome == "log_ratio")].set_index("reference")
    assert f"on words that may meet {seen.estimate['matched']:+.3f}" in details and set(table.reference) == {"matched", "none"}
    still = table.assign(p=table.p.where(~table.outcome.isin(["mrr", "top1"]), 0.9))
    assert ("No change of ranks" in report_transfer.replication_details(still)) == (rows.p["replication"] < 0.05)
    borrowed = table[table.run == followup.BORROWED].iloc[0]
    square = comparison.run_square(comparison.outcome_by_concept(first, "heldout", "log_ratio"))
    wide = comparison.outcome_by_concept(two, "heldout", "log_ratio")
    assert borrowed.p == pytest.approx(comparison.mixed_difference(comparison.differences(wide, "pivot_npmi", "matched"), runs=square)["p"])
    assert borrowed.estimate == rows.estimate["replication"] and "as variable as those of the first run" in report_transfer.replication_sentences(table)
    assert np.isnan(borrowed.p_holm)  # it is no test of its own
    assert "*our pivots* and *matched to our pivots* have: log-ratio " in report_transfer.replication_sentences(table)
    text = report_transfer.conclusion(contrasts, {}, table)
    assert said in report_transfer.replication_sentences(table) and said in text and text.index(said) < text.index("What led to it: That a set")
    word = {0.5: "log-ratio higher", -0.3: "log-ratio lower", 0.1: "log-ratio not distinguished"}[effect]
    assert text.startswith("* **In short,**") and f"sources and lengths: {word}" in text
    fig, ax = figures_transfer.replication(rows.reset_index(), singles)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["first run (3 seeds)", "replication (5 seeds)", "all runs (8 seeds)"]


def test_a_replication_needs_runs_of_its_own_and_may_be_missing():
    first, contrasts = table_of()
    with pytest.raises(ValueError, match="seed 0 is in both runs"):
        followup.replicated(first, contrasts, first)
    alone, singles = followup.replicated(first, contrasts, n_resamples=50)
    assert set(alone.run) == {"first run"} and len(singles) == 3
    assert report_transfer.replication_details(alone) == report_transfer.replication_sentences(alone) == "" and "Run again" not in report_transfer.conclusion(
        contrasts, {}, alone
    )
    nothing, singles = followup.replicated(first[first.arm != "matched"], contrasts, n_resamples=50)
    assert nothing.empty and singles.empty and set(nothing) == set(alone) and report_transfer.run_table("") is None


@pytest.mark.parametrize(
    ("effect", "verdict", "found"),
    [
        (0.1, "Not any choice by words does it:", "with them none was found"),
        (0.5, "is not shown", "it is there with them too"),
        (0.9, "Words that are no pivots do better", "with them too"),
    ],
)
def test_the_pivots_must_do_more_than_words_that_are_none(effect, verdict, found):
    own = comparison.outcome_table(make_scores({"none": 0.0, "matched": 0.1, "pivot_npmi": 0.5}, seeds=range(3, 9)), COUNTS)
    other = comparison.outcome_table(make_scores({"none": 0.0, "matched_placebo": 0.1, "pivot_placebo": effect}, seeds=range(4, 9)), COUNTS)
    table, singles = followup.against_placebo(own, other, n_resamples=50)
    rows = table[(table.split == "heldout") & (table.outcome == "log_ratio")].set_index("run")
    assert list(rows.index) == list(followup.PLACEBO) and (rows.n_seeds == 5).all() and set(table.split) == {"heldout", "seen", "never"}
    values = [comparison.outcome_by_concept(t, "heldout", "log_ratio") for t in (own, other)]
    single = [
        w[a][list(range(4, 9))].to_numpy() - w[b][list(range(4, 9))].to_numpy()
        for w, a, b in zip(values, ("pivot_npmi", "pivot_placebo"), ("matched", "matched_placebo"))
    ]
    assert rows.estimate.to_numpy() == pytest.approx([single[0].mean(), single[1].mean(), (single[0] - single[1]).mean()])
    assert rows.p.iloc[2] == pytest.approx(comparison.mixed_difference(single[0] - single[1])["p"])
    pd.testing.assert_series_equal(singles.groupby("run").difference.mean(), rows.estimate.sort_index(), check_names=False)
    text = report_transfer.placebo_sentences(table)
    assert verdict in text and found in text and text in report_transfer.conclusion(table_of()[1], {}, placebo=table)
    fig, ax = figures_transfer.replication(rows.reset_index(), singles, followup.PLACEBO[-1], "rich − match")
    assert ax.get_xlabel().startswith("rich − match, held-out words")
    with pytest.raises(ValueError, match=r"seeds \[4, 5, 6, 7, 8\].*none in common"):
        followup.against_placebo(own[own.seed < 4], other)
    nothing, singles = followup.against_placebo(own, None)
    assert nothing.empty and singles.empty and set(nothing) == set(table) and report_transfer.placebo_sentences(nothing) == ""
    assert report_transfer.placebo_arms_sentence(None) == ""
    names = ["pivot_placebo", "matched_placebo", "pivot_npmi", "matched"]
    made = pd.DataFrame({"arm": names, "pivots_placebo": [0.3, 0.1, 0.1, 0.1], "pivots_npmi": [0.1, 0.2, 0.5, 0.3]})
    made = made.assign(share_en=[0.2, 0.2, 0.4, 0.4], share_fr=[0.5, 0.5, 0.1, 0.1], share_zh=0.2, share_ja=0.1)
    assert "a choice against pivots" in (text := report_transfer.placebo_arms_sentence(made)) and "French has 50% of its tokens and 10% of ours" in text


def test_variations_and_random_documents_stand_beside_what_was_fixed():
    _, contrasts = table_of(random=0.0, pivot_sharp=0.5, matched_sharp=0.1, pivot_mixed=0.1, matched_mixed=0.1)
    text = report_transfer.variation_sentences(contrasts)
    assert "1 of 2 differs after Holm" in text and "pivots, a quarter +0." in text
    assert "Against documents drawn from all" in report_transfer.conclusion(contrasts, {})
    assert contrasts.confirmatory.sum() == 4 and report_transfer.variation_sentences(table_of()[1]) == ""


def test_tables_and_sentences_of_the_parts():
    outcomes, contrasts = table_of()
    table = report_transfer.contrast_table(contrasts, "heldout")
    assert len(table) == contrasts[contrasts.split == "heldout"].groupby(["arm", "reference"]).ngroups and (table.Holm != "").sum() == 4
    losses = pd.DataFrame(
        [
            {"arm": a, "seed": 0, "tokens": 1, **{f"val_{la}": 4 + k * 0.1 for la in ("en", "fr", "zh", "ja")}}
            for k, a in enumerate(("none", "matched", "bilingual"))
        ]
    )
    text = report_transfer.cost_sentences(comparison.transfer_table(outcomes, losses, 50))
    assert "matched to our pivots +0.100, mixed documents +0.200" in text
    training = pd.DataFrame({"arm": "matched", "seed": [0, 0, 1, 1], "step": [1, 2, 1, 2], "tokens": [500, 1000, 500, 1010], "tokens_per_s": 100.0})
    assert "2 runs of 1 thousand tokens (2 to 2 steps" in report_transfer.training_sentences(training, Recipe())
    ability = pd.DataFrame(
        {
            "source_lang": ["en"],
            "target_lang": ["fr"],
            "n": 9,
            "chrf": 9.0,
            "chrf_copy": 5.0,
            "chrf_other": 8.5,
            "difference": 0.5,
            "ci_low": -0.1,
            "ci_high": 1.0,
            "able": False,
        }
    )
    assert "was not shown" in report_transfer.ability_sentences(ability, "sig")
    assert "there the arms are compared" in report_transfer.ability_sentences(ability.assign(able=True), "sig")
    counts = pd.DataFrame({"concept_id": ["a", "b", "b"], "first": "en", "second": ["fr", "fr", "ja"], "n_both": [0, 2, 1]})
    exposure = report_selection.exposure_table({"matched": counts}, pd.Series({"a": "heldout", "b": "seen"}), {"matched": 7})
    assert exposure.iloc[0].tolist() == ["matched to our pivots", 0, 7, 3, "1 of 1"]
    assert figures_transfer.arm_name("matched_mixed") == "matched to pivots, mixed documents" and figures_transfer.arm_name("pivot_npmi") == "our pivots"


@pytest.mark.parametrize(
    ("first", "second", "share"),
    [("radio", "Radio", 1.0), ("élève", "eleve", 1.0), ("chat", "cat", 6 / 7), ("几何", "幾何", 0.5), ("dog", "犬", 0.0), ("a", "", 0.0)],
)
def test_spelling_is_the_share_of_common_characters(first, second, share):
    assert orthography.spelling(first, second) == pytest.approx(share) == pytest.approx(orthography.spelling(second, first))


def test_the_script_is_that_of_the_word():
    assert [orthography.script(w) for w in ("été", "犬", "食べる", "バナナ", "いぬ", "")] == ["Latin", "Han", "Han", "kana", "kana", "Latin"]


def spelled_world():
    """Concepts whose English and French words are alike (odd ones) or not; the effect is where they are alike. The Japanese word is of another script."""
    ids = [f"c{i}" for i in range(40)]
    french = ["chien", "radio", "chien", "ràdion"] * 10  # every fourth the same string, every fourth spelled alike
    lexicon = pd.DataFrame({"en": "Radio", "fr": french, "ja": ["犬", "イヌ"] * 20}, index=ids)
    rng = np.random.default_rng(0)
    rows = [
        {"arm": arm, "seed": seed, "tokens": 1, "split": "heldout", "source_lang": "en", "target_lang": target, "concept_id": c}
        | {"log_ratio": 2 + 0.01 * rng.standard_normal() + (0.5 if arm == "pivot_npmi" and target == "fr" and i % 2 else 0)}
        for arm, seeds in (("none", [0]), ("matched", range(3)), ("pivot_npmi", range(3)))
        for seed in seeds
        for target in ("fr", "ja")
        for i, c in enumerate(ids)
    ]
    return pd.DataFrame(rows).reindex(columns=["arm", "seed", "tokens", "split", "source_lang", "target_lang", "concept_id", *comparison.OUTCOMES]), lexicon


def test_the_contrast_by_spelling_and_direction_finds_where_it_is():
    outcomes, lexicon = spelled_world()
    spelled = followup.by_spelling({"first run": outcomes}, lexicon).set_index("spelling")
    left = {"all but identical": 40, "all but identical and alike": 40}
    assert spelled.n.to_dict() == {"identical": 10, "alike": 10, "otherwise": 20, "another script": 40} | left and (spelled.n_seeds == 3).all()
    estimates = {"identical": 0.5, "alike": 0.5, "otherwise": 0.0, "another script": 0.0, "all but identical": 0.1, "all but identical and alike": 0.0}
    assert spelled.estimate.round(1).to_dict() == estimates and spelled.base.round(1).eq(2).all()
    kinds = spelled.head(4)
    assert kinds["items"].to_dict() == {"identical": 0.125, "alike": 0.125, "otherwise": 0.25, "another script": 0.5}
    assert kinds.share.head(2).sum() == pytest.approx(1, abs=0.05) and kinds.share.sum() == pytest.approx(1) == pytest.approx(kinds.base_share.sum())
    text = report_transfer.spelling_sentence(spelled.reset_index())
    assert (
        "50 % of the difference, 12 % of what the base has" in text and "where the base already has most" not in text and "without the alike ones too" in text
    )
    even = spelled.assign(share=spelled.base_share).reset_index()
    assert "**The difference lies where the base already has most** (" in report_transfer.spelling_sentence(even)
    assert "By spelling" in report_transfer.conclusion(table_of()[1], {}, None, spelled.reset_index())
    fig, ax = figures_transfer.spelling(spelled.reset_index())
    assert [t.get_text().split("\n")[0] for t in ax.get_yticklabels()][:3] == ["the same string", "spelled alike", "same script, spelled otherwise"]
    each = followup.by_direction(outcomes).set_index("direction")
    assert each.estimate.round(2).to_dict() == {"en-fr": 0.25, "en-ja": 0.0} and (each.n == 40).all() and each.low["en-fr"] > 0
    fig, ax = figures_transfer.by_direction(each.reset_index())
    assert [t.get_text() for t in ax.get_xticklabels()] == ["en → fr", "en → ja"]


def test_nothing_is_followed_up_without_its_arms():
    outcomes, lexicon = spelled_world()
    part = outcomes[outcomes.arm != "matched"]
    nothing = followup.by_spelling({"first run": part}, lexicon)
    assert (
        nothing.empty and report_transfer.spelling_sentence(nothing) == "" and "By spelling" not in report_transfer.conclusion(table_of()[1], {}, None, nothing)
    )
    assert followup.by_direction(part).empty and report_transfer.direction_sentence(followup.by_direction(part)) == ""
