"""Spans to compare a pivot span with: as large, as frequent, as long, of the same script, and as near to the target.

Taking anything out of a state that points at the target takes a part of the target out. A control that points elsewhere is
therefore no control. Four kinds stand beside the pivots:

``matched``
    real tokens, one for each pivot token: of the same script, alike in corpus frequency, rank in the vocabulary, length of the direction,
    cosine to the target's direction, and cosine to the tokens of the span that were chosen before it.
``transplanted``
    built directions with exactly the pivots' cosines to the target and among themselves, but with what is left beside the target
    taken from tokens of other concepts. They are no tokens of the vocabulary.
``equal removal``
    built in the same way, but with exactly the pivots' products also with the item's states: what they take out of each of them is as long
    as what the pivots take out, and differs in its content alone. A state that holds the pivot loses less along any other direction, so
    without this control a greater loss may say no more than that more was taken.
``shuffled``
    another concept's pivots as they are, not matched on the cosine: the usual control.
"""

from __future__ import annotations

import functools
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from .interventions import spans, token_directions
from .matching import fold
from .models import LanguageModel

__all__ = ["TokenFacts", "token_facts", "pivot_tokens", "match_tokens", "transplant", "describe", "balance"]

SHORTLIST = 96  # candidates for a token, of which those are chosen that also fit the other tokens of the span
FAMILY = 32  # and of candidates that begin like its first token
STEM = 4  # letters: tokens that begin alike are taken for forms or derivations of one word
# What a difference of one standard deviation counts: the cosine to the target is what matters most
WEIGHTS = {"frequency": 1.0, "rank": 0.5, "norm": 1.0, "cosine": 12.0, "mutual": 6.0}
TO_HIRAGANA = {code: code - 0x60 for code in range(0x30A1, 0x30F7)}


def _plain(text: str) -> str:
    """Text as it is compared, whatever its case, width or kana."""
    return fold(text).strip().translate(TO_HIRAGANA)


@functools.cache
def _kind(character: str) -> str:
    """First word of a character's name: what it is a letter of."""
    return unicodedata.name(character, "").split(" ")[0]


def _script(text: str) -> str:
    """`latin`, `han`, `kana`, or "" for what is no word of one of them."""
    found = set(map(_kind, text))
    if not text or not found <= {"LATIN", "CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}:
        return ""
    return "latin" if found == {"LATIN"} else "" if "LATIN" in found else "han" if "CJK" in found else "kana"


def _stems(text: str) -> set[str]:
    """What a word shares with its forms and derivations: its first letters, each of its Han characters, or its first two kana."""
    script = _script(text)
    if script == "han":
        return {c for c in text if _script(c) == "han"}
    return {text[: STEM if script == "latin" else 2]} if text else set()


@dataclass(frozen=True, eq=False)
class TokenFacts:
    """What the tokens of a model are matched on.

    Attributes:
        directions: unit vectors along which the lens reads each token, [vocabulary, d].
        norm: their lengths before scaling, [vocabulary].
        frequency: log(1 + count in a sample of the corpus), [vocabulary].
        rank: log(1 + id), [vocabulary]: vocabularies are listed by how early, and so how often, a token was merged.
        texts: text of each token as it is compared.
        classes: script and whether a space stands before; "" for a token that is no word.
    """

    directions: Tensor
    norm: np.ndarray
    frequency: np.ndarray
    rank: np.ndarray
    texts: list[str]
    classes: np.ndarray
    by_stem: dict[str, list[int]] = field(default_factory=dict, repr=False)

    @functools.cached_property
    def pools(self) -> dict[str, np.ndarray]:
        """Tokens of each class."""
        return {str(c): np.flatnonzero(self.classes == c) for c in np.unique(self.classes)}

    @functools.cached_property
    def scaled(self) -> np.ndarray:
        """Frequency, rank and norm in standard deviations of the tokens that are words, times the root of their weight, float32 [vocabulary, 3]."""
        words, columns = self.classes != "", []
        for name in ("frequency", "rank", "norm"):
            values = getattr(self, name)
            columns.append(values * np.sqrt(WEIGHTS[name]) / max(values[words].std(), 1e-9))
        return np.stack(columns, 1).astype(np.float32)

    def related(self, words: Iterable[str]) -> np.ndarray:
        """Ids of tokens that can belong to one of the words, a form or a derivation of it."""
        stems = set().union(*(_stems(_plain(w)) for w in words))
        return np.array(sorted({i for s in stems for i in self.by_stem.get(s, ())}), dtype=np.int64)


def token_facts(lm: LanguageModel, texts: Sequence[str]) -> TokenFacts:
    """Collect the facts of a model's tokens.

    Args:
        texts: a sample of the corpus, to count tokens in.
    """
    n = len(lm.unembedding)
    ids = np.concatenate([np.array(i, dtype=np.int64) for i in lm.tokenizer(list(texts), return_attention_mask=False)["input_ids"]] or [np.zeros(0, np.int64)])
    raw = lm.tokenizer.batch_decode([[i] for i in range(min(n, len(lm.tokenizer)))]) + [""] * max(0, n - len(lm.tokenizer))
    plain = [_plain(t) for t in raw]
    classes = np.array([f"{s}{' after space' * t.startswith(' ')}" if (s := _script(p)) else "" for t, p in zip(raw, plain)])
    by_stem = defaultdict(list)
    for i in np.flatnonzero(classes != ""):
        for stem in _stems(plain[i]):
            by_stem[stem].append(int(i))
    directions = token_directions(lm, range(n)).cpu()
    norm = directions.norm(dim=1)
    frequency = np.log1p(np.bincount(ids, minlength=n)[:n])
    return TokenFacts(directions / norm.clamp_min(1e-9)[:, None], norm.numpy(), frequency, np.log1p(np.arange(n)), plain, classes, dict(by_stem))


def pivot_tokens(facts: TokenFacts, ids: Iterable[int], not_of: Iterable[str], most: int, n_controls: int = 0) -> list[int]:
    """The tokens of a pivot set that may be taken out: words that are no word of the source or target language for the concept.

    A token is dropped where it is written as such a word, whatever the case, the width or the kana, or begins one with four letters (one
    character): what is taken out must not be the source or the target itself. So is one with few others of its class, as Chinese ones are where
    a vocabulary writes them in parts of characters: nothing could be matched with it.

    Args:
        not_of: all forms of the concept's words in the source and the target language.
        most: how many are kept, the first ones.
        n_controls: control spans that :func:`match_tokens` will be asked for.

    Returns:
        Token ids in the order given; empty where nothing is left (an item without pivots).
    """
    forms = {_plain(w) for w in not_of}
    kept = []
    for i in dict.fromkeys(int(i) for i in ids):
        text = facts.texts[i]
        fragment = STEM if _script(text) == "latin" else 1
        enough = facts.classes[i] and len(facts.pools[str(facts.classes[i])]) >= 4 * n_controls
        if enough and text not in forms and not (len(text) >= fragment and any(f.startswith(text) for f in forms)):
            kept.append(i)
    return kept[:most]


def match_tokens(facts: TokenFacts, pivots: Sequence[int], target: int, excluded: np.ndarray, n_controls: int, cosine: np.ndarray | None = None) -> np.ndarray:
    """Control tokens for one item's pivot tokens: ``matched`` spans.

    A span starts with one of the candidates nearest to the first pivot token; each further token is the candidate nearest to its own pivot
    token that also stands to the tokens before it as the pivot token stands to its own. Words that begin like the span's first token
    are candidates too, for pivots are often forms of one word. Of twice as many spans those are kept that are nearest in what
    the tokens make up together: the cosine of the span to the target, and of the tokens among themselves.

    Args:
        pivots: k token ids.
        target: the target's first token.
        excluded: ids that may not serve (forms of the concept's words in any language, and what derives from them).
        cosine: of all tokens to the target, [vocabulary]; worked out if not given, which costs more than all the rest.

    Returns:
        Token ids [n_controls, k]; column i is matched with pivot i.

    Raises:
        ValueError: if there are no pivots, or a class of tokens holds too few candidates.
    """
    if not len(pivots):
        raise ValueError(f"no pivot tokens to match for target token {target}")
    cosine = (facts.directions @ facts.directions[target]).numpy() if cosine is None else cosine
    spread = max(float(cosine[:: max(1, len(cosine) // 4096)].std()), 1e-9)
    taken = np.zeros(len(cosine), bool)
    taken[[*excluded, *pivots, target]] = True
    n = 2 * n_controls
    chosen = np.empty((n, 0), np.int64)
    for place, pivot in enumerate(pivots):
        pool = facts.pools[str(facts.classes[pivot])]
        pool = pool[~taken[pool]]
        if len(pool) < n + place:
            raise ValueError(f"token {facts.texts[pivot]!r}: only {len(pool)} tokens of its kind ({facts.classes[pivot]}) for {n_controls} controls")
        distance = np.full(len(cosine), np.inf, np.float32)
        apart = np.square(facts.scaled[pool] - facts.scaled[pivot]).sum(1) + WEIGHTS["cosine"] * np.square((cosine[pool] - cosine[pivot]) / spread)
        distance[pool] = apart
        nearest = np.argpartition(apart, min(max(n, SHORTLIST), len(pool)) - 1)[: max(n, SHORTLIST)]
        near = pool[nearest[np.argsort(apart[nearest], kind="stable")]]
        if not place:
            chosen = near[:n, None]
            continue
        family, front = _families(facts, chosen[:, 0]), near[:SHORTLIST]
        before = facts.directions[torch.from_numpy(chosen)]  # [n, place, d]
        # the shortlist is the same for all spans: one product, and no copies of its directions
        among = torch.cat(
            [before @ facts.directions[torch.from_numpy(front)].T, torch.einsum("cpd,csd->cps", before, facts.directions[torch.from_numpy(family)])], 2
        )
        among = among.transpose(1, 2).numpy()
        candidates = np.concatenate([np.broadcast_to(front, (n, len(front))), family], 1)
        wanted = (facts.directions[list(pivots[:place])] @ facts.directions[pivot]).numpy()
        total = distance[candidates] + WEIGHTS["mutual"] * (((among - wanted) / spread) ** 2).mean(2)
        total[(chosen[:, None, :] == candidates[:, :, None]).any(2)] = np.inf
        chosen = np.concatenate([chosen, np.take_along_axis(candidates, total.argmin(1)[:, None], 1)], 1)
    own, made = (describe(facts, ids, target) for ids in (np.array([pivots]), chosen))
    apart = ((made.span_cosine - own.span_cosine[0]) / spread) ** 2
    if len(pivots) > 1:
        apart += 0.25 * ((made.mutual_cosine - own.mutual_cosine[0]) / spread) ** 2
    return chosen[np.sort(np.argsort(apart.to_numpy(), kind="stable")[:n_controls])]


def _families(facts: TokenFacts, ids: np.ndarray) -> np.ndarray:
    """Tokens that begin like each of some tokens, [tokens, FAMILY]; padded with the token itself."""
    found = np.repeat(ids[:, None], FAMILY, 1)
    for row, i in enumerate(ids):
        own = [j for stem in _stems(facts.texts[i]) for j in facts.by_stem.get(stem, ())][:FAMILY]
        found[row, : len(own)] = own
    return found


def transplant(pivots: Tensor, kept: Tensor, donors: Tensor) -> Tensor:
    """Directions with the pivots' products among themselves and with some vectors, and the donors' content beside these vectors.

    Args:
        pivots: unit vectors [..., k, d].
        kept: vectors that the pivots and what is built have the same products with (the target's direction, states), [..., n, d].
        donors: directions that lend what lies beside ``kept``, [..., k, d], linearly independent there.

    Returns:
        [..., k, d]; their Gram matrix and their products with whatever ``kept`` spans are those of the pivots.

    Raises:
        ValueError: if the space has too few dimensions for k directions beside ``kept``.
    """
    k, n, d = pivots.shape[-2], kept.shape[-2], pivots.shape[-1]
    if n + k > d:
        raise ValueError(f"{k} directions beside {n} vectors that they keep to: a space of {d} dimensions has no room for them")
    pivots, donors = pivots.double(), donors.double()
    span = torch.linalg.qr(kept.double().transpose(-1, -2))[0]
    along, lent = (x @ span @ span.transpose(-1, -2) for x in (pivots, donors))
    basis, rest = torch.linalg.qr((donors - lent).transpose(-1, -2))[0], pivots - along
    size, vectors = torch.linalg.eigh(rest @ rest.transpose(-1, -2))
    root = vectors * size.clamp_min(0).sqrt()[..., None, :] @ vectors.transpose(-1, -2)
    return (along + root @ basis.transpose(-1, -2)).float()


def describe(facts: TokenFacts, ids: np.ndarray, target: int) -> pd.DataFrame:
    """What spans of tokens are matched on, a row a span: n_directions, frequency, token_rank, norm (means over the tokens), span_cosine, mutual_cosine.

    Args:
        ids: [spans, k].

    Returns:
        ``span_cosine`` is the cosine between the target's direction and the span: what share of its length projecting the span out would take.
    """
    held = facts.directions[torch.from_numpy(np.asarray(ids))]
    span_cosine = torch.einsum("cdk,d->ck", spans(held), facts.directions[target]).norm(dim=-1)
    k = held.shape[1]
    mutual = (torch.einsum("ckd,cld->c", held, held) - k) / max(k * (k - 1), 1)
    columns = {"n_directions": k, "frequency": facts.frequency[ids].mean(1), "token_rank": facts.rank[ids].mean(1), "norm": facts.norm[ids].mean(1)}
    return pd.DataFrame(columns | {"span_cosine": span_cosine.numpy(), "mutual_cosine": mutual.numpy() if k > 1 else np.nan})


def balance(described: pd.DataFrame) -> pd.DataFrame:
    """How alike pivots and controls are.

    Args:
        described: span, control (`own` for the pivots), item, the columns of :func:`describe` and, where it is known, how much of the state was `removed`.

    Returns:
        span, control, covariate, n (items), own, mean, difference (mean over items of control minus own) and smd (difference over the standard deviation of
        the pivots' values between items).
    """
    names = [c for c in ("n_directions", "frequency", "token_rank", "norm", "span_cosine", "mutual_cosine", "removed") if c in described]
    means = described.groupby(["span", "control", "item"])[names].mean()
    rows = []
    for span, part in means.groupby(level="span"):
        own = part.xs("own", level="control").droplevel("span")
        for control in part.index.unique("control").drop("own"):
            other = part.xs(control, level="control").droplevel("span")
            difference = other - own.loc[other.index]
            for name in names:
                spread = own[name].std()
                smd = difference[name].mean() / spread if spread > 0 else 0.0
                if n := int(difference[name].notna().sum()):  # not everything is known of what is built
                    rows.append((span, control, name, n, own[name].mean(), other[name].mean(), difference[name].mean(), smd))
    return pd.DataFrame(rows, columns=["span", "control", "covariate", "n", "own", "mean", "difference", "smd"])
