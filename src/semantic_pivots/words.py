"""Which words stand in which documents: every word of a corpus, not those of a lexicon alone (for these see :mod:`.matching`).

A word is a run of letters and digits in folded text (:func:`.matching.fold`); Chinese and Japanese, written without spaces, are
first cut at the words of a dictionary: jieba's for Chinese, IPADIC through MeCab for Japanese. A word belongs to the language of
the segment it stands in, so French and English "table" are two words. Inflected forms are different words.
"""

from __future__ import annotations

import functools
import importlib.metadata
import itertools
import json
import re
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import fugashi
import ipadic
import numpy as np
import rjieba
from scipy import sparse

from .artifacts import atomic_path
from .cooccurrence import list_shards
from .fingerprint import canonical, sha256_file, sha256_text
from .matching import fold
from .mixture import Document, read_documents
from .progress import progress
from .task import LANGUAGES

__all__ = ["WordIndex", "index_corpus", "split_words"]

VERSION = 1  # of the index: raise it when a change here changes what is found, and cached ones are made anew
SEGMENTERS = ("rjieba", "fugashi", "ipadic")
WORD = re.compile(r"[^\W_]+")
CODES = tuple(LANGUAGES)


@dataclass(frozen=True)
class WordIndex:
    """Which words occur in which documents.

    Attributes:
        words: folded (NFKC, case-folded), one a column; columns are sorted by language, then word.
        langs: language of each column.
        doc_ids: document of each row, in the order of the shards and of the documents in them.
        incidence: uint8 [document × word], 1 where the document holds the word in a segment of its language; indices sorted.
        n_words: running words of each document, rare ones included, int64 [document].
    """

    words: tuple[str, ...]
    langs: tuple[str, ...]
    doc_ids: tuple[str, ...]
    incidence: sparse.csr_array
    n_words: np.ndarray

    @functools.cached_property
    def columns(self) -> dict[tuple[str, str], int]:
        """(language, word) -> column."""
        return {key: column for column, key in enumerate(zip(self.langs, self.words))}

    @functools.cached_property
    def by_word(self) -> sparse.csc_array:
        """The incidence by columns: the documents of a word are ``indices[indptr[column]:indptr[column + 1]]``."""
        return self.incidence.tocsc()

    @functools.cached_property
    def n_docs(self) -> np.ndarray:
        """Documents of each word, int64 [word]."""
        return np.bincount(self.incidence.indices, minlength=len(self.words))


@functools.cache
def _segmenter(lang: str) -> Callable[[str], str]:
    """Writes spaces between words, where a language has none."""
    if lang == "zh":
        return lambda text: " ".join(rjieba.cut(text, False))  # words of the dictionary alone: none is guessed
    if lang == "ja":
        return fugashi.GenericTagger(f"{ipadic.MECAB_ARGS} -Owakati").parse
    return lambda text: text


def split_words(text: str, lang: str) -> list[str]:
    """Words of a text in their order, folded.

    Raises:
        ValueError: for an unknown language.
    """
    if lang not in LANGUAGES:
        raise ValueError(f"unknown language {lang!r}; known: {', '.join(LANGUAGES)}")
    return WORD.findall(_segmenter(lang)(fold(text)))


def index_corpus(folder: Path | Sequence[Path], min_docs: int = 5, cache: Path | None = None) -> WordIndex:
    """Index all words of a corpus, shard by shard.

    Args:
        folder: a folder of Parquet shards, or the shards, with doc_id, lang, text, segments (``mixture.read_documents``).
        min_docs: words in fewer documents are left out.
        cache: folder where each shard's index is kept under a name made from the shard's contents.

    Raises:
        ValueError: if there are no shards, one is damaged, or ``min_docs`` is less than 1.
    """
    if min_docs < 1:
        raise ValueError(f"min_docs is {min_docs}; a word must stand in at least one document")
    parts = [_shard_index(path, cache) for path in progress(list_shards(folder), "indexing words")]
    places: defaultdict[tuple[str, str], int] = defaultdict(itertools.count().__next__)
    columns = [np.fromiter((places[key] for key in zip(p.langs, p.words)), np.int64, len(p.words)) for p in parts]
    keys = np.array(list(places), dtype=object).reshape(-1, 2)
    n_docs = sum((np.bincount(c, p.n_docs, len(keys)) for p, c in zip(parts, columns)), np.zeros(len(keys)))
    kept = sorted(np.flatnonzero(n_docs >= min_docs).tolist(), key=lambda k: (CODES.index(keys[k, 0]), keys[k, 1]))
    new = np.full(len(keys), -1)
    new[kept] = np.arange(len(kept))
    blocks = []
    for part, column in zip(parts, columns):
        moved = new[column][part.incidence.indices]
        starts = np.concatenate([[0], np.cumsum(moved >= 0)])[part.incidence.indptr]
        blocks.append(_incidence(moved[moved >= 0], starts, len(kept)))
    incidence = sparse.vstack(blocks, format="csr")
    incidence.sort_indices()
    doc_ids = tuple(itertools.chain.from_iterable(p.doc_ids for p in parts))
    return WordIndex(tuple(keys[kept, 1]), tuple(keys[kept, 0]), doc_ids, incidence, np.concatenate([p.n_words for p in parts]))


def _incidence(indices: np.ndarray, indptr: np.ndarray, n_words: int) -> sparse.csr_array:
    return sparse.csr_array((np.ones(len(indices), np.uint8), indices.astype(np.int32), indptr.astype(np.int32)), shape=(len(indptr) - 1, n_words))


def _shard_index(path: Path, cache: Path | None) -> WordIndex:
    """Index of one shard, all words, columns in the order in which words are met; from the cache where it is there and whole."""
    if cache is None:
        return _index(read_documents(path))
    if not Path(path).is_file():
        raise ValueError(f"{path} is not there")
    key = [sha256_file(path), VERSION, [importlib.metadata.version(p) for p in SEGMENTERS]]
    kept = Path(cache) / f"words-{Path(path).stem}-{sha256_text(canonical(key))[:24]}.npz"
    if (index := _load(kept)) is None:
        index = _index(read_documents(path))
        texts = {name: np.frombuffer(json.dumps(getattr(index, name), ensure_ascii=False).encode(), np.uint8) for name in ("words", "langs", "doc_ids")}
        with atomic_path(kept) as temporary:
            np.savez(temporary, indices=index.incidence.indices, indptr=index.incidence.indptr, n_words=index.n_words, **texts)
    return index


def _load(path: Path) -> WordIndex | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            words, langs, doc_ids = (tuple(json.loads(file[name].tobytes())) for name in ("words", "langs", "doc_ids"))
            incidence = _incidence(file["indices"], file["indptr"], len(words))
            incidence.check_format()
            return WordIndex(words, langs, doc_ids, incidence, file["n_words"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def _index(documents: Iterable[Document]) -> WordIndex:
    number = itertools.count()
    columns: dict[str, defaultdict[str, int]] = {la: defaultdict(number.__next__) for la in LANGUAGES}
    doc_ids, n_words, rows = [], [], []
    for document in documents:
        found: dict[str, list[str]] = defaultdict(list)
        for lang, text in document.segments:
            found[lang] += split_words(text, lang)
        own = [columns[lang][w] for lang, words in found.items() for w in dict.fromkeys(words)]
        rows.append(np.array(own, np.int32))
        doc_ids.append(document.doc_id)
        n_words.append(sum(map(len, found.values())))
    keys = sorted((column, lang, word) for lang, known in columns.items() for word, column in known.items())
    indptr = np.concatenate([[0], np.cumsum([len(r) for r in rows], dtype=np.int64)])
    incidence = _incidence(np.concatenate([np.empty(0, np.int32), *rows]), indptr, len(keys))
    return WordIndex(tuple(w for _, _, w in keys), tuple(la for _, la, _ in keys), tuple(doc_ids), incidence, np.array(n_words, np.int64))
