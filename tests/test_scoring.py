import numpy as np
import pytest

from semantic_pivots import scoring, stats, task
from tests import reference


@pytest.fixture(scope="module")
def setting(lexicon):
    concepts = task.draw_concepts(lexicon, 6, seed=1)
    prompts = task.build_prompts(lexicon, ("en", "ja"), 2, seed=1, exclude=concepts.index)
    return prompts, task.build_items(lexicon, concepts, ("en", "ja"), seed=1)


def test_scores_equal_one_forward_per_prompt(family_model, setting):
    """P(y|w) and P(y|w′) agree with a plain forward of every prompt, for every family."""
    prompts, items = setting
    scores = scoring.score_items(family_model, prompts, items.head(2))
    for item, row in zip(items.head(2).itertuples(), scores.itertuples()):
        p_target, p_distractors = reference.score(family_model, prompts, item)
        assert row.p_target == pytest.approx(p_target, abs=1e-6, rel=1e-3)
        np.testing.assert_allclose(row.p_distractors, p_distractors, atol=1e-6, rtol=1e-3)
        assert row.score == pytest.approx(p_target - p_distractors.mean(), abs=1e-6)


@pytest.mark.parametrize("batch_tokens", [1, 40, 10_000])
def test_scores_do_not_depend_on_batches(tiny_model, setting, monkeypatch, batch_tokens):
    prompts, items = setting
    expected = scoring.score_items(tiny_model, prompts, items)
    monkeypatch.setattr(scoring, "BATCH_TOKENS", batch_tokens)
    seen = scoring.score_items(tiny_model, prompts, items)
    np.testing.assert_allclose(seen.p_target, expected.p_target, rtol=1e-4)


def test_an_item_scores_the_same_alone_as_among_others(tiny_model, setting):
    prompts, items = setting
    together = scoring.score_items(tiny_model, prompts, items)
    alone = scoring.score_items(tiny_model, prompts, items.iloc[[3]])
    assert alone.score.iloc[0] == pytest.approx(together.score.iloc[3], abs=1e-7)


def test_ranks_count_ties_half(tiny_model, setting):
    prompts, items = setting
    items = items.assign(distractors=[[w, *d[1:5], *d[1:5]] for w, d in zip(items.source_word, items.distractors)])  # the source word again, others twice
    for row in scoring.score_items(tiny_model, prompts, items).itertuples():
        more, alike = sum(p > row.p_target for p in row.p_distractors), sum(p == row.p_target for p in row.p_distractors)
        assert row.rank == 1 + more + 0.5 * alike and alike >= 1


def test_first_token_is_the_models_own_next_token(tiny_model, setting):
    """The share of prompt sets in which greedy decoding starts the target."""
    import torch

    prompts, items = setting
    item = items.iloc[0]
    text = prompts[0].text(item.source_word)
    ids = tiny_model.tokenizer(text + " ", return_tensors="pt")
    best = tiny_model.network(**ids).logits[0, -1].argmax()
    word = tiny_model.tokenizer.decode([best]).strip() or "x"
    seen = scoring.log_probabilities(tiny_model, prompts[0], [item.source_word], [word])
    encoded = tiny_model.tokenizer(text + " " + word)["input_ids"]
    assert seen.first_correct[0] == bool(encoded[ids["input_ids"].shape[1]] == best)
    assert isinstance(seen.n_tokens[0], (int, np.integer)) and torch.is_tensor(best)


def test_nothing_to_score(tiny_model, setting):
    prompts, items = setting
    with pytest.raises(ValueError, match="0 items and 2 prompt sets"):
        scoring.score_items(tiny_model, prompts, items.head(0))


def test_memory_does_not_grow_with_concepts(tiny_model, setting, monkeypatch):
    """No forward pass is larger than the batch limit, however many items there are."""
    prompts, items = setting
    monkeypatch.setattr(scoring, "BATCH_TOKENS", 120)
    sizes = []
    extend = type(tiny_model).extend
    monkeypatch.setattr(type(tiny_model), "extend", lambda self, prefix, ids, *rest: sizes.append(ids.numel()) or extend(self, prefix, ids, *rest))
    scoring.score_items(tiny_model, prompts, items)
    assert max(sizes) <= 120 or len(sizes) > 50


def test_summary_is_by_concept(tiny_model, setting):
    prompts, items = setting
    scores = scoring.score_items(tiny_model, prompts, items)
    row = scoring.summarise(scores, n_resamples=100).iloc[0]
    assert row.n == 6
    assert row.mean_score == pytest.approx(scores.score.mean())
    assert row.mrr == pytest.approx((1 / scores["rank"]).mean())
    assert row.ci_low <= row.mean_score <= row.ci_high


def test_bootstrap_covers_the_mean():
    """About 95 % of the intervals hold the true mean."""
    random = np.random.default_rng(1)
    inside = 0
    for seed in range(200):
        _, low, high = stats.bootstrap_interval(random.normal(2.0, 1.0, 60), n_resamples=300, seed=seed)
        inside += low <= 2.0 <= high
    assert 0.88 <= inside / 200 <= 0.99


@pytest.mark.parametrize(("values", "message"), [([], "no values"), ([1.0, np.nan], "1 of 2 values are not finite")])
def test_bootstrap_refuses(values, message):
    with pytest.raises(ValueError, match=message):
        stats.bootstrap_interval(np.array(values))


def test_bootstrap_of_one_value_has_no_interval():
    value, low, high = stats.bootstrap_interval(np.array([3.0]))
    assert value == 3.0 and np.isnan(low) and np.isnan(high)
