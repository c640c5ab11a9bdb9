import numpy as np
import pandas as pd
import pytest
import torch

from semantic_pivots import interventions, lens, models, task
from semantic_pivots.models import rows_at_once
from semantic_pivots.scoring import log_probabilities


@pytest.fixture(scope="module")
def setting(lexicon):
    concepts = task.draw_concepts(lexicon, 5, seed=1)
    prompt = task.build_prompts(lexicon, ("en", "ja"), 1, seed=1, exclude=concepts.index)[0]
    return prompt, task.build_items(lexicon, concepts, ("en", "ja"), seed=1)


@torch.inference_mode()
def final_logits(lm, prompt, item):
    """The model's own logits where the target's first token is predicted, by a plain forward pass."""
    from semantic_pivots import tokens

    (encoded,) = tokens.encode_targets(lm.tokenizer, [prompt.text(item.source_word)], prompt.joiner, [item.target_word])
    return lm.network(torch.tensor([encoded.ids[: encoded.start]])).logits[0, -1].float()


def test_last_lens_is_the_model(family_model, setting):
    """Identity: the lens of the last block equals the model's logits."""
    prompt, items = setting
    residuals, _ = lens.answer_residuals(family_model, prompt, items.source_word.tolist(), items.target_word.tolist())
    assert residuals.shape == (5, 3, 32)
    logits = lens.lens_logits(family_model, residuals[:, -1])
    expected = torch.stack([final_logits(family_model, prompt, i) for i in items.itertuples()])
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


def test_hooks_are_removed_also_after_an_error(tiny_model):
    def count():
        return sum(len(b._forward_hooks) for b in tiny_model.blocks)

    with pytest.raises(ZeroDivisionError), lens.capture_blocks(tiny_model):
        assert count() == 3
        _ = 1 / 0
    assert count() == 0


@torch.inference_mode()
def test_residuals_are_the_hidden_states(tiny_model, setting):
    """But for the last, which transformers gives after the final norm."""
    prompt, items = setting
    item = items.iloc[0]
    residuals, _ = lens.answer_residuals(tiny_model, prompt, [item.source_word], [item.target_word])
    from semantic_pivots import tokens

    (encoded,) = tokens.encode_targets(tiny_model.tokenizer, [prompt.text(item.source_word)], prompt.joiner, [item.target_word])
    states = tiny_model.network(torch.tensor([encoded.ids[: encoded.start]]), output_hidden_states=True).hidden_states
    for layer in range(2):
        torch.testing.assert_close(residuals[0, layer], states[layer + 1][0, -1], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(residuals[0, -1], states[-1][0, -1], atol=1e-3)


def test_batches_are_as_large_as_keys_and_values_allow(tiny_model, setting, monkeypatch):
    prompt, items = setting
    words = items.source_word.tolist(), items.target_word.tolist()
    sequences, _ = interventions.answer_sequences(tiny_model, prompt, *words)
    whole = (
        lens.answer_residuals(tiny_model, prompt, *words)[0],
        log_probabilities(tiny_model, prompt, *words),
        interventions.read_answers(tiny_model, sequences),
    )
    prefix = tiny_model.prefill(list(range(5, 15)))
    row = sum(k[:, :, 0].nbytes + v[:, :, 0].nbytes for k, v in prefix) * (10 + 2)  # one row: the prefix and two tokens of its own
    monkeypatch.setattr(models, "CACHE_BYTES", 3 * row)
    assert rows_at_once(prefix, 2, 100) == 3 and rows_at_once(prefix, 3, 100) == 2 and rows_at_once(prefix, 2, 4) == 2 and rows_at_once([], 2, 100) == 50
    monkeypatch.setattr(models, "CACHE_BYTES", 1)
    assert rows_at_once(prefix, 2, 100) == 1
    torch.testing.assert_close(lens.answer_residuals(tiny_model, prompt, *words)[0], whole[0])
    np.testing.assert_allclose(log_probabilities(tiny_model, prompt, *words).log_p, whole[1].log_p, atol=1e-5)
    torch.testing.assert_close(interventions.read_answers(tiny_model, sequences).states, whole[2].states)


@pytest.mark.parametrize(("block_items", "rows"), [(512, 32), (2, 32), (512, 1), (2, 11)])
def test_measures_follow_their_definitions(tiny_model, setting, monkeypatch, block_items, rows):
    """Whether items come in blocks, and whether layers go through the unembedding together, does not matter."""
    prompt, items = setting
    monkeypatch.setattr(lens, "BLOCK_ITEMS", block_items)
    monkeypatch.setattr(lens, "ROWS", rows)
    residuals, _ = lens.answer_residuals(tiny_model, prompt, items.source_word.tolist(), items.target_word.tolist())
    chosen = [[i, i + 3] for i in range(5)]
    trace = lens.trace_items(tiny_model, residuals, [7] * 5, {"x": chosen})
    assert list(zip(trace.layer, trace["item"])) == [(layer, item) for layer in range(3) for item in range(5)]
    trace = trace.set_index(["layer", "item"])
    p = torch.stack([lens.lens_logits(tiny_model, residuals[:, la]).softmax(-1) for la in range(3)]).double()
    background = p.mean(1, keepdim=True)
    info = p * (p / background).log()
    for layer in range(3):
        row = trace.loc[layer]
        assert row.top1_id.tolist() == p[layer].argmax(-1).tolist()
        assert row.info_id.tolist() == info[layer].argmax(-1).tolist()
        for name, expected in (("information", info.sum(-1)), ("entropy", -(p * p.log()).sum(-1)), ("excess", (p - background).clamp_min(0).sum(-1))):
            torch.testing.assert_close(torch.tensor(row[name].to_numpy()).double(), expected[layer], atol=1e-5, rtol=1e-4)
        for item in range(5):
            assert row.p_x[item] == pytest.approx(float(p[layer, item, chosen[item]].sum()), abs=1e-6)
    # information is a Jensen–Shannon sum: mean over items between 0 and log(items)
    means = trace.groupby("layer").information.mean()
    assert ((means >= -1e-6) & (means <= torch.tensor(5.0).log().item() + 1e-6)).all()


def test_background_is_of_items_that_read_the_same_token(tiny_model, setting):
    """Items that read another token do not move an item's measures."""
    prompt, items = setting
    residuals, _ = lens.answer_residuals(tiny_model, prompt, items.source_word.tolist(), items.target_word.tolist())
    mixed = lens.trace_items(tiny_model, residuals, [7, 7, 7, 9, 9], {})
    alone = lens.trace_items(tiny_model, residuals[:3], [7, 7, 7], {})
    seen = mixed[mixed["item"] < 3].reset_index(drop=True)
    pd.testing.assert_frame_equal(seen, alone, check_exact=False, rtol=1e-5)


def test_token_sets_keep_languages_apart(tiny_model, lexicon, setting):
    _, items = setting
    sets = lens.token_sets(tiny_model, lexicon, items)
    for row in range(len(items)):
        languages = [set(sets[la][row]) for la in task.LANGUAGES]
        assert sum(map(len, languages)) == len(set().union(*languages))


def test_ridge_lens_beats_the_raw_lens_on_the_text_it_saw(tiny_model):
    texts = ["Please translate words from chat to dog." * 3, "the cat and the dog chien words" * 3, "Lorem ipsum dolor sit amet" * 4] * 4
    fitted = lens.fit_ridge_lens(tiny_model, texts, ridge=1e-6)
    table = lens.lens_divergence(tiny_model, lens.text_residuals(tiny_model, texts), fitted)
    assert table.text.nunique() == len(texts)
    table = table.groupby(["lens", "layer"])[["kl", "agreement"]].mean()
    for layer in range(2):
        assert table.kl["ridge", layer] < table.kl["raw", layer]
    assert table.kl["raw", 2] == pytest.approx(0, abs=1e-5) and table.kl["ridge", 2] == pytest.approx(0, abs=1e-5)
    assert table.agreement["raw", 2] == 1


def test_ridge_lens_recovers_a_linear_map():
    """With states that are a linear map away, the closed form finds it."""
    random = torch.Generator().manual_seed(0)
    weights = torch.randn(2, 5, 4, generator=random)
    mapped = lens.RidgeLens(weights)(torch.ones(1, 2, 4))
    torch.testing.assert_close(mapped[0, 0], weights[0].sum(0))
    torch.testing.assert_close(mapped[0, 1], torch.ones(4))


def test_thinning_rounds_and_keeps_what_rules_compare():
    counts = {"layer": 1, "prompt_set": 0, "n_background": 3, "top1_id": 7, "info_id": 8}
    table = pd.DataFrame({"p_source": [1e-7, 0.123456789, 1.0], "information": [2.00049, 1.0, 0.0], "top1_prob": [0.99999, 0.99998, 0.5], **counts})
    thin = lens._thinned(table)
    assert (abs(thin.p_source - table.p_source) <= 5.1e-5).all() and (abs(thin.information - table.information) <= 5.1e-4).all()
    assert thin.top1_prob[0] > thin.top1_prob[1]


def test_control_sets_are_those_of_another_item(tiny_model, lexicon, setting):
    _, items = setting
    sets = lens.token_sets(tiny_model, lexicon, items)
    for name in lens.CONTROLLED:
        assert sets[f"control_{name}"] == sets[name][1:] + sets[name][:1]


def test_no_text_is_an_error(tiny_model):
    with pytest.raises(ValueError, match="no text"):
        lens.fit_ridge_lens(tiny_model, [])
