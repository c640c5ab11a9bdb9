"""Control sets of tokens: for every token others like it in script, corpus frequency and unembedding norm.

What a layer gives to the pivots of a concept is compared with what it gives to such sets, which stand for no word of the concept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from .matching import fold
from .models import LanguageModel
from .spellings import is_han, unspaced
from .words import WordIndex

__all__ = ["TokenFacts", "token_facts", "matchable", "matched_tokens", "draw_controls"]


@dataclass(frozen=True)
class TokenFacts:
    """What tokens are matched on, one entry a token of the vocabulary.

    Attributes:
        script: class of writing: Latin with and without a space before it, Han, kana, other; −1 for tokens that cannot start a word.
        log_frequency: log1p of the documents of all corpus words that begin with the token.
        norm: length of its unembedding row.
    """

    script: np.ndarray
    log_frequency: np.ndarray
    norm: np.ndarray


def token_facts(lm: LanguageModel, index: WordIndex) -> TokenFacts:
    """Facts of every token of the vocabulary."""
    n = len(lm.unembedding)
    order = np.argsort(np.array(index.words, dtype=str), kind="stable")
    words = np.array(index.words, dtype=str)[order]
    total = np.concatenate([[0], np.cumsum(index.n_docs[order])])
    names = [t.replace("▁", " ").replace("Ġ", " ") if isinstance(t, str) else "" for t in lm.tokenizer.convert_ids_to_tokens(range(min(n, len(lm.tokenizer))))]
    texts = [fold(t) if t.isascii() else fold(lm.tokenizer.decode([i])) for i, t in enumerate(names)]
    pieces = np.array([t.strip() for t in texts] + [""] * (n - len(texts)), dtype=str)
    low, high = np.searchsorted(words, pieces), np.searchsorted(words, np.char.add(pieces, "\U0010ffff"))
    script = np.array([_script(p, t.startswith(" ")) for p, t in zip(pieces.tolist(), texts + [""] * (n - len(texts)))])
    norm = lm.unembedding.float().norm(dim=1).cpu().numpy()
    return TokenFacts(script, np.log1p(total[high] - total[low]), norm)


def _script(piece: str, spaced: bool) -> int:
    if not piece.isalnum():
        return -1
    if any(map(is_han, piece)):
        return 2
    return 3 if unspaced(piece) else 4 if not piece[0].isalpha() else int(spaced)


def matchable(facts: TokenFacts, n_neighbors: int) -> np.ndarray:
    """Which tokens of the vocabulary have enough others of their script to be matched: where a vocabulary writes a script in parts of characters, few are whole."""
    scripts, counts = np.unique(facts.script[facts.log_frequency > 0], return_counts=True)
    return np.isin(facts.script, scripts[counts > n_neighbors])


def matched_tokens(facts: TokenFacts, wanted: Sequence[int], n_neighbors: int, pool_size: int, seed: int) -> np.ndarray:
    """For each token its nearest others in frequency and norm within its script, nearest first, int64 [wanted, n_neighbors].

    Args:
        wanted: token ids.
        pool_size: tokens of each script that can be controls, drawn at random; bounds the logits that are needed.

    Raises:
        ValueError: if a script has too few other tokens.
    """
    wanted, random = np.asarray(wanted, np.int64), np.random.default_rng(seed)
    result = np.empty((len(wanted), n_neighbors), np.int64)
    for script in np.unique(facts.script[wanted]):
        rows = np.flatnonzero(facts.script[wanted] == script)
        pool = np.flatnonzero((facts.script == script) & (facts.log_frequency > 0))
        pool = np.sort(random.permutation(pool)[:pool_size])
        if len(pool) <= n_neighbors:
            raise ValueError(f"{len(pool)} tokens can be controls of {len(rows)} tokens of the same script; {n_neighbors + 1} are needed")
        features = np.column_stack([facts.log_frequency, facts.norm])
        scale = features[wanted[rows]].std(0) + 1e-9
        _, near = cKDTree(features[pool] / scale).query(features[wanted[rows]] / scale, k=n_neighbors + 1)
        own = pool[near] == wanted[rows, None]
        own[~own.any(1), -1] = True  # of those that are not in the pool, the farthest goes
        result[rows] = pool[near][~own].reshape(len(rows), n_neighbors)
    return result


def draw_controls(neighbors: np.ndarray, excluded: Iterable[int], n_sets: int, random: np.random.Generator) -> np.ndarray:
    """Control sets of one concept: for each pivot token one of its neighbors, no token twice in a set as far as the neighbors go.

    Args:
        neighbors: [tokens, k].
        excluded: tokens that stand for a word of the concept; never drawn where a token has other neighbors.

    Returns:
        Token ids, int64 [n_sets, tokens].
    """
    allowed = ~np.isin(neighbors, np.fromiter(excluded, np.int64))
    allowed[~allowed.any(1)] = True
    ordered = np.take_along_axis(neighbors, np.argsort(~allowed, axis=1, kind="stable"), 1)
    n_allowed, every = allowed.sum(1), np.arange(len(neighbors))
    drawn = ordered[every, (random.random((n_sets, len(neighbors))) * n_allowed).astype(int)]
    for _ in range(8):  # those that a set already has are drawn again
        order = np.argsort(drawn, axis=1, kind="stable")
        sorted_ = np.take_along_axis(drawn, order, 1)
        rows, places = np.nonzero(np.diff(sorted_, axis=1) == 0)
        if not len(rows):
            break
        columns = order[rows, places + 1]
        drawn[rows, columns] = ordered[columns, (random.random(len(rows)) * n_allowed[columns]).astype(int)]
    return drawn
