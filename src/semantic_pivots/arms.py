"""Which documents each arm reads: chosen from one pool, to one budget of tokens.

=============  =========================================================================================================
arm            documents
=============  =========================================================================================================
none           none: the base as it is
random         drawn from the whole pool
bilingual      drawn from the documents with two languages or more
direct         with the most translation pairs of the lexicon (test words aside) among documents of their length
pivot_paper    with the largest share of the paper's pivots
pivot_npmi     with the largest share of cross-lingual pivots among documents of their length
anti_pivot     with the smallest share of them
matched        drawn like `pivot_npmi` in languages, source and length, but not its documents
=============  =========================================================================================================

Variations, to find out why an arm does as it does: `pivot_mixed` (as pivot_npmi, of documents with two languages or more), `pivot_english`
(English pivots alone), `pivot_content` (pivots that are words of the lexicon), `pivot_sharp` (a quarter of the pivots), `pivot_soft` (drawn with a chance that
rises with the share), `pivot_placebo` (words that are no pivots, of the same languages and frequency, drawn anew for every seed). `matched_X` is drawn like
`pivot_X`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from .cooccurrence import list_shards, pair_counts, shard_incidence
from .matching import Matcher, Vocabulary
from .mixture import CODES
from .reconstruction import GraphSettings, by_length, pivot_share, pivot_words, placebo_words
from .words import WordIndex

__all__ = [
    "ARMS",
    "VARIATIONS",
    "meetings",
    "meeting_documents",
    "meeting_counts",
    "of_concepts",
    "document_scores",
    "placebo_scores",
    "take",
    "draw_matched",
    "select_arms",
    "composition",
    "overlap",
]
__all__ += ["pool_funnel"]

ARMS = ("none", "random", "matched", "matched_paper", "bilingual", "direct", "pivot_paper", "pivot_npmi", "anti_pivot")
VARIATIONS = ("pivot_mixed", "pivot_english", "pivot_content", "pivot_sharp", "pivot_soft", "pivot_placebo")
LOOK_AHEAD = 2000  # documents that are tried for the last tokens of a budget


def _matched_to(arm: str) -> str:
    """The pivot arm that a matched arm is drawn like (the inverse of ``comparison.matched_name``); other names as they are."""
    return "pivot_npmi" if arm == "matched" else arm.replace("matched_", "pivot_")


# --- words that meet --------------------------------------------------------------------------------------------------


def meetings(folder: Path | Sequence[Path], forms: Vocabulary, cache: Path | None = None) -> sparse.csc_array:
    """Which words of the lexicon, in any form, each document holds in segments of their language; bool [document × word] (:class:`.matching.Vocabulary`)."""
    matcher = Matcher(forms)
    return sparse.vstack([shard_incidence(p, matcher, True, cache).matrix for p in list_shards(folder)], format="csc")


def _pairs(forms: Vocabulary) -> list[tuple[int, int]]:
    return list(itertools.combinations(range(len(forms.languages)), 2))


def _block(forms: Vocabulary, language: int) -> slice:
    return slice(language * len(forms.concept_ids), (language + 1) * len(forms.concept_ids))


def meeting_counts(incidence: sparse.csc_array, forms: Vocabulary, rows: np.ndarray | None = None) -> pd.DataFrame:
    """In how many documents two words of a concept meet, exactly.

    Args:
        incidence: of :func:`meetings`.
        rows: the documents that count (all if not given).

    Returns:
        concept_id, first, second (languages), n_both; one row a concept and pair of languages.
    """
    part = incidence if rows is None else incidence[rows]
    parts = []
    for i, j in _pairs(forms):
        both = pair_counts(part, _block(forms, i), _block(forms, j))
        parts.append(pd.DataFrame({"concept_id": forms.concept_ids, "first": forms.languages[i], "second": forms.languages[j], "n_both": both}))
    return pd.concat(parts, ignore_index=True)


def meeting_documents(incidence: sparse.csc_array, forms: Vocabulary) -> np.ndarray:
    """In how many pairs of languages and concepts words meet in each document, int64 [document]."""
    total = np.zeros(incidence.shape[0], np.int64)
    for i, j in _pairs(forms):
        total += np.asarray(incidence[:, _block(forms, i)].astype(np.int32).multiply(incidence[:, _block(forms, j)]).sum(axis=1)).ravel()
    return total


def of_concepts(incidence: sparse.csc_array, forms: Vocabulary, concept_ids: Sequence[str]) -> tuple[sparse.csc_array, Vocabulary]:
    """The columns of some concepts, and their words."""
    place = {c: i for i, c in enumerate(forms.concept_ids)}
    kept = [place[c] for c in concept_ids]
    columns = np.concatenate([np.array(kept, np.int64) + k * len(place) for k in range(len(forms.languages))])
    return incidence[:, columns], Vocabulary(tuple(concept_ids), forms.languages, tuple(tuple(f[k] for k in kept) for f in forms.forms))


# --- scores -----------------------------------------------------------------------------------------------------------


def document_scores(
    index: WordIndex, table: pd.DataFrame, blind: np.ndarray, pool: np.ndarray, settings: GraphSettings, direct: np.ndarray, known: np.ndarray
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """How well each document suits each arm that ranks documents.

    Args:
        table: of :func:`.reconstruction.centrality`.
        pool: documents that can be chosen, bool [document].
        direct: of :func:`meeting_documents`, of the concepts that are not blind.
        known: words of the lexicon, bool [word].

    Returns:
        A column an arm (larger is better), n_words (distinct words), share_paper and share_npmi; and the pivot sets by name.
    """
    sets = {kind: pivot_words(table, kind, settings.n_pivots) for kind in ("paper", "npmi")}
    sets["sharp"] = pivot_words(table, "npmi", max(4, settings.n_pivots // 4))
    sets["english"] = pivot_words(table, "npmi", settings.n_pivots, ("en",))
    sets["content"] = pivot_words(table.assign(strength=table.strength.where(known, 0)), "npmi", settings.n_pivots)
    scores, shares = pd.DataFrame(index=range(len(index.doc_ids))), {}
    for name, pivots in sets.items():
        shares[name], count = pivot_share(index, pivots, blind)
        scores[f"pivot_{name}"] = by_length(shares[name], count, pool)
    scores["pivot_paper"] = np.nan_to_num(shares["paper"], nan=-np.inf)  # as the paper has it: the share itself
    scores["pivot_mixed"] = scores["pivot_npmi"]
    scores["pivot_soft"] = scores["pivot_npmi"]
    scores["anti_pivot"] = np.where(np.isfinite(scores.pivot_npmi), -scores.pivot_npmi, -np.inf)
    scores["direct"] = by_length(direct / np.maximum(1, count), count, pool & (direct > 0))
    scores.loc[direct == 0, "direct"] = -np.inf
    return scores.assign(n_words=count, share_paper=shares["paper"], share_npmi=shares["npmi"]), sets


def placebo_scores(
    index: WordIndex, table: pd.DataFrame, pivots: np.ndarray, may: np.ndarray, blind: np.ndarray, pool: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """The scores of `pivot_placebo` for one seed, and the share of its words, as columns for :func:`document_scores`' table (:func:`.reconstruction.placebo_words`)."""
    share, count = pivot_share(index, placebo_words(table, pivots, may & ~blind, seed), blind)
    return {"pivot_placebo": by_length(share, count, pool), "share_placebo": share}


# --- arms -------------------------------------------------------------------------------------------------------------


def take(order: np.ndarray, n_tokens: np.ndarray, budget: int, name: str = "selection", loose: bool = False) -> np.ndarray:
    """The first documents of an order that make up a budget; the last tokens are filled with the next ones that fit.

    Args:
        order: rows, best first.
        n_tokens: tokens of every document.
        budget: tokens.
        name: named in the error.
        loose: give all there is where it does not reach.

    Raises:
        ValueError: if the documents do not make up the budget.
    """
    total = np.cumsum(n_tokens[order])
    if (have := int(total[-1]) if len(total) else 0) < budget:
        if loose:
            return order
        raise ValueError(f"{name}: a budget of {budget} tokens is more than the {have} tokens of the {len(order)} documents that can be chosen")
    cut = int(np.searchsorted(total, budget, side="right"))
    chosen, left = list(order[:cut]), budget - (int(total[cut - 1]) if cut else 0)
    for row in order[cut : cut + LOOK_AHEAD]:
        if n_tokens[row] <= left:
            chosen.append(row)
            left -= int(n_tokens[row])
    return np.array(chosen, np.int64)


def draw_matched(like: np.ndarray, documents: pd.DataFrame, pool: np.ndarray, budget: int, seed: int) -> np.ndarray:
    """Documents drawn at random, with the tokens that ``like`` has of each combination of languages, source and length.

    None of ``like`` is drawn. Where a combination has not enough others, the tokens come from other lengths, then from other sources of the
    same languages, then from anywhere.

    Args:
        like: rows of the arm to match.
        documents: langs, source, n_tokens; one row a document.
        pool: documents that can be chosen, bool [document].

    Raises:
        ValueError: if what is left of the pool does not make up the tokens of ``like``.
    """
    size = documents.n_tokens.to_numpy()
    length = np.floor(2 * np.log2(np.maximum(1, size))).astype(int)
    free = pool.copy()
    free[like] = False
    random, chosen = np.random.default_rng(seed), []
    for keys in (["langs", "source", "length"], ["langs", "source"], ["langs"], []):
        codes = documents[["langs", "source"]].assign(length=length).groupby(keys, sort=False).ngroup().to_numpy() if keys else np.zeros(len(size), int)
        wanted = np.bincount(codes[like], size[like], codes.max() + 1)
        if chosen:
            had = np.concatenate(chosen)
            wanted -= np.bincount(codes[had], size[had], codes.max() + 1)
        rows = np.flatnonzero(free & (wanted[codes] > 0))
        order = random.permutation(rows)
        order = order[np.argsort(codes[order], kind="stable")]
        for part in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
            if len(part):
                found = take(part, size, int(wanted[codes[part[0]]]), loose=True)
                chosen.append(found)
                free[found] = False
    drawn = np.concatenate(chosen) if chosen else np.zeros(0, np.int64)
    if (have := int(size[drawn].sum())) < 0.99 * (asked := int(size[like].sum())):
        raise ValueError(f"matched: only {have} tokens can be drawn beside the {asked} of the arm to match; take a smaller budget")
    return take(drawn, size, min(budget, have), "matched")


def select_arms(names: Sequence[str], documents: pd.DataFrame, scores: pd.DataFrame, pool: np.ndarray, budget: int, seed: int) -> dict[str, np.ndarray]:
    """Rows of each arm's documents, best or first drawn first.

    Args:
        names: arms (``ARMS``, ``VARIATIONS`` and ``matched_X`` of them); `none` has no documents and is left out.
        documents: langs, source, n_tokens; one row a document.
        scores: of :func:`document_scores`.
        pool: documents that can be chosen, bool [document].
        budget: tokens of every arm.

    Raises:
        ValueError: for an unknown arm, or if an arm cannot reach the budget.
    """
    size, mixed = documents.n_tokens.to_numpy(), documents.langs.str.contains("+", regex=False).to_numpy()
    chosen: dict[str, np.ndarray] = {}

    def select(name: str) -> np.ndarray:
        random = np.random.default_rng([seed, *name.encode()])
        if name in ("random", "bilingual"):
            return take(random.permutation(np.flatnonzero(pool & (mixed if name == "bilingual" else True))), size, budget, name)
        if (like := _matched_to(name)) != name:
            chosen[like] = chosen[like] if like in chosen else select(like)
            return draw_matched(chosen[like], documents, pool, budget, seed)
        if name not in scores:
            raise ValueError(f"unknown arm {name!r}; known: {', '.join((*ARMS, *VARIATIONS))} and matched_X for every pivot_X")
        value = scores[name].to_numpy()
        rows = np.flatnonzero(pool & np.isfinite(value) & (mixed if name == "pivot_mixed" else True))
        if name == "pivot_soft":  # Gumbel's trick: drawn without replacement, with weights exp(value)
            value = value + np.where(np.isfinite(value), random.gumbel(size=len(value)), 0)
        return take(rows[np.argsort(-value[rows], kind="stable")], size, budget, name)

    for name in names:
        if name != "none":
            chosen[name] = chosen[name] if name in chosen else select(name)
    return {name: chosen[name] for name in names if name != "none"}


def draw_arms(
    names: Sequence[str],
    documents: pd.DataFrame,
    scores: pd.DataFrame,
    pool: np.ndarray,
    budget: int,
    seed: int,
    n: int,
    placebo: Callable[[int], dict[str, np.ndarray]] | None = None,
) -> list[dict[str, np.ndarray]]:
    """:func:`select_arms` for every seed of training: arms that are drawn are drawn anew, so that a difference of arms holds the chance of the draw too.

    Args:
        placebo: :func:`placebo_scores` of a seed; asked only where an arm needs it.
    """
    asked = placebo is not None and any(_matched_to(name) == "pivot_placebo" for name in names)
    return [select_arms(names, documents, scores.assign(**placebo(seed + i)) if asked else scores, pool, budget, seed + i) for i in range(n)]


# --- what they share --------------------------------------------------------------------------------------------------


def pool_funnel(conditions: Sequence[tuple[str, np.ndarray]], n_tokens: np.ndarray) -> tuple[np.ndarray, pd.DataFrame]:
    """The documents that meet all conditions, and how many documents and tokens are left after each.

    Returns:
        bool [document]; condition, documents, tokens.
    """
    left = np.ones(len(n_tokens), bool)
    rows = [("all", len(left), int(n_tokens.sum()))]
    for name, good in conditions:
        left = left & good
        rows.append((name, int(left.sum()), int(n_tokens[left].sum())))
    return left, pd.DataFrame(rows, columns=["condition", "documents", "tokens"])


def composition(arms: dict[str, np.ndarray], documents: pd.DataFrame, by_lang: np.ndarray, scores: pd.DataFrame) -> pd.DataFrame:
    """What the arms are made of.

    Args:
        by_lang: tokens of each document by language, [document × language].

    Returns:
        arm, documents, tokens, tokens_median, share_en … share_ja (of tokens), share_mixed (tokens in documents of several languages), n_sources, top_source,
        top_source_share, pivots_paper and pivots_npmi (mean share among a document's words; pivots_placebo too where ``scores`` has it).
    """
    rows = []
    for name, chosen in arms.items():
        part, size = documents.iloc[chosen], documents.n_tokens.to_numpy()[chosen]
        total, sources = size.sum(), part.groupby("source").n_tokens.sum()
        langs = by_lang[chosen].sum(0) / max(1, by_lang[chosen].sum())
        rows.append(
            {"arm": name, "documents": len(chosen), "tokens": int(total), "tokens_median": float(np.median(size))}
            | {f"share_{la}": share for la, share in zip(CODES, langs)}
            | {"share_mixed": size[part.langs.str.contains("+", regex=False)].sum() / total, "n_sources": len(sources)}
            | {"top_source": sources.idxmax(), "top_source_share": sources.max() / total}
            | {f"pivots_{k}": float(np.nanmean(scores[f"share_{k}"].to_numpy()[chosen])) for k in ("paper", "npmi", "placebo") if f"share_{k}" in scores}
        )
    return pd.DataFrame(rows)


def overlap(arms: dict[str, np.ndarray], n_tokens: np.ndarray) -> pd.DataFrame:
    """Share of an arm's tokens (row) that another arm (column) also holds."""
    sets = {name: set(rows.tolist()) for name, rows in arms.items()}
    value = [[n_tokens[list(a & b)].sum() / max(1, n_tokens[list(a)].sum()) for b in sets.values()] for a in sets.values()]
    return pd.DataFrame(value, index=list(sets), columns=list(sets))


def match_distances(arms: dict[str, np.ndarray], documents: pd.DataFrame) -> pd.DataFrame:
    """How far each matched arm is from the one it matches.

    Args:
        documents: langs, source, n_tokens; one row a document.

    Returns:
        arm, like, and for langs, source and length (in classes of a factor √2) the total variation distance of the shares of tokens, from 0 to 1.
    """
    facts = documents[["langs", "source"]].assign(length=np.floor(2 * np.log2(documents.n_tokens.clip(lower=1))).astype(int))
    rows = []
    for name in arms:
        like = _matched_to(name)
        if like == name or like not in arms:
            continue
        row = {"arm": name, "like": like}
        for column in facts:
            shares = [documents.n_tokens.iloc[r].groupby(facts[column].iloc[r]).sum() for r in (arms[name], arms[like])]
            a, b = pd.concat(shares, axis=1, keys=["a", "b"]).fillna(0).pipe(lambda t: t / t.sum()).to_numpy().T
            row[column] = float(np.abs(a - b).sum() / 2)
        rows.append(row)
    return pd.DataFrame(rows, columns=["arm", "like", "langs", "source", "length"])
