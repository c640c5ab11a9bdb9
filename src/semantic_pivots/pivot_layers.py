"""Pivots in the layers: how much probability each layer gives to a concept's pivots (He et al. 2025, §5).

At the position that predicts the target (:mod:`.lens`), the probability of the tokens that can start the source word, the
pivots, and the accepted translations is summed, layer by layer, in two ways: as the lens has it, and beyond the background,
Σ max(0, p − p_bg), with p_bg the mean over the items. A token of the source word or of an accepted translation is no pivot's.

Two nulls. *Matched controls:* for every pivot token another one of the same script (and space before it), corpus frequency and
unembedding norm; some hundred such sets. *Shuffled pivots:* the pivots of the other concepts of the same direction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from scipy import sparse

from . import tokens
from .artifacts import Store
from .fingerprint import module_code
from .lens import answer_residuals
from .matching import fold
from .models import LanguageModel, matmul_precision
from .pivot_controls import TokenFacts, draw_controls, matchable, matched_tokens
from .pivots import TYPES
from .progress import progress
from .spellings import is_han, unspaced
from .task import LANGUAGES, Prompt

__all__ = ["LENSES", "GROUPS", "SHARED", "MIDDLE", "Controls", "TokenSets", "similarity", "pivot_tokens", "token_sets", "layer_mass", "trace_mass"]

LENSES = ("raw", "corrected")
SHARED = "translation in both"  # a token that can start the English word and the other third language's
GROUPS = (*(t for t in TYPES if t != "noise"), SHARED)
PRECEDENCE = ("English translation", "third-language translation", "English associate", "third-language associate", *GROUPS[4:])
MIDDLE = -1  # stands in the column ``layer`` for the mean over the middle layers
FRAGMENT = 4  # letters a piece of a word must have to stand for it in a script with spaces


def word_vectors(lm: LanguageModel, words: Sequence[str]) -> np.ndarray:
    """Mean of each word's unembedding rows (its tokens after a space), [n, d]."""
    encoded = tokens.encode_targets(lm.tokenizer, ["\n"] * len(words), " ", list(words))
    spans = [list(e.ids[e.start : e.stop]) for e in encoded]
    lengths = torch.tensor([len(s) for s in spans])
    rows = lm.unembedding[torch.tensor([i for s in spans for i in s], device=lm.device)].float().cpu()
    sums = torch.zeros(len(spans), rows.shape[1]).index_add_(0, torch.repeat_interleave(torch.arange(len(spans)), lengths), rows)
    return (sums / lengths[:, None]).numpy()


def similarity(lm: LanguageModel, lexicon: pd.DataFrame, pivots: pd.DataFrame) -> np.ndarray:
    """Mean cosine of each pivot with its two words, in the unembedding, [n].

    From each word the mean of its language is taken off (over the lexicon's main words): words of one language have a part
    in common that says which language it is, not what they mean. Neither a scale of the unembedding nor a part that all rows share
    moves the result.

    Args:
        pivots: pivot, lang, word_a, lang_a, word_b, lang_b.
    """
    means = {la: word_vectors(lm, lexicon[la].tolist()).mean(0) for la in LANGUAGES}
    columns = {"pivot": "lang", "word_a": "lang_a", "word_b": "lang_b"}
    known = sorted(set().union(*(zip(pivots[word], pivots[la]) for word, la in columns.items())))
    if not known:
        return np.zeros(0)
    vectors = word_vectors(lm, [w for w, _ in known]) - np.stack([means[la] for _, la in known])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
    place = {key: i for i, key in enumerate(known)}
    own, *ends = (vectors[[place[key] for key in zip(pivots[word], pivots[la])]] for word, la in columns.items())
    return np.mean([(own * end).sum(1) for end in ends], axis=0)


def pivot_tokens(lm: LanguageModel, words: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Tokens that can start each word (``tokens.word_starts``), where they say enough of it.

    A first piece counts if it is the whole word, has four letters, or holds a Han character or two kana; "ab" says
    nothing of "abandonment".
    """

    def tells(piece: str, word: str) -> bool:
        piece = fold(piece)
        return piece == word or len(piece) >= (2 if unspaced(piece) else FRAGMENT) or any(map(is_han, piece))

    return {w: tuple(sorted(i for i, piece in tokens.word_starts(lm.tokenizer, [w]).items() if tells(piece, w))) for w in sorted(set(words))}


# --- masses -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TokenSets:
    """Token ids of the items of one direction, a list an item.

    Attributes:
        source: tokens that can start the source word.
        target: tokens that can start an accepted translation.
        pivot: tokens of the pivots, none of the two above.
        group: for each pivot token the index of its type in ``GROUPS``.
        concept: tokens that can start a word of the concept in any language; no control.
    """

    source: list[np.ndarray]
    target: list[np.ndarray]
    pivot: list[np.ndarray]
    group: list[np.ndarray]
    concept: list[np.ndarray]


def token_sets(lm: LanguageModel, lexicon: pd.DataFrame, pair: tuple[str, str], concepts: Sequence[str], pivots: pd.DataFrame) -> TokenSets:
    """Token sets of concepts in one direction.

    A token of several pivots has the first of their types: translations before associates, English before others (``PRECEDENCE``). But one that
    can start an English translation and a third-language one is neither's (``SHARED``): it cannot tell the two apart.

    Args:
        pivots: kept pivots of the direction: concept_id, type, pivot_ids.
    """
    by_concept = dict(list(pivots.groupby("concept_id")))
    sets = TokenSets([], [], [], [], [])
    for concept in concepts:
        starts = {la: set(tokens.word_starts(lm.tokenizer, [*lexicon.at[concept, f"valid_{la}"], lexicon.at[concept, la]])) for la in LANGUAGES}
        source = set(tokens.word_starts(lm.tokenizer, [lexicon.at[concept, pair[0]]]))
        kinds: dict[int, set[str]] = {}
        if (found := by_concept.get(concept)) is not None:
            for kind, ids in zip(found.type, found.pivot_ids):
                for i in ids:
                    kinds.setdefault(int(i), set()).add(kind)
        own = {i: GROUPS.index(_one_type(k)) for i, k in sorted(kinds.items()) if i not in source and i not in starts[pair[1]]}
        sets.source.append(np.array(sorted(source - starts[pair[1]]), np.int64))
        sets.target.append(np.array(sorted(starts[pair[1]]), np.int64))
        sets.pivot.append(np.fromiter(own, np.int64, len(own)))
        sets.group.append(np.fromiter(own.values(), np.int64, len(own)))
        sets.concept.append(np.array(sorted(set().union(*starts.values())), np.int64))
    return sets


def _one_type(kinds: set[str]) -> str:
    return SHARED if {*PRECEDENCE[:2]} <= kinds else min(kinds, key=PRECEDENCE.index)


@torch.inference_mode()
def _probabilities(lm: LanguageModel, hidden: torch.Tensor, normaliser: torch.Tensor, ids: np.ndarray) -> np.ndarray:
    """Probability of some tokens, float32 [rows, ids]; only these leave the device."""
    with matmul_precision(lm.dtype):
        logits = lm.softcap(hidden @ lm.unembedding[torch.tensor(ids, device=lm.device)].float().T)
    return (logits - normaliser[:, None]).exp().cpu().numpy()


def layer_mass(
    lm: LanguageModel,
    residuals: torch.Tensor,
    read: Sequence[int],
    sets: TokenSets,
    neighbors: dict[int, np.ndarray],
    middle: Sequence[int],
    n_controls: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Masses of all items of a direction at every layer, beside both nulls.

    Args:
        residuals: [items, layers, d] from ``lens.answer_residuals``.
        read: token read at each item's position; the background is taken over the items that read the same one.
        sets: token sets of the items.
        neighbors: for each pivot token its matched tokens (:func:`matched_tokens`).
        middle: layers whose mean is given as well, as layer ``MIDDLE``: by the same control sets, so that it has a null of its own.
        n_controls: control sets an item.

    Returns:
        One row an item (its index), layer and lens: mass_source, mass_pivot, mass_target; mass_control, control_sd, z, p_control (share of control
        sets with at least as much mass, the item's own counted among them); mass_shuffled, shuffled_sd, z_shuffled, p_shuffled (the same of the other
        concepts' pivots); n_tokens; and for each type
        ``mass: TYPE``, ``control: TYPE``, ``sd: TYPE``, ``n: TYPE``. Sets without tokens have mass 0 and no z.
    """
    random = np.random.default_rng(seed)
    n_items, pivots = len(sets.pivot), sets.pivot
    controls = [np.empty((n_controls, 0), np.int64)] * n_items
    for item, own in enumerate(pivots):
        if len(own):
            excluded = np.concatenate([sets.source[item], sets.concept[item], own])
            controls[item] = draw_controls(np.stack([neighbors[i] for i in own.tolist()]), excluded, n_controls, random)
    union = np.unique(np.concatenate([c.ravel() for c in (*sets.source, *sets.target, *pivots, *controls)]))
    place = {name: [np.searchsorted(union, ids) for ids in getattr(sets, name)] for name in ("source", "target", "pivot")}
    controls = [np.searchsorted(union, c) for c in controls]
    indicator = [np.eye(len(GROUPS), dtype=np.float32)[g] for g in sets.group]
    rows = np.concatenate([np.full(len(p), i) for i, p in enumerate(place["pivot"])])
    of_concept = sparse.csr_array((np.ones(len(rows), np.float32), (np.concatenate(place["pivot"]), rows)), shape=(len(union), n_items))
    held = _Sets(place, controls, indicator, sets.group, of_concept)
    groups = [np.flatnonzero(np.asarray(read) == token) for token in sorted(set(read))]
    hidden = lm.normed(residuals.to(lm.device).flatten(0, 1))
    normaliser = lm.normaliser(hidden)[0].unflatten(0, residuals.shape[:2])  # of all layers in one pass over the vocabulary
    hidden = hidden.unflatten(0, residuals.shape[:2])
    parts, sums = [], {lens: np.zeros((n_items, len(union)), np.float32) for lens in LENSES}
    for layer in range(residuals.shape[1]):
        raw = _probabilities(lm, hidden[:, layer], normaliser[:, layer], union)
        excess = np.empty_like(raw)
        for members in groups:
            excess[members] = np.maximum(raw[members] - raw[members].mean(0), 0)
        for lens, p in zip(LENSES, (raw, excess)):
            parts.append(_masses(p, held).assign(layer=layer, lens=lens))
            if layer in middle:
                sums[lens] += p / len(middle)
    parts += [_masses(p, held).assign(layer=MIDDLE, lens=lens) for lens, p in sums.items()]
    return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class _Sets:
    """Sets as places among the tokens whose probabilities are held, a list an item each."""

    place: dict[str, list[np.ndarray]]
    controls: list[np.ndarray]
    indicator: list[np.ndarray]
    group: list[np.ndarray]
    of_concept: sparse.csr_array


def _masses(p: np.ndarray, sets: _Sets) -> pd.DataFrame:
    """Masses of one layer; p [items, tokens held]."""
    pivots = sets.place["pivot"]
    n = np.array([len(own) for own in pivots])
    table = {f"mass_{name}": np.array([p[i, own].sum() for i, own in enumerate(sets.place[name])]) for name in sets.place}
    drawn = np.stack([p[i][c] @ g for i, (c, g) in enumerate(zip(sets.controls, sets.indicator))])  # [item, set, type]
    whole = drawn.sum(2)
    table |= {"mass_control": whole.mean(1), "control_sd": whole.std(1, ddof=1)}
    table["p_control"] = np.where(n > 0, (1 + (whole >= table["mass_pivot"][:, None]).sum(1)) / (1 + whole.shape[1]), np.nan)
    table["mass_shuffled"], table["shuffled_sd"], table["p_shuffled"] = _shuffled(p, sets, n > 0, table["mass_pivot"])
    for z, name in (("z", "control"), ("z_shuffled", "shuffled")):
        spread = table[f"{name}_sd"]
        table[z] = np.where((n > 0) & (spread > 0), (table["mass_pivot"] - table[f"mass_{name}"]) / np.where(spread > 0, spread, 1), np.nan)
    for g, kind in enumerate(GROUPS):
        members = [own[group == g] for own, group in zip(pivots, sets.group)]
        table |= {f"n: {kind}": np.array([len(m) for m in members]), f"mass: {kind}": np.array([p[i, m].sum() for i, m in enumerate(members)])}
        table |= {f"control: {kind}": drawn[:, :, g].mean(1), f"sd: {kind}": drawn[:, :, g].std(1, ddof=1)}
    return pd.DataFrame({"item": np.arange(len(p)), "n_tokens": n} | table)


def _shuffled(p: np.ndarray, sets: _Sets, some: np.ndarray, pivot_mass: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and spread of what each item gives to the pivots of the others that have any, and the rank of its own among them as a p.

    Tokens of its own source and target words are left out.
    """
    if some.sum() < 3:
        return (np.full(len(p), np.nan),) * 3
    cleared = p.copy()
    for i, own in enumerate(zip(sets.place["source"], sets.place["target"])):
        cleared[i, np.concatenate(own)] = 0
    mass = (sets.of_concept.T @ cleared.T).T.astype(float)  # [item, whose pivots]
    mass[:, ~some] = np.nan
    np.fill_diagonal(mass, np.nan)
    rank = (1 + (mass >= pivot_mass[:, None] - 1e-12).sum(1)) / (1 + np.isfinite(mass).sum(1))
    return np.nanmean(mass, 1), np.nanstd(mass, 1, ddof=1), np.where(some, rank, np.nan)


@dataclass(frozen=True)
class Controls:
    """How control sets are drawn.

    Attributes:
        n_sets: sets a concept.
        n_neighbors: nearest matched tokens that each pivot token's control is drawn from.
        pool_size: tokens of each script that can be controls.
        seed: of the draws.
    """

    n_sets: int = 200
    n_neighbors: int = 24
    pool_size: int = 4000
    seed: int = 0


def trace_mass(
    lm: LanguageModel,
    lexicon: pd.DataFrame,
    prompts: dict[tuple[str, str], Prompt],
    concepts: Sequence[str],
    pivots: pd.DataFrame,
    facts: TokenFacts,
    middle: Sequence[int],
    store: Store,
    controls: Controls = Controls(),
) -> pd.DataFrame:
    """:func:`layer_mass` of some concepts in several directions, each direction kept on disk when it is done.

    Args:
        prompts: one prompt a direction.
        pivots: kept pivots of all directions, with ``pivot_ids``.
        middle: the middle layers.

    Returns:
        The columns of :func:`layer_mass`, of pivot tokens that can be matched (:func:`.pivot_controls.matchable`), with model, source_lang, target_lang, concept_id in place of the item; balance_frequency and balance_norm (mean log frequency and
        norm of the pivot tokens less those of their controls).
    """
    code, parts = module_code("pivot_layers"), []
    pivots = pivots[pivots.concept_id.isin(list(concepts))]
    for pair, prompt in progress(list(prompts.items()), f"pivots in the layers of {lm.id}"):
        own = pivots[(pivots.source_lang == pair[0]) & (pivots.target_lang == pair[1])][["concept_id", "type", "pivot_ids"]]
        words = lexicon.loc[concepts, [f"valid_{la}" for la in LANGUAGES]].map(list).to_dict("list")
        key = {"code": code, "model": lm.facts(), "prompt": prompt, "concepts": list(concepts), "words": words}
        key |= {"controls": controls, "middle": list(middle)}
        key["pivots"] = [own.concept_id.tolist(), own.type.tolist(), [list(map(int, ids)) for ids in own.pivot_ids]]
        compute = lambda pr=prompt, pa=pair, o=own: _direction_mass(lm, lexicon, pr, pa, concepts, o, facts, middle, controls)  # noqa: E731
        parts.append(store.unit("pivot_mass", compute, **key).assign(source_lang=pair[0], target_lang=pair[1]))
    table = pd.concat(parts, ignore_index=True).assign(model=lm.id)
    front = ["model", "source_lang", "target_lang", "concept_id", "layer", "lens"]
    return table[front + [c for c in table.columns if c not in front]]


def _direction_mass(
    lm: LanguageModel,
    lexicon: pd.DataFrame,
    prompt: Prompt,
    pair: tuple[str, str],
    concepts: Sequence[str],
    pivots: pd.DataFrame,
    facts: TokenFacts,
    middle: Sequence[int],
    controls: Controls,
) -> pd.DataFrame:
    sources, targets = lexicon.loc[concepts, pair[0]].tolist(), lexicon.loc[concepts, pair[1]].tolist()
    residuals, read = answer_residuals(lm, prompt, sources, targets)
    sets, can = token_sets(lm, lexicon, pair, concepts, pivots), matchable(facts, controls.n_neighbors)
    # a pivot token that nothing can be compared with says nothing
    sets = replace(sets, pivot=[p[can[p]] for p in sets.pivot], group=[g[can[p]] for p, g in zip(sets.pivot, sets.group)])
    wanted = np.unique(np.concatenate([*sets.pivot, np.empty(0, np.int64)]))
    near = matched_tokens(facts, wanted, controls.n_neighbors, controls.pool_size, controls.seed)
    table = layer_mass(lm, residuals, read, sets, dict(zip(wanted.tolist(), near)), middle, controls.n_sets, controls.seed)
    floats = table.select_dtypes("floating").columns
    table = table.assign(concept_id=np.array(concepts, object)[table["item"]], balance_frequency=_imbalance(facts.log_frequency, wanted, near))
    table = table.assign(balance_norm=_imbalance(facts.norm, wanted, near)).drop(columns="item")
    table[floats] = table[floats].apply(_shortened)
    return table.astype({"layer": np.int16, "n_tokens": np.int16} | {f"n: {g}": np.int16 for g in GROUPS})


def _shortened(values: pd.Series) -> pd.Series:
    """Three significant digits: half the bits of a float32 mantissa are cleared, so that the file is a fraction of the size."""
    bits = values.to_numpy(np.float32).view(np.uint32) & np.uint32(0xFFFFF000)
    return pd.Series(bits.view(np.float32), index=values.index)


def _imbalance(values: np.ndarray, wanted: np.ndarray, near: np.ndarray) -> float:
    """Standardised mean difference of pivot tokens and their matched tokens."""
    return float((values[wanted] - values[near].mean(1)).mean() / (values[wanted].std() + 1e-9)) if len(wanted) else 0.0
