"""Documents quoted short: where a pivot stands with the source word, and where with the target word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from scipy import sparse

from .cooccurrence import list_shards
from .matching import Vocabulary
from .words import WordIndex

__all__ = ["pivot_documents", "read_quotes"]

WIDTH = {"zh": 14, "ja": 14}  # characters of a quote on each side of its word; more where words are spelled
WIDTH_SPELLED = 38


def pivot_documents(
    index: WordIndex, documents: sparse.csc_array, vocabulary: Vocabulary, concept_id: str, pair: tuple[str, str], pivots: pd.DataFrame
) -> pd.DataFrame:
    """For each pivot the shortest document that holds it with the source word, and the shortest with the target word.

    A document that does not hold the other word as well goes before one that does.

    Args:
        documents: from ``pivots.word_documents``.
        pivots: pivot, lang.

    Returns:
        pivot, lang, end (`source` or `target`), end_lang, word (the source or target word), doc_id, apart (the other word is not in it).
    """
    held = {la: documents[:, [vocabulary.column(concept_id, la)]].nonzero()[0] for la in pair}
    rows = []
    for pivot, lang in zip(pivots["pivot"], pivots["lang"]):
        column = index.columns[lang, pivot]
        with_pivot = index.by_word.indices[index.by_word.indptr[column] : index.by_word.indptr[column + 1]]
        for end, la, other in zip(("source", "target"), pair, reversed(pair)):
            both = np.intersect1d(held[la], with_pivot)
            if not len(both):
                continue
            joint = np.isin(both, held[other])
            best = both[np.lexsort((both, index.n_words[both], joint))[0]]
            word = vocabulary.forms[vocabulary.languages.index(la)][vocabulary.concept_ids.index(concept_id)][0]
            rows.append(
                {"pivot": pivot, "lang": lang, "end": end, "end_lang": la, "word": word, "doc_id": index.doc_ids[best], "apart": best not in held[other]}
            )
    return pd.DataFrame(rows, columns=["pivot", "lang", "end", "end_lang", "word", "doc_id", "apart"])


def read_quotes(folder: Path | Sequence[Path], found: pd.DataFrame) -> pd.DataFrame:
    """The places of those documents where the pivot and the word stand.

    Args:
        folder: the corpus.
        found: from :func:`pivot_documents`.

    Returns:
        Those columns with source (of the document), pivot_quote and word_quote; the word found stands between two asterisks on each side.
    """
    texts = {}
    for path in list_shards(folder):
        table = pq.read_table(path, columns=["doc_id", "source", "text", "segments"], filters=[("doc_id", "in", sorted(set(found.doc_id)) or [""])])
        for row in table.to_pylist():
            segments, at = [], 0
            for segment in row["segments"]:
                segments.append((segment["lang"], row["text"][at : at + segment["n_chars"]]))
                at += segment["n_chars"] + 1
            texts[row["doc_id"]] = row["source"], segments
    rows = []
    for row in found.to_dict("records"):
        source, segments = texts[row["doc_id"]]
        quotes = {"pivot_quote": quote(segments, row["pivot"], row["lang"]), "word_quote": quote(segments, row["word"], row["end_lang"])}
        rows.append(row | {"source": source} | quotes)
    return pd.DataFrame(rows, columns=[*found.columns, "source", "pivot_quote", "word_quote"])


def quote(segments: Sequence[tuple[str, str]], word: str, lang: str) -> str:
    """The first place of a word in segments of its language, with some text around it; the beginning of the first segment if it is spelled otherwise there."""
    own = [text.replace("\n", " ") for la, text in segments if la == lang]
    edge = "" if lang in WIDTH else r"(?<![^\W_]){}(?![^\W_])"
    pattern = re.compile(edge.format(re.escape(word)) if edge else re.escape(word), re.IGNORECASE)
    width = WIDTH.get(lang, WIDTH_SPELLED)
    for text in own:
        if place := pattern.search(text):
            start, stop = place.span()
            left, right = text[max(0, start - width) : start], text[stop : stop + width]
            if lang not in WIDTH:  # no cut words at the edges
                left = left.split(" ", 1)[-1] if start > width else left
                right = right.rsplit(" ", 1)[0] if stop + width < len(text) else right
            parts = ("…" if start > width else "", left, "**", place.group(), "**", right, "…" if stop + width < len(text) else "")
            return "".join(parts)
    return (own[0][: 2 * width] + "…") if own else ""
