"""Pivots in the documents: words that stand with the source word and with the target word (He et al. 2025, §5).

The paper takes the documents of each of the two words, counts in how many of them every token occurs, subtracts how common the
token is anywhere, and ranks tokens by the smaller of the two differences. Here words take the place of tokens, the two words of
a concept count as whole words in text of their language (:mod:`.matching`), and no document is left out. With df(z, w) the
documents that hold both z and w, n(w) those that hold w, and N all documents:

- *paper:* min over w of df(z, w) / n(w) − df(z) / N.
- *ours:* min over w of NPMI(z, w) · df(z, w) / (df(z, w) + κ). NPMI does not grow with the frequency of z; the factor draws pairs
  that were seen a few times only towards 0, independence.

Forms of the two words are left out first. What is ranked is then tested for association with both words (:func:`thresholds`) and
typed (:func:`type_of`). Both measures are symmetric in the two words: a direction and its reverse have the same pivots.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from .cooccurrence import list_shards, npmi, shard_incidence
from .matching import Matcher, Vocabulary
from .progress import progress
from .spellings import Spellings, unspaced
from .task import LANGUAGES
from .words import WordIndex

__all__ = ["TYPES", "Settings", "word_documents", "draw_documented", "discover", "type_of", "mismatched", "thresholds", "keep", "coverage", "ranking_agreement"]

TYPES = (
    "English translation",
    "English associate",
    "third-language translation",
    "third-language associate",
    "source-language word",
    "target-language word",
    "number/symbol",
    "noise",
)
BATCH = 32  # concepts whose counts are held at a time
PAIRS = tuple(itertools.combinations(LANGUAGES, 2))


@dataclass(frozen=True)
class Settings:
    """How pivots are found.

    Attributes:
        top: candidates of each ranking.
        min_docs: documents that each of the two words must stand in.
        shrinkage: κ, documents; at df = κ half of the NPMI is left.
        max_false: share of the words found for mismatched pairs that may pass the association thresholds.
    """

    top: int = 50
    min_docs: int = 10
    shrinkage: float = 5.0
    max_false: float = 0.01

    def __post_init__(self):
        if self.top < 1 or self.min_docs < 1 or self.shrinkage < 0 or not 0 < self.max_false < 1:
            raise ValueError(f"{self}: top and min_docs must be at least 1, shrinkage at least 0, max_false between 0 and 1")


# --- counting ---------------------------------------------------------------------------------------------------------


def word_documents(folder: Path | Sequence[Path], vocabulary: Vocabulary, cache: Path | None = None) -> sparse.csc_array:
    """Which of a vocabulary's words stand in which documents, each in text of its own language, bool [document × word].

    Rows are in the order of :func:`.words.index_corpus`.
    """
    matcher = Matcher(vocabulary)
    parts = [shard_incidence(path, matcher, True, cache).matrix for path in progress(list_shards(folder), "finding the lexicon's words")]
    return sparse.vstack(parts, format="csr").tocsc()


def draw_documented(
    lexicon: pd.DataFrame, documents: sparse.csc_array, vocabulary: Vocabulary, first: Sequence[str], n: int, min_docs: int, seed: int
) -> list[str]:
    """Concepts whose words of all languages stand in enough documents: those of ``first``, then others of the `test` split at random.

    Returns:
        At most ``n`` concept ids; fewer if there are no more.
    """
    enough = (np.diff(documents.indptr).reshape(len(vocabulary.languages), -1) >= min_docs).all(0)
    documented = {c for c, e in zip(vocabulary.concept_ids, enough) if e}
    others = lexicon[(lexicon.split == "test") & lexicon.bijective & ~lexicon.concept_id.isin(list(first))].concept_id
    order = [*first, *others.iloc[np.random.default_rng(seed).permutation(len(others))]]
    return [c for c in order if c in documented][:n]


@dataclass(frozen=True)
class _Corpus:
    """What :func:`discover` reads: all words, and the documents of the concepts' words."""

    index: WordIndex
    documents: sparse.csc_array
    vocabulary: Vocabulary

    @cached_property
    def candidate(self) -> np.ndarray:
        """Columns of the index that may be pivots: in Chinese and Japanese text, Latin words are names and commands, not words of the language."""
        return np.array([la in ("en", "fr") or not w.isascii() or w.isdigit() for la, w in zip(self.index.langs, self.index.words)])

    def counts(self, concepts: Sequence[str]) -> Iterator[tuple[str, dict, dict]]:
        """For each concept: documents of its words and, by language or pair of languages, documents that hold them and each word of the index.

        Yields:
            concept; n: language or pair -> documents that hold its word, or both; joint: the same -> int64 [word of the index].
        """
        for start in range(0, len(concepts), BATCH):
            batch = concepts[start : start + BATCH]
            columns = {la: self.documents[:, [self.vocabulary.column(c, la) for c in batch]] for la in LANGUAGES}
            columns |= {pair: columns[pair[0]].multiply(columns[pair[1]]).tocsc() for pair in PAIRS}
            held = {key: (matrix.astype(np.int32).T.tocsr() @ self.index.incidence).tocsr() for key, matrix in columns.items()}
            for row, concept in enumerate(batch):
                n = {key: int(matrix.indptr[row + 1] - matrix.indptr[row]) for key, matrix in columns.items()}
                yield concept, n, {key: matrix[[row]].toarray()[0].astype(np.int64) for key, matrix in held.items()}


def discover(
    index: WordIndex, documents: sparse.csc_array, vocabulary: Vocabulary, forms: Vocabulary, spellings: Spellings, settings: Settings = Settings()
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Candidates of every concept and pair of languages, by both rankings.

    Args:
        index: all words of the corpus.
        documents: documents of the concepts' words (:func:`word_documents`).
        vocabulary: the concepts and their main words.
        forms: all forms of their accepted translations (``matching.read_forms``), the same concepts.
        spellings: of the index's words.

    Returns:
        Candidates, one row a concept, unordered pair of languages (lang_a, lang_b; word_a, word_b) and word that is in the top of either ranking:
        pivot, lang (its language), column (in the index), df_a, df_b, df_both (documents with the pivot and word a, word b, both),
        df_background, npmi_a, npmi_b, corrected (the paper's measure), association (ours), lift, apart_a, apart_b (shrunk NPMI where documents that
        hold both words are left out), rank_paper, rank_ours (from 1; null beyond the top), translation (an accepted word of the concept, in any form).
        Words (one row a concept and pair): n_a, n_b, n_both, n_candidates (words that stand with both, forms left out), n_forms (left
        out), enough (whether both words have the documents).

    Raises:
        ValueError: if index and documents are not of the same documents, or the vocabularies have other concepts.
    """
    if documents.shape[0] != len(index.doc_ids):
        raise ValueError(f"the index has {len(index.doc_ids)} documents, the concepts' words were sought in {documents.shape[0]}")
    if forms.concept_ids != vocabulary.concept_ids:
        raise ValueError("the vocabulary and the forms have different concepts")
    corpus, parts, words = _Corpus(index, documents, vocabulary), [], []
    concepts, strings, langs = list(vocabulary.concept_ids), np.array(index.words, object), np.array(index.langs, object)
    for number, (concept, n, joint) in enumerate(progress(corpus.counts(concepts), "finding pivots", len(concepts))):
        own = {la: (*forms.forms[k][number], *vocabulary.forms[vocabulary.languages.index(la)][number]) for k, la in enumerate(forms.languages)}
        same = {la: spellings.same(own[la]) for la in LANGUAGES}
        translation = np.concatenate([k[langs[k] == la] for la, k in ((la, spellings.equal(own[la])) for la in LANGUAGES)])
        for a, b in PAIRS:
            row = {"concept_id": concept, "lang_a": a, "lang_b": b, "n_a": n[a], "n_b": n[b], "n_both": n[a, b]}
            if min(n[a], n[b]) < settings.min_docs:
                words.append(row | {"n_candidates": 0, "n_forms": 0, "enough": False})
                continue
            together = (joint[a] > 0) & (joint[b] > 0) & corpus.candidate
            dropped = np.zeros(len(together), bool)
            dropped[same[a]] = dropped[same[b]] = True
            chosen = np.flatnonzero(together & ~dropped)
            words.append(row | {"n_candidates": len(chosen), "n_forms": int((together & dropped).sum()), "enough": True})
            table = _measures(chosen, index, n, joint, (a, b), settings)
            ends = {f"word_{x}": vocabulary.forms[vocabulary.languages.index(la)][number][0] for x, la in zip("ab", (a, b))}
            parts.append(table.assign(concept_id=concept, lang_a=a, lang_b=b, translation=np.isin(table.column, translation), **ends))
    empty = _measures(np.empty(0, np.int64), index, dict.fromkeys([*LANGUAGES, *PAIRS], 1), defaultdict(lambda: np.zeros(len(index.words))), PAIRS[0], settings)
    table = pd.concat(parts or [empty.assign(concept_id="", lang_a="", lang_b="", translation=False, word_a="", word_b="")], ignore_index=True)
    return table.assign(pivot=strings[table.column], lang=langs[table.column]), pd.DataFrame(words)


def shrunk(values: np.ndarray, together: np.ndarray, shrinkage: float) -> np.ndarray:
    """NPMI drawn towards 0 where the two were seen together few times; never together counts as no association, 0."""
    together = np.asarray(together, float)
    return np.where(together > 0, np.nan_to_num(values), 0.0) * together / np.maximum(together + shrinkage, 1e-9)


def _measures(chosen: np.ndarray, index: WordIndex, n: dict, joint: dict, pair: tuple[str, str], settings: Settings) -> pd.DataFrame:
    """Both measures of the chosen words, those in the top of either."""
    n_docs, df, both = len(index.doc_ids), index.n_docs[chosen], joint[pair][chosen]
    table = pd.DataFrame({"column": chosen, "df_both": both, "df_background": df})
    corrected, association, lift = [], [], []
    for name, la in zip("ab", pair):
        with_word, apart = joint[la][chosen], joint[la][chosen] - both
        table[f"df_{name}"] = with_word
        table[f"npmi_{name}"] = npmi(n[la], df, with_word, n_docs)
        table[f"apart_{name}"] = shrunk(npmi(n[la] - n[pair], df - both, apart, n_docs - n[pair]), apart, settings.shrinkage)
        corrected.append(with_word / n[la] - df / n_docs)
        association.append(shrunk(table[f"npmi_{name}"], with_word, settings.shrinkage))
        lift.append(with_word / n[la] / (df / n_docs))
    table = table.assign(corrected=np.min(corrected, 0), association=np.min(association, 0), lift=np.min(lift, 0))
    for name, measure in (("rank_paper", "corrected"), ("rank_ours", "association")):
        # ties in the order of the index: by language, then word
        order = np.lexsort((table.column, -table[measure]))[: settings.top]
        order = order[table[measure].to_numpy()[order] > 0]
        table[name] = pd.Series(np.arange(1, len(order) + 1), index=order, dtype="Int32")
    return table[table.rank_paper.notna() | table.rank_ours.notna()]


# --- association and type ---------------------------------------------------------------------------------------------


def type_of(word: str, lang: str, pair: tuple[str, str], translation: bool) -> str:
    """Type of a word that passed the association thresholds (the others are noise).

    By order: no letter in it: `number/symbol`; a single letter: `noise`; of the source's or the target's language; of English or, elsewhere,
    a third language, and there an accepted translation of the concept (in any form) or an associate.
    """
    if not any(unicodedata.category(c)[0] == "L" for c in word):
        return "number/symbol"
    if len(word) == 1 and not unspaced(word):
        return "noise"
    if lang in pair:
        return "source-language word" if lang == pair[0] else "target-language word"
    return f"{'English' if lang == 'en' else 'third-language'} {'translation' if translation else 'associate'}"


def mismatched(vocabulary: Vocabulary, shift: int = 7) -> Vocabulary:
    """The words of each further language moved on by some more concepts: pairs of words that mean different things.

    What is found between such words is found by the same search among documents of the same kind, and is no pivot of anything.
    """
    n = len(vocabulary.concept_ids)
    forms = tuple(tuple(of_language[(i + k * shift) % n] for i in range(n)) for k, of_language in enumerate(vocabulary.forms))
    return Vocabulary(vocabulary.concept_ids, vocabulary.languages, forms)


def thresholds(candidates: pd.DataFrame, null: pd.DataFrame, settings: Settings, n_steps: int = 100) -> pd.DataFrame:
    """The association thresholds, from demonstration concepts, and what they do there.

    A word must exceed both. Of the pairs of thresholds that at most a share ``max_false`` of the null exceeds, the one is taken that
    most of the accepted translations among the candidates exceed (where several do so, the one that the null exceeds least).

    Args:
        candidates: association, similarity and translation of what was found for demonstration concepts, our ranking.
        null: the same for mismatched pairs of words (:func:`mismatched`).
        n_steps: thresholds tried are quantiles of the null, this many for each measure.

    Returns:
        measure (`association`, `similarity`, `both`), threshold, n_null, false (share of the null that passes), n, passing (share of the candidates
        that passes), n_translations, recall (share of the accepted translations among them that passes).

    Raises:
        ValueError: if there are no candidates, no null or no translations.
    """
    known, measures = candidates[candidates.translation], ("association", "similarity")
    if not len(null) or not len(known):
        raise ValueError(
            f"{len(known)} translations and {len(null)} words of mismatched pairs were found for the demonstration concepts: there are no thresholds"
        )
    tried = [np.quantile(null[m], np.linspace(0, 1, n_steps + 1)) for m in measures]
    for limit in tried:
        limit[0] = np.nextafter(limit[0], -np.inf)  # lets all of the null pass: the other measure decides alone

    def passing(table: pd.DataFrame) -> np.ndarray:
        """Share that passes, by both thresholds."""
        above = [table[m].to_numpy()[:, None] > limit for m, limit in zip(measures, tried)]
        return above[0].T.astype(np.float64) @ above[1] / len(table)

    false, recall = passing(null), passing(known)
    value = np.where(false <= settings.max_false, recall - 1e-6 * false, -1)
    chosen = [float(limit[i]) for limit, i in zip(tried, np.unravel_index(value.argmax(), value.shape))]
    rows = []
    for measure, used in (*((m, [i]) for i, m in enumerate(measures)), ("both", [0, 1])):
        share = [float(np.mean(np.all([t[measures[i]] > chosen[i] for i in used], axis=0))) for t in (null, candidates, known)]
        row = {"measure": measure, "threshold": chosen[used[0]] if len(used) == 1 else np.nan, "n_null": len(null), "false": share[0]}
        rows.append(row | {"n": len(candidates), "passing": share[1], "n_translations": len(known), "recall": share[2]})
    return pd.DataFrame(rows)


def keep(candidates: pd.DataFrame, limits: pd.DataFrame) -> pd.DataFrame:
    """Both directions of every candidate, typed, and whether it is kept: in the top of our ranking, past both thresholds, no noise.

    Args:
        candidates: from :func:`discover`, with ``similarity``.
        limits: from :func:`thresholds`.

    Returns:
        source_lang, target_lang, concept_id, source_word, target_word, pivot, lang, df_source, df_target, df_both, df_background, lift, npmi_source, npmi_target,
        apart_source, apart_target, corrected, association, similarity, translation, rank_paper, rank_ours, type, kept.
    """
    limit = limits.set_index("measure").threshold
    passes = (candidates.association > limit["association"]) & (candidates.similarity > limit["similarity"])
    parts = []
    for source, target in (("a", "b"), ("b", "a")):
        ends = {source: "source", target: "target"}
        table = candidates.rename(columns={f"{name}_{x}": f"{name}_{ends[x]}" for name in ("df", "npmi", "apart") for x in "ab"})
        table = table.rename(columns={f"{name}_{x}": f"{ends[x]}_{name}" for name in ("lang", "word") for x in "ab"})
        columns = [table[c].tolist() for c in ("pivot", "lang", "source_lang", "target_lang", "translation")]
        parts.append(table.assign(type=[type_of(w, la, (s, t), known) if p else "noise" for w, la, s, t, known, p in zip(*columns, passes)]))
    table = pd.concat(parts, ignore_index=True)
    table = table.assign(kept=(table.type != "noise") & table.rank_ours.notna())
    front = ["source_lang", "target_lang", "concept_id", "source_word", "target_word", "pivot", "lang", "type", "kept", "rank_paper", "rank_ours"]
    order = table.sort_values(["source_lang", "target_lang", "concept_id", "rank_ours", "rank_paper", "column"], kind="stable").index
    table = table.loc[order, front + [c for c in table.columns if c not in (*front, "column")]].reset_index(drop=True)
    # four decimals: nothing here reads more, and the file is a third of the size
    floats, counts = table.select_dtypes("floating").columns, [c for c in table if c.startswith("df_")]
    return table.round(dict.fromkeys(floats, 4)).astype(dict.fromkeys(floats, np.float32) | dict.fromkeys(counts, np.int32))


def coverage(words: pd.DataFrame, pivots: pd.DataFrame) -> pd.DataFrame:
    """What was found for every concept and direction, those without pivots included.

    Args:
        words: from :func:`discover`.
        pivots: from :func:`keep`.

    Returns:
        source_lang, target_lang, concept_id, n_source, n_target, n_both, n_forms, n_candidates, n_ranked (in our top), n_kept,
        status (`pivots`, `too few documents`, `no word in common`, `no word associated`).
    """
    ends = [{"lang_a": "source_lang", "lang_b": "target_lang", "n_a": "n_source", "n_b": "n_target"}]
    ends.append({"lang_a": "target_lang", "lang_b": "source_lang", "n_a": "n_target", "n_b": "n_source"})
    table = pd.concat([words.rename(columns=e) for e in ends], ignore_index=True)
    key = ["source_lang", "target_lang", "concept_id"]
    counts = pivots.assign(n_ranked=pivots.rank_ours.notna()).groupby(key)[["n_ranked", "kept"]].sum().rename(columns={"kept": "n_kept"}).reset_index()
    table = table.merge(counts, on=key, how="left").fillna({"n_ranked": 0, "n_kept": 0}).astype({"n_ranked": int, "n_kept": int})
    status = np.select([~table.enough, table.n_ranked == 0, table.n_kept == 0], ["too few documents", "no word in common", "no word associated"], "pivots")
    columns = [*key, "n_source", "n_target", "n_both", "n_forms", "n_candidates", "n_ranked", "n_kept"]
    return table.assign(status=status)[[*columns, "status"]].sort_values(key, kind="stable", ignore_index=True)


def ranking_agreement(pivots: pd.DataFrame, index: WordIndex, common: float = 0.02, first: int = 10) -> pd.DataFrame:
    """The two rankings side by side, one row a concept and pair of languages; the reverse direction has the same rankings.

    Args:
        pivots: from :func:`keep`.
        common: share of all documents above which a word counts as common.
        first: how many words of the beginning of each ranking are looked at.

    Returns:
        source_lang, target_lang, concept_id, overlap (words in both tops, over those in either), common_paper, common_ours (share of the
        first words that are common), translation_paper, translation_ours (reciprocal rank of the first accepted translation of the
        concept in a language that is neither source nor target; 0 if there is none).
    """
    key, order = ["source_lang", "target_lang", "concept_id"], {la: i for i, la in enumerate(LANGUAGES)}
    pivots = pivots[pivots.source_lang.map(order) < pivots.target_lang.map(order)]
    other = pivots.translation & (pivots.lang != pivots.source_lang) & (pivots.lang != pivots.target_lang)
    table = pivots[key].assign(both=pivots.rank_paper.notna() & pivots.rank_ours.notna(), either=1.0)
    for name in ("paper", "ours"):
        rank = pivots[f"rank_{name}"].astype(float)
        table[f"n_{name}"] = (rank <= first).astype(float)
        table[f"common_{name}"] = ((rank <= first) & (pivots.df_background > common * len(index.doc_ids))).astype(float)
        table[f"translation_{name}"] = np.where(other, 1 / rank, 0.0)
    table["translation_paper"], table["translation_ours"] = table.translation_paper.fillna(0), table.translation_ours.fillna(0)
    how = {"both": "sum", "either": "sum"} | {
        f"{m}_{n}": "max" if m == "translation" else "sum" for m in ("n", "common", "translation") for n in ("paper", "ours")
    }
    table = table.groupby(key, sort=False).agg(how).reset_index()
    table = table.assign(overlap=table.both / table.either, **{f"common_{n}": table[f"common_{n}"] / table[f"n_{n}"] for n in ("paper", "ours")})
    return table[[*key, "overlap", "common_paper", "common_ours", "translation_paper", "translation_ours"]]
