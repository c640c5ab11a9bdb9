"""From a corpus to its pivot words and to documents that are rich in them (He et al. 2025; method §6).

Words are nodes, and two words are linked if they occur in the same document; the counts are exact (:func:`centrality`). Two sets of
pivots are read off the graph (:func:`pivot_words`):

- *paper*: words that are linked with the most words, as the paper has it;
- *npmi*: words with the largest cross-lingual degree. A link counts if it joins two languages and the words are associated
  (normalised pointwise mutual information of at least ``min_npmi`` from at least ``min_both`` documents), with its NPMI as weight.
  Stop words, words of one source and words without letters are left out (:func:`eligible`).

A document's *pivot share* is the share of pivots among its distinct words, so that a word that is repeated counts once. Shares of short
documents vary more than those of long ones; :func:`by_length` sets a document among those of its length.

Words that are to be tested are blind: they are neither nodes nor ends of links, and no document is better or worse for holding them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy import sparse

from .cooccurrence import list_shards, npmi
from .matching import Vocabulary
from .mixture import TokenCorpus
from .progress import progress
from .task import LANGUAGES
from .words import WordIndex

__all__ = ["GraphSettings", "read_documents_table", "token_counts", "blind_words", "source_share", "eligible", "centrality", "pivot_words", "linked_words"]
__all__ += ["placebo_words", "pivot_share", "by_length", "near_duplicates", "word_pos"]

BLOCK = 2048  # words whose links are held in memory at a time
CODES = tuple(LANGUAGES)


@dataclass(frozen=True)
class GraphSettings:
    """What counts as a link and as a pivot.

    Attributes:
        n_pivots: words in each set of pivots; for *npmi* the same number of every language.
        min_both: documents two words must share to be linked.
        min_npmi: least NPMI of a cross-lingual link.
        min_docs: documents a pivot of *npmi* must stand in.
        max_share: a word in a larger share of its language's documents is a stop word.
        max_source_share: a word with a larger share of its documents from one source is that source's boilerplate (where there are several sources).
    """

    n_pivots: int = 4000
    min_both: int = 5
    min_npmi: float = 0.2
    min_docs: int = 20
    max_share: float = 0.05
    max_source_share: float = 0.6

    def __post_init__(self):
        for name in ("n_pivots", "min_both", "min_docs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")


# --- documents --------------------------------------------------------------------------------------------------------


def read_documents_table(folder: Path | Sequence[Path]) -> pd.DataFrame:
    """Facts of every document but its text, in the order of shards and documents.

    Returns:
        doc_id, source, license (empty where the corpus has none), langs (its languages, as `en+fr`) and n_chars.

    Raises:
        ValueError: if a document id occurs twice.
    """
    parts = []
    for path in list_shards(folder):
        table = pq.read_table(path)
        segments = table.column("segments").combine_chunks()
        langs, parents = pc.struct_field(pc.list_flatten(segments), "lang").to_numpy(zero_copy_only=False), pc.list_parent_indices(segments).to_numpy()
        has = np.zeros((len(table), len(CODES)), bool)
        for i, la in enumerate(CODES):
            has[parents[langs == la], i] = True
        keys, inverse = np.unique(has @ (1 << np.arange(len(CODES))), return_inverse=True)
        names = np.array(["+".join(la for i, la in enumerate(CODES) if key >> i & 1) for key in keys] or [""])
        columns = {c: table.column(c).to_pandas() if c in table.column_names else "" for c in ("doc_id", "source", "license")}
        parts.append(pd.DataFrame(columns | {"langs": names[inverse], "n_chars": pc.utf8_length(table.column("text").cast(pa.large_string())).to_numpy()}))
    documents = pd.concat(parts, ignore_index=True)
    if (twice := documents.doc_id.duplicated()).any():
        raise ValueError(f"{int(twice.sum())} documents have the id of an earlier one, the first is {documents.doc_id[twice].iloc[0]!r}")
    return documents.fillna({"source": "", "license": ""})


def token_counts(tokens: TokenCorpus) -> np.ndarray:
    """Tokens of each document by language, int64 [document × language]."""
    owner = np.repeat(np.arange(len(tokens)), np.diff(tokens.document_start))
    key = owner * len(CODES) + tokens.segment_lang
    return np.bincount(key, np.diff(tokens.segment_start), len(tokens) * len(CODES)).astype(np.int64).reshape(-1, len(CODES))


# --- the graph --------------------------------------------------------------------------------------------------------


def blind_words(index: WordIndex, forms: Vocabulary) -> np.ndarray:
    """Columns that are a form of one of the vocabulary's words, in its language; bool [word]."""
    known = {(la, form) for la, concepts in zip(forms.languages, forms.forms) for words in concepts for form in words}
    return np.fromiter((key in known for key in zip(index.langs, index.words)), bool, len(index.words))


def source_share(index: WordIndex, source: np.ndarray) -> np.ndarray:
    """Share of a word's documents that come from its most common source, [word]."""
    codes, names = pd.factorize(np.asarray(source))
    places = sparse.csr_array((np.ones(len(codes), np.int32), (codes, np.arange(len(codes)))), shape=(len(names), len(codes)))
    by_source = places @ index.incidence.astype(np.int32)
    return by_source.max(axis=0).toarray().ravel() / np.maximum(1, index.n_docs)


def eligible(index: WordIndex, source: np.ndarray, settings: GraphSettings) -> np.ndarray:
    """Words that may be pivots of *npmi*: the rules for stop words, boilerplate and what is no word; bool [word].

    A word stands in at least ``min_docs`` documents, in at most ``max_share`` of those that hold its language, has at most
    ``max_source_share`` of its documents from one source, no digit, and in a spaced script at least three letters.
    """
    langs, matrix = np.array(index.langs), index.incidence
    lengths = np.array([len(w) if la in ("en", "fr") else 3 for la, w in zip(index.langs, index.words)])
    plain = np.fromiter((w.isalpha() for w in index.words), bool, len(index.words)) & (lengths >= 3)
    share = np.ones(len(langs))
    for la in CODES:
        own = np.flatnonzero(langs == la)
        if len(own):
            share[own] = index.n_docs[own] / max(1, np.count_nonzero(np.diff(matrix[:, own].indptr)))
    good = plain & (index.n_docs >= settings.min_docs) & (share <= settings.max_share)
    return good & (source_share(index, source) <= settings.max_source_share) if len(set(source)) > 1 else good


def centrality(index: WordIndex, settings: GraphSettings, blind: np.ndarray, may: np.ndarray) -> pd.DataFrame:
    """Degrees of all words in the co-occurrence graph.

    Args:
        blind: words that are no part of the graph, bool [word].
        may: words that may be ends of a cross-lingual link (:func:`eligible`), bool [word].

    Returns:
        word, lang, n_docs, degree (words it is linked with), cross_degree (words of other languages it is linked and associated
        with), strength (sum of the NPMI of those links), n_langs (other languages among them); in the order of the columns.
    """
    n, n_docs = len(index.words), index.n_docs
    langs = np.array([CODES.index(la) for la in index.langs], np.int8)
    same = pd.factorize(np.array(index.words))[0]  # "linux" in French text is no translation of "linux" in English text
    may = may & ~blind
    kept = np.flatnonzero(~blind)
    matrix = index.incidence[:, kept].astype(np.int32)
    transposed = matrix.T.tocsr()
    degree, cross, strength, seen = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n), np.zeros((n, len(CODES)), bool)
    for start in progress(range(0, len(kept), BLOCK), "linking words"):
        part = transposed[start : start + BLOCK] @ matrix
        rows = kept[start + np.repeat(np.arange(part.shape[0]), np.diff(part.indptr))]
        linked = part.data >= settings.min_both
        rows, columns, both = rows[linked], kept[part.indices[linked]], part.data[linked]
        degree += np.bincount(rows[rows != columns], minlength=n)
        across = (langs[rows] != langs[columns]) & may[rows] & may[columns] & (same[rows] != same[columns])
        rows, columns, both = rows[across], columns[across], both[across]
        weight = npmi(n_docs[rows], n_docs[columns], both, len(index.doc_ids))
        close = weight >= settings.min_npmi
        rows, columns, weight = rows[close], columns[close], weight[close]
        cross += np.bincount(rows, minlength=n)
        strength += np.bincount(rows, weight, minlength=n)
        seen[rows, langs[columns]] = True
    return pd.DataFrame(
        {"word": index.words, "lang": index.langs, "n_docs": n_docs, "degree": degree, "cross_degree": cross, "strength": strength, "n_langs": seen.sum(1)}
    )


def pivot_words(table: pd.DataFrame, kind: str, n_pivots: int, langs: Sequence[str] = CODES) -> np.ndarray:
    """The pivot set, bool [word].

    Args:
        table: of :func:`centrality`.
        kind: `paper` (largest degree, whatever the language) or `npmi` (largest cross-lingual strength, as many words of every language,
            linked with at least two other languages where the graph has three).
        langs: languages the pivots may be of.

    Raises:
        ValueError: for an unknown kind, or if no word has a link.
    """
    if kind not in ("paper", "npmi"):
        raise ValueError(f"unknown kind of pivots {kind!r}; known: paper, npmi")
    value = (table.degree if kind == "paper" else table.strength).to_numpy(float)
    if kind == "npmi" and table.lang[value > 0].nunique() > 2:
        value = np.where(table.n_langs >= 2, value, 0)
    value = np.where(table.lang.isin(list(langs)), value, 0)
    chosen = np.zeros(len(table), bool)
    groups = [np.arange(len(table))] if kind == "paper" else list(table.groupby("lang").indices.values())
    for rows in groups:
        order = rows[np.argsort(-value[rows], kind="stable")][: n_pivots // len(groups) if kind == "npmi" else n_pivots]
        chosen[order[value[order] > 0]] = True
    if not chosen.any():
        raise ValueError(f"no word has a link {'to a word of another language' if kind == 'npmi' else ''} in this corpus, so there are no pivots")
    return chosen


def placebo_words(table: pd.DataFrame, pivots: np.ndarray, may: np.ndarray, seed: int, nearest: int = 10) -> np.ndarray:
    """As many words that are no pivots, of the same languages and stand in about as many documents: the control for choosing by any words at all.

    For each pivot, in random order, one of the ``nearest`` words that are left is drawn, by the ratio of documents.

    Args:
        table: of :func:`centrality`.
        pivots: the pivot set, bool [word].
        may: words that could have been pivots but for their links (:func:`eligible`, and not blind), bool [word].

    Returns:
        bool [word].

    Raises:
        ValueError: if a language has fewer such words than pivots.
    """
    random, chosen, frequency = np.random.default_rng(seed), np.zeros(len(table), bool), np.log(np.maximum(1, table.n_docs.to_numpy(float)))
    for la, rows in table.groupby("lang").indices.items():
        own, left = rows[pivots[rows]], rows[may[rows] & ~pivots[rows]]
        if len(left) < len(own):
            raise ValueError(f"{la}: only {len(left)} words can stand in for {len(own)} pivots")
        for pivot in random.permutation(own):
            apart = np.abs(frequency[left] - frequency[pivot])
            pick = random.choice(np.argpartition(apart, min(nearest, len(left)) - 1)[:nearest])
            chosen[left[pick]] = True
            left = np.delete(left, pick)
    return chosen


def linked_words(index: WordIndex, column: int, settings: GraphSettings, may: np.ndarray, n: int = 3) -> dict[str, list[str]]:
    """The words of each other language that a word is most strongly linked with, for examples."""
    both = np.asarray((index.by_word[:, [column]].T.astype(np.int32) @ index.incidence.astype(np.int32)).todense()).ravel()
    weight = npmi(index.n_docs[column], index.n_docs, both, len(index.doc_ids))
    langs = np.array(index.langs)
    weight[(both < settings.min_both) | ~may | np.isnan(weight)] = -1
    found = {}
    for la in CODES:
        own = np.flatnonzero((langs == la) & (weight >= settings.min_npmi))
        if la != index.langs[column]:
            found[la] = [index.words[i] for i in own[np.argsort(-weight[own], kind="stable")[:n]]]
    return found


def word_pos(table: pd.DataFrame, forms: Vocabulary, lexicon: pd.DataFrame) -> np.ndarray:
    """Part of speech of each word where the lexicon knows it ("n", "v", "a"; several are joined by a slash), else ""."""
    known: dict[tuple[str, str], set[str]] = {}
    pos = lexicon.pos.to_dict()
    for la, concepts in zip(forms.languages, forms.forms):
        for concept, words in zip(forms.concept_ids, concepts):
            for form in words:
                known.setdefault((la, form), set()).add(pos[concept])
    return np.array(["/".join(sorted(known.get(key, ()))) for key in zip(table.lang, table.word)], dtype=object)


# --- documents by their words -----------------------------------------------------------------------------------------


def pivot_share(index: WordIndex, pivots: np.ndarray, blind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of pivots among each document's distinct words that are not blind, and how many such words it has.

    Returns:
        share [document], nan where there is no such word; count, int64 [document].
    """
    count = index.incidence.astype(np.int64) @ (~blind).astype(np.int64)
    with np.errstate(invalid="ignore"):
        return (index.incidence.astype(np.int64) @ (pivots & ~blind).astype(np.int64)) / np.where(count, count, np.nan), count


def by_length(share: np.ndarray, count: np.ndarray, pool: np.ndarray, per_octave: int = 2) -> np.ndarray:
    """A document's share as standard deviations from the mean of the pool's documents of its length.

    Args:
        share: of :func:`pivot_share`.
        count: distinct words of each document.
        pool: documents that are compared, bool [document].
        per_octave: classes of length between a number of words and twice as many.
    """
    bins = np.floor(per_octave * np.log2(np.maximum(1, count))).astype(int)
    table = pd.DataFrame({"bin": bins, "share": share})
    known = table[pool & np.isfinite(share)].groupby("bin").share.agg(["mean", "std"])
    mean, sd = table.bin.map(known["mean"]).to_numpy(float), table.bin.map(known["std"]).to_numpy(float)
    z = (share - mean) / np.where(sd > 0, sd, np.inf)
    return np.where(np.isfinite(z), z, -np.inf)


def near_duplicates(incidence: sparse.csr_array, threshold: float = 0.8, n_bands: int = 8, seed: int = 0) -> np.ndarray:
    """For each document the row of an earlier one whose set of words is nearly the same, or -1.

    Min-hashes of the documents' words are compared band by band (four hashes each); a document that shares a band with an earlier one is a duplicate if
    the Jaccard similarity of their sets of words, computed exactly, reaches the threshold. Documents without words are none.
    """
    n, width = incidence.shape
    filled = np.flatnonzero(np.diff(incidence.indptr))
    twin = np.full(n, -1)
    if not len(filled):
        return twin
    random, starts, sizes = np.random.default_rng(seed), incidence.indptr[filled], np.diff(incidence.indptr)
    binary = incidence.astype(np.int32)
    for _ in range(n_bands):
        key = np.zeros(len(filled), np.uint64)
        for _ in range(4):
            hashes = random.permutation(width).astype(np.uint64)
            key = key * np.uint64(0x9E3779B97F4A7C15) + np.minimum.reduceat(hashes[incidence.indices], starts)
        _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        earlier = filled[first[inverse]]
        ask = np.flatnonzero((earlier != filled) & (twin[filled] < 0))
        for part in np.array_split(ask, max(1, len(ask) // 20000)):
            a, b = filled[part], earlier[part]
            common = np.asarray(binary[a].multiply(binary[b]).sum(axis=1)).ravel()
            alike = common >= threshold * (sizes[a] + sizes[b] - common)
            twin[a[alike]] = b[alike]
    return twin
