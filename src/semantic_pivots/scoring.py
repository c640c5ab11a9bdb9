"""Scoring: how probable a model finds each translation, and by how much more than after the wrong word.

P(y|w) = exp( mean over prompt sets of (1/N) Σ log p(y_i | prompt, w, y_<i) ), the geometric mean probability of the
N tokens of the target y (He et al. 2025, §3), and

    Score(w → y) = P(y|w) − mean over nine distractors w′ of P(y|w′).

All prompts of a pair begin alike, all targets of a source word share its line, and many targets begin alike: the
shared beginning is run once and its keys and values are kept, the rest of each source word is one token tree, and the
unembedding is applied only where a target token is predicted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata

from . import stats, task, tokens
from .artifacts import Store
from .fingerprint import module_code
from .models import LanguageModel, rows_at_once
from .progress import progress
from .task import Prompt

__all__ = ["log_probabilities", "score_items", "score_pairs", "compare_formats", "summarise"]

BATCH_TOKENS = 2048  # tokens run at a time, padding included: larger batches only pad more


def log_probabilities(lm: LanguageModel, prompt: Prompt, words: Sequence[str], targets: Sequence[str]) -> pd.DataFrame:
    """Mean log probability of each target after each word.

    Args:
        lm: the model.
        prompt: prompt of the pair.
        words: source words (n).
        targets: target words (n), scored after the word at the same place.

    Returns:
        n rows: log_p (mean over the target's tokens, nats), n_tokens, first_correct (whether the target's first
        token is the most probable one).
    """
    encoded = tokens.encode_targets(lm.tokenizer, [prompt.text(w) for w in words], prompt.joiner, targets)
    # the last shared token is left out so that every tree has a root whose output predicts something
    shared = min(tokens.common_prefix(e.ids for e in encoded), min(e.start for e in encoded) - 1)
    prefix = lm.prefill(list(encoded[0].ids[:shared]))
    groups: dict[str, list[int]] = {}
    for row, word in enumerate(words):
        groups.setdefault(word, []).append(row)
    trees = {w: tokens.token_tree([encoded[r].ids[shared:] for r in rows]) for w, rows in groups.items()}

    log_p = np.zeros(len(words))
    first = np.zeros(len(words), dtype=bool)
    for batch in _batches(trees, prefix):
        asked = [(b, k, row) for b, w in enumerate(batch) for k, row in enumerate(groups[w])]
        hidden = run_trees(lm, prefix, shared, [trees[w] for w in batch])
        predicted = []  # (tree of the batch, predicting node, token id, row, is it the first token)
        for b, k, row in asked:
            path, e = trees[batch[b]].paths[k], encoded[row]
            predicted += [(b, path[i - shared - 1], e.ids[i], row, i == e.start) for i in range(e.start, e.stop)]
        value, top = _log_probability(lm, hidden, predicted)
        np.add.at(log_p, [p[3] for p in predicted], value)
        for p, t in zip(predicted, top):
            if p[4]:
                first[p[3]] = t == p[2]
    n_tokens = np.array([e.stop - e.start for e in encoded])
    return pd.DataFrame({"log_p": log_p / n_tokens, "n_tokens": n_tokens, "first_correct": first})


def _batches(trees: dict[str, tokens.TokenTree], prefix: list) -> Iterator[list[str]]:
    """Source words in batches of alike length, as many as fit into BATCH_TOKENS with padding, and with the prefix into memory."""
    batch: list[str] = []
    for word in sorted(trees, key=lambda w: (len(trees[w]), w), reverse=True):
        if batch and len(batch) >= rows_at_once(prefix, len(trees[batch[0]]), BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(word)
    if batch:
        yield batch


def run_trees(lm: LanguageModel, prefix: list, offset: int, trees: list[tokens.TokenTree]) -> torch.Tensor:
    """Hidden states of a batch of trees after the shared prefix, [trees, longest tree, d]."""
    longest = max(map(len, trees))
    ids = np.zeros((len(trees), longest), dtype=np.int64)
    positions = np.full((len(trees), longest), offset, dtype=np.int64)
    visible = np.zeros((len(trees), longest, longest), dtype=bool)
    visible[:, np.arange(longest), np.arange(longest)] = True  # padding sees itself, so that no row is empty
    for b, tree in enumerate(trees):
        n = len(tree)
        ids[b, :n], positions[b, :n], visible[b, :n, :n] = tree.ids, tree.depth + offset, tree.visible
    return lm.extend(prefix, *(torch.from_numpy(a).to(lm.device) for a in (ids, positions, visible)))


def _log_probability(lm: LanguageModel, hidden: torch.Tensor, predicted: list[tuple]) -> tuple[np.ndarray, np.ndarray]:
    """Log probability of each predicted token, and the most probable token there; each position is unembedded once."""
    places = sorted({(p[0], p[1]) for p in predicted})
    index = {place: i for i, place in enumerate(places)}
    b, node = torch.tensor(places, device=lm.device).T
    states = hidden[b, node]
    normaliser, top = lm.normaliser(states)
    at = torch.tensor([index[p[0], p[1]] for p in predicted], device=lm.device)
    ids = torch.tensor([p[2] for p in predicted], device=lm.device)
    value = torch.cat([lm.logits_of(s, i) for s, i in zip(states[at].split(1024), ids.split(1024))]) - normaliser[at]
    return value.cpu().double().numpy(), top[at].cpu().numpy()


def score_items(lm: LanguageModel, prompts: Sequence[Prompt], items: pd.DataFrame) -> pd.DataFrame:
    """Score the items of one ordered pair.

    Args:
        lm: the model.
        prompts: the pair's prompt sets; log probabilities are averaged over them before the exponential.
        items: from :func:`task.build_items`.

    Returns:
        Items with model, n_target_tokens, p_target, p_distractors (list), score, log_ratio (log P(y|w) minus the mean
        log P(y|w′)), rank (of the true source among the ten, 1 = most probable, ties half), first_token_correct
        (share of prompt sets).
    """
    if not len(items) or not prompts:
        raise ValueError(f"{len(items)} items and {len(prompts)} prompt sets: there is nothing to score")
    candidates = [[i.source_word, *i.distractors] for i in items.itertuples()]
    words = [w for c in candidates for w in c]
    targets = [i.target_word for i, c in zip(items.itertuples(), candidates) for _ in c]
    tables = [log_probabilities(lm, p, words, targets) for p in prompts]
    log_p = np.mean([t.log_p for t in tables], axis=0).reshape(len(items), -1)
    first = np.mean([t.first_correct for t in tables], axis=0).reshape(len(items), -1)
    p = np.exp(log_p)
    return items.assign(
        model=lm.id,
        n_target_tokens=tables[0].n_tokens.to_numpy().reshape(len(items), -1)[:, 0],
        p_target=p[:, 0],
        p_distractors=list(p[:, 1:]),
        score=p[:, 0] - p[:, 1:].mean(1),
        log_ratio=log_p[:, 0] - log_p[:, 1:].mean(1),
        rank=rankdata(-log_p, axis=1)[:, 0],
        first_token_correct=first[:, 0],
    )


def score_pairs(
    lm: LanguageModel,
    lexicon: pd.DataFrame,
    concepts: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    n_prompt_sets: int,
    seed: int,
    store: Store,
    prompt_format: str = "instruction",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Build and score the items of several pairs, each kept on disk when it is done.

    Args:
        prompt_format: a name in ``task.FORMATS``.

    Returns:
        The scores and the prompts (tables ``scores`` and ``prompts``).
    """
    parts, used = [], []
    code = module_code("scoring")
    for pair in progress(pairs, f"scoring {lm.id}"):
        prompts = task.build_prompts(lexicon, pair, n_prompt_sets, seed, concepts.index, prompt_format)
        items = task.build_items(lexicon, concepts, pair, seed)
        key = {"code": code, "model": lm.facts(), "prompts": prompts, "items": items.to_dict("records")}
        # the functions are called before the loop goes on, so they see this pair's values
        parts.append(store.unit("scores", lambda p=prompts, i=items: score_items(lm, p, i), **key))
        used += [task.prompt_row(p) | {"model": lm.id} for p in prompts]
    return pd.concat(parts, ignore_index=True), pd.DataFrame(used)


def compare_formats(
    lm: LanguageModel,
    lexicon: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    n_concepts: int,
    n_prompt_sets: int,
    seed: int,
    store: Store,
    n_resamples: int = 2000,
) -> pd.DataFrame:
    """How well a model does with each prompt format on demonstration concepts, so that the choice sees no test word.

    The items are concepts of the split `demo` that serve in no prompt and have nine distractors there.

    Args:
        n_concepts: concepts that are drawn, at most.

    Returns:
        Table ``formats``: model, format and the other columns of :func:`summarise`, over all pairs, the best MRR first.
    """
    demo = lexicon[lexicon.split == "demo"]
    shown = {c for p in task.build_prompts(lexicon, pairs[0], n_prompt_sets, seed) for c in p.demonstrations}
    pool = task.Pool(lexicon, ["demo"])
    able = [c for c in demo.index if c not in shown and pool.enough(c)]
    concepts = demo.loc[np.random.default_rng(seed).permutation(able)[:n_concepts]]
    parts = []
    for name in task.FORMATS:
        scores, _ = score_pairs(lm, lexicon, concepts, pairs, n_prompt_sets, seed, store, name)
        parts.append(summarise(scores.assign(format=name), ("model", "format"), n_resamples, seed))
    return pd.concat(parts).sort_values("mrr", ascending=False, ignore_index=True)


def summarise(scores: pd.DataFrame, by: Sequence[str] = ("model", "source_lang", "target_lang"), n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Ability by group: means with bootstrap intervals over concepts.

    Returns:
        The group's columns, n, mean_score, ci_low, ci_high, and top1, mrr, log_ratio and first_token_accuracy, each
        with ``_low`` and ``_high``.
    """
    rows = []
    for key, group in scores.groupby(list(by), sort=False, observed=True):
        # a concept can stand in several pairs of a group: concepts, not items, are resampled
        per_concept = (
            pd.DataFrame(
                {
                    "concept_id": group.concept_id,
                    "mean_score": group.score,
                    "top1": (group["rank"] == 1).astype(float),
                    "mrr": 1 / group["rank"],
                    "log_ratio": group.log_ratio,
                    "first_token_accuracy": group.first_token_correct,
                }
            )
            .groupby("concept_id", sort=True)
            .mean()
        )
        row = dict(zip(by, key)) | {"n": len(per_concept)}
        for name in per_concept:
            value, low, high = stats.bootstrap_interval(per_concept[name].to_numpy(), n_resamples=n_resamples, seed=seed)
            prefix = "ci" if name == "mean_score" else name
            row |= {name: value, f"{prefix}_low": low, f"{prefix}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)
