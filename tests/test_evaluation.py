import warnings

import numpy as np
import pandas as pd
import pytest
import sacrebleu
import torch
from scipy import stats as distributions

from semantic_pivots import comparison, evaluation, task
from semantic_pivots.comparison import contrasts, detectable, differences, mixed_difference, outcome_table
from semantic_pivots.evaluation import SentencePair

PAIRS = [("en", "fr"), ("fr", "en")]


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_lexicon(lexicon):
    """The toy lexicon with a held-out split that is large enough for distractors."""
    lexicon = lexicon.copy()
    lexicon["split"] = ["test" if i < 40 else "demo" if i < 55 else "heldout" for i in range(len(lexicon))]
    return lexicon


def test_concepts_of_two_splits_without_the_excluded(long_lexicon):
    exclude = long_lexicon.index[:20]
    concepts = evaluation.draw_concepts(long_lexicon, exclude, 8, 6, 1)
    assert concepts.value_counts().to_dict() == {"heldout": 8, "seen": 6} and not set(concepts.index) & set(exclude)
    assert set(long_lexicon.split[concepts.index[concepts == "seen"]]) == {"test"}
    larger = evaluation.draw_concepts(long_lexicon, exclude, 10, 6, 1)
    assert set(concepts.index) <= set(larger.index), "draws are nested"


def test_scores_are_those_of_the_scoring_module(long_lexicon, tiny_model):
    concepts = evaluation.draw_concepts(long_lexicon, [], 3, 2, 1)
    tests = evaluation.word_tests(long_lexicon, concepts, PAIRS, 1, 1, "lines")
    scores = evaluation.score_words(tiny_model, tests)
    assert scores.groupby("split").size().to_dict() == {"heldout": 6, "seen": 4}
    direct = evaluation.scoring.score_items(tiny_model, tests[0].prompts, tests[0].items)
    np.testing.assert_allclose(scores.score[: len(direct)], direct.score)
    assert len({t.digest for t in tests}) == 4


# --- sentences --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parallel():
    texts = ["dog cat", "a dog", "chat chien", "cat cat cat", "words from dog", "to words"]
    return pd.DataFrame({"sentence_id": [f"s{i}" for i in range(6)], **{la: [f"{t} {la}" for t in texts] for la in task.LANGUAGES}})


def test_gains_are_differences_of_two_plain_forward_passes(tiny_model, parallel):
    pairs = evaluation.sentence_pairs(parallel, PAIRS, 5, 100, 0)
    assert len(pairs) == 10 and all(p.source != p.other for p in pairs)
    special = (0, 2, 1, tiny_model.tokenizer.backend_tokenizer.encode("\n", add_special_tokens=False).ids[0])
    gains = evaluation.sentence_gains(tiny_model, pairs, special)

    def log_p(first, second):
        ids = [tiny_model.tokenizer.backend_tokenizer.encode(t, add_special_tokens=False).ids for t in (first, second)]
        whole = [special[1], *ids[0], special[3], *ids[1]]
        with torch.no_grad():
            logits = tiny_model.network(torch.tensor([whole])).logits[0].log_softmax(-1)
        places = range(len(whole) - len(ids[1]), len(whole))
        return np.mean([logits[i - 1, whole[i]].item() for i in places])

    for pair, gain in zip(pairs, gains.gain):
        assert gain == pytest.approx(log_p(pair.source, pair.target) - log_p(pair.other, pair.target), abs=2e-4)
    same = [SentencePair("x", "en", "fr", "dog", "dog", "chat")]
    assert evaluation.sentence_gains(tiny_model, same, special).gain[0] == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="1 sentences have at most 8 characters"):
        evaluation.sentence_pairs(parallel, PAIRS, 5, 8, 0)


def test_translations_are_one_line_after_the_shots(tiny_model, parallel):
    special = (0, 2, 1, tiny_model.tokenizer.backend_tokenizer.encode("\n", add_special_tokens=False).ids[0])
    made = evaluation.translate(tiny_model, parallel, ("en", "fr"), special, 3, 100, 1, 0)
    assert len(made) == 3 and not made.hypothesis.str.contains("\n").any()
    backend = tiny_model.tokenizer.backend_tokenizer
    order = parallel.iloc[np.random.default_rng(0).permutation(6)]
    text = f"{order.en.iloc[0]}\n{order.fr.iloc[0]}\n{order.en.iloc[1]}\n"
    ids = [special[1], *backend.encode(text, add_special_tokens=False).ids]
    start = len(ids)
    for _ in range(64):  # greedy, token by token, without padding or cache
        token = int(tiny_model.network(torch.tensor([ids])).logits[0, -1].argmax())
        if token in (special[2], special[3]):
            break
        ids.append(token)
    assert made.hypothesis[0] == tiny_model.tokenizer.decode(ids[start:], skip_special_tokens=True).split("\n")[0].strip()


def test_a_translation_task_runs_in_all_directions(tiny_model, parallel):
    special = (0, 2, 1, tiny_model.tokenizer.backend_tokenizer.encode("\n", add_special_tokens=False).ids[0])
    task_ = evaluation.TranslationTask(parallel, tuple(PAIRS), 2, 100, 1, 0)
    made = task_.run(tiny_model, special)
    assert len(made) == 4 and set(zip(made.source_lang, made.target_lang)) == set(PAIRS)
    assert made.chrf.tolist() == pytest.approx([sacrebleu.sentence_chrf(h, [r], word_order=2).score for h, r in zip(made.hypothesis, made.reference)])
    assert task_.digest != evaluation.TranslationTask(parallel, tuple(PAIRS), 3, 100, 1, 0).digest


def test_chrf_is_sacrebleus_and_ability_needs_more_than_the_language():
    reference = [f"the {a} dog sees a {b} cat" for a in ("big", "small", "old") for b in ("red", "green", "blue")]
    table = pd.DataFrame({"source": [r.upper() for r in reference], "reference": reference})
    tables = [table.assign(hypothesis=reference, target_lang="fr"), table.assign(hypothesis=["the dog sees a cat"] * 9, target_lang="ja")]
    scores, signature = evaluation.chrf_table(pd.concat(tables).assign(source_lang="en"), n_resamples=200)
    assert scores.chrf.tolist() == pytest.approx([sacrebleu.corpus_chrf(t.hypothesis.tolist(), [reference], word_order=2).score for t in tables])
    assert scores.able.tolist() == [True, False] and scores.chrf[1] > 40 and "nw:2" in signature


# --- comparison -------------------------------------------------------------------------------------------------------


def test_the_mixed_model_is_that_of_statsmodels():
    import statsmodels.formula.api as smf

    random = np.random.default_rng(4)
    values = 0.3 + random.normal(0, 1.0, (14, 1)) + random.normal(0, 0.6, (1, 5)) + random.normal(0, 0.5, (14, 5))
    ours = mixed_difference(values)
    table = pd.DataFrame({"d": values.ravel(), "concept": np.repeat(np.arange(14), 5), "seed": np.tile(np.arange(5), 14), "all": 1})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = smf.mixedlm("d ~ 1", table, groups="all", vc_formula={"concept": "0 + C(concept)", "seed": "0 + C(seed)"}).fit(reml=True)
    assert ours["estimate"] == pytest.approx(fit.params["Intercept"], abs=1e-6)
    assert ours["se"] == pytest.approx(fit.bse["Intercept"], rel=0.02)


def test_the_mixed_model_covers_what_it_should_and_the_bootstrap_over_concepts_does_not():
    random, covered, over_concepts = np.random.default_rng(0), 0, 0
    for _ in range(400):
        values = random.normal(0, 1, (40, 1)) + random.normal(0, 0.5, (1, 4)) + random.normal(0, 1, (40, 4))
        result = mixed_difference(values)
        covered += result["low"] <= 0 <= result["high"]
        mean = values.mean(1)
        over_concepts += abs(mean.mean()) <= 1.96 * mean.std(ddof=1) / np.sqrt(40)
    assert covered / 400 >= 0.92 > over_concepts / 400


def test_the_mixed_model_in_the_corners():
    random = np.random.default_rng(1)
    one = random.normal(0.2, 1, (30, 1))
    t = distributions.ttest_1samp(one.ravel(), 0)
    assert mixed_difference(one)["p"] == pytest.approx(t.pvalue) and mixed_difference(one)["df"] == 29
    assert mixed_difference(np.full((5, 3), 0.4)) == {
        "estimate": pytest.approx(0.4),
        "se": 0.0,
        "df": 4.0,
        "low": pytest.approx(0.4),
        "high": pytest.approx(0.4),
        "p": 0.0,
    }
    only_seeds = np.tile([[0.0, 1.0, 2.0]], (20, 1))
    assert mixed_difference(only_seeds)["se"] == pytest.approx(1 / np.sqrt(3)) and mixed_difference(only_seeds)["df"] == 2
    with pytest.raises(ValueError, match="1 concepts: at least two"):
        mixed_difference(np.zeros((1, 3)))


def test_the_variance_of_runs_is_pooled_over_arms():
    """Against the mean squares of a plain analysis of variance, and by its expectation; false positives stay at their nominal rate."""
    random = np.random.default_rng(5)
    n, k, arms, wrong, squares = 80, 3, ["a", "b", "c", "d", "e", "f"], 0, []
    for _ in range(400):
        runs = random.normal(0, 0.3, (len(arms), k))  # of an arm and seed
        values = random.normal(0, 1, (n, 1, 1)) + random.normal(0, 1, k) + runs + random.normal(0, 0.5, (n, len(arms), k))
        wide = pd.DataFrame(values.reshape(n, -1), columns=pd.MultiIndex.from_product([arms, range(k)]))
        square, freedom = comparison.run_square(wide)
        squares.append(square)
        wrong += mixed_difference(differences(wide, "a", "b"), runs=(square, freedom))["p"] < 0.05
    assert freedom == 10 and np.mean(squares) == pytest.approx(2 * (n * 0.09 + 0.25), rel=0.05)
    assert wrong / 400 == pytest.approx(0.05, abs=0.03)
    cells = wide.mean().unstack()
    rest = cells.sub(cells.mean(axis=1), axis=0) - (cells.mean() - cells.mean().mean())
    assert square == pytest.approx(2 * n * (rest**2).sum().sum() / 10)
    assert (
        comparison.run_square(wide, True)[1] == 12
        and comparison.run_square(wide[["a"]]) is None
        and comparison.run_square(wide.loc[:, (slice(None), 0)]) is None
    )


def test_the_detectable_effect_is_found_four_times_in_five():
    random, found = np.random.default_rng(2), 0
    effect = detectable(1 / np.sqrt(20), 19)
    for _ in range(2000):
        found += distributions.ttest_1samp(random.normal(effect, 1, 20), 0).pvalue < 0.05
    assert abs(found / 2000 - 0.8) < 0.03 and detectable(0.0, 5) == 0


def make_scores(effects, n=60, seeds=(0, 1, 2), noise=0.2):
    random = np.random.default_rng(0)
    ease, parts = random.normal(0, 1, n), []
    for arm, effect in effects.items():
        for seed in (0,) if arm == "none" else seeds:
            for pair in PAIRS:
                value = ease + effect + random.normal(0, noise, n)
                table = pd.DataFrame(
                    {"concept_id": [f"c{i}" for i in range(n)], "log_ratio": value, "score": value / 100, "rank": np.clip(5 - 2 * value, 1, 10)}
                )
                parts.append(
                    table.assign(
                        arm=arm, seed=seed, tokens=100, source_lang=pair[0], target_lang=pair[1], split=np.where(np.arange(n) < n // 2, "heldout", "seen")
                    )
                )
    return pd.concat(parts, ignore_index=True)


COUNTS = pd.DataFrame([(f"c{i}", "en", "fr", i % 2) for i in range(60)], columns=["concept_id", "first", "second", "n_both"])


def test_contrasts_find_what_is_there_and_holm_counts_the_fixed_ones():
    scores = outcome_table(make_scores({"none": 0, "matched": 0.1, "matched_paper": 0.1, "bilingual": 0.3, "pivot_npmi": 0.4, "pivot_paper": 0.1}), COUNTS)
    assert (scores.split == "never").sum() == 15 * 2 * 16 and scores.mrr.between(0.1, 1).all()
    table = contrasts(scores, n_resamples=300).set_index(["arm", "reference", "split", "outcome"])
    row = table.loc["pivot_npmi", "matched", "heldout", "log_ratio"]
    assert row.confirmatory and row.estimate == pytest.approx(0.3, abs=0.07) and row.p_holm < 0.01 and row.n == 30 and row.n_seeds == 3
    assert abs(table.loc["pivot_paper", "matched_paper", "heldout", "log_ratio"].estimate) < 0.07
    main = table[table.confirmatory]
    assert len(main) == 4 and main.p_holm.notna().all() and (main.p_holm >= main.p).all() and table.p_holm.notna().sum() == 4
    assert table.loc["pivot_npmi", "none", "never", "log_ratio"].n == 15
    assert not table.loc["pivot_npmi", "matched", "seen", "log_ratio"].confirmatory


def test_differences_are_paired_by_concept_and_seed():
    scores = make_scores({"none": 0, "matched": 0.1, "bilingual": 0.3}, noise=0.0)
    wide = comparison.outcome_by_concept(scores, "heldout", "log_ratio")
    np.testing.assert_allclose(differences(wide, "bilingual", "matched"), 0.2)
    np.testing.assert_allclose(differences(wide, "bilingual", "none"), 0.3)
    assert differences(wide, "bilingual", "none").shape == (30, 3)
    with pytest.raises(ValueError, match="there is no arm 'direct'; there are bilingual, matched, none"):
        differences(wide, "direct", "none")
    with pytest.raises(ValueError, match="have no seed in common"):
        differences(
            comparison.outcome_by_concept(scores[(scores.arm != "matched") | (scores.seed == 1)].query("arm != 'bilingual' or seed == 0"), "heldout", "score"),
            "bilingual",
            "matched",
        )


def test_the_transfer_table_has_every_metric():
    gains = pd.DataFrame({"arm": "none", "seed": 0, "tokens": 0, "source_lang": "en", "target_lang": "fr", "sentence_id": ["a", "b"], "gain": [0.1, 0.3]})
    spoken = gains.assign(chrf=[10.0, 30.0], hypothesis="x").drop(columns="gain")
    scores = outcome_table(make_scores({"none": 0, "matched": 0.1}), COUNTS, gains, spoken)
    losses = pd.DataFrame({"arm": ["none", "matched"], "seed": 0, "tokens": [0, 100], "val_en": [4.0, 3.9], "parallel_ja": [5.0, 5.1]})
    table = comparison.transfer_table(scores, losses, n_resamples=100)
    assert set(table.metric) == {*comparison.OUTCOMES, "sentence_gain", "loss"} and set(table.split) == {"heldout", "never", "seen", "parallel", "val"}
    key = (table.arm == "matched") & (table.seed == 2) & (table.metric == "mrr") & (table.split == "seen") & (table.source_lang == "fr")
    mine = scores[(scores.arm == "matched") & (scores.seed == 2) & (scores.split == "seen") & (scores.source_lang == "fr")]
    assert table.value[key].item() == pytest.approx(mine.mrr.mean()) and table.n[key].item() == 30
    assert table.value[table.metric == "sentence_gain"].item() == pytest.approx(0.2) and table.value[table.metric == "chrf"].item() == pytest.approx(20)
