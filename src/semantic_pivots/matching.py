"""Finding the words of a lexicon in text: whole words, in any letter case, all in one pass.

Words are sought by an Aho-Corasick automaton over folded text (:func:`fold`), and a match is taken only where the word
ends where the pattern ends: between two characters of scripts that put spaces between words (letters, marks, digits of
Latin, Greek, Cyrillic …) there must be no edge of a match. Han, kana, Hangul, Thai and their like are written without
such spaces, so beside them an edge may always lie: 学 counts in 学校. Simplified Chinese words do not match traditional
text.
"""

from __future__ import annotations

import functools
import itertools
import operator
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ahocorasick_rs
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from scipy import sparse

from .artifacts import ROOT
from .fingerprint import canonical, sha256_file, sha256_text
from .task import LANGUAGES

__all__ = ["Vocabulary", "Matcher", "fold", "surface_forms", "read_forms"]

SEPARATOR = "\x1e"  # stands between documents; folding takes it out of them
WINDOW = 1 << 17  # characters searched at a time: bounds the list of matches, whatever the length of a document

# Frequent characters and their NFKC forms. Putting one in place beforehand does not change the NFKC form of a text, and spares
# most Chinese, Japanese and French documents the full pass, which would take longer than all the rest.
SHORTCUTS = [(c, unicodedata.normalize("NFKC", c)) for c in "\u00a0\u202f\u3000…，：；！？（）～％０１２３４５６７８９"]
SPELLINGS = [("œ", "oe"), ("æ", "ae"), ("’", "'"), ("ʼ", "'"), ("‐", "-"), (SEPARATOR, " ")]
# Names of characters that are no part of a spaced word: scripts without spaces (or, Hangul, with particles attached), and selectors.
UNSPACED = tuple("""CJK HIRAGANA KATAKANA HENTAIGANA BOPOMOFO IDEOGRAPHIC HANGZHOU HANGUL THAI LAO KHMER MYANMAR TIBETAN TANGUT NUSHU KHITAN""".split()) + (
    "COMBINING KATAKANA",
    "YI ",
    "VERTICAL KANA",
    "VERTICAL IDEOGRAPHIC",
    "VARIATION SELECTOR",
)


def fold(text: str) -> str:
    """Text and words as they are compared: NFKC, case-folded, œ and æ as two letters, typographic apostrophe and hyphen as the plain ones.

    Soft hyphens vanish. The length may change.
    """
    if text.isascii():
        return text.lower().replace(SEPARATOR, " ")
    text = text.replace("\u00ad", "")
    for character, plain in SHORTCUTS:
        text = text.replace(character, plain)
    text = _nfkc(text).casefold()
    for character, plain in SPELLINGS:
        text = text.replace(character, plain)
    return _nfkc(text)  # case folding and spelling can leave a letter apart from its mark


def _fold_all(texts: Sequence[str]) -> list[str]:
    """Texts folded as :func:`fold` does, in one go, which spares short ones most of the time.

    No normal form or case reaches across the separator. Only the slow passes, to the normal form, are made text by text where they are needed.
    """
    if not texts:
        return []
    joined = SEPARATOR.join(t.replace(SEPARATOR, " ") for t in texts).replace("\u00ad", "")
    for character, plain in SHORTCUTS:
        joined = joined.replace(character, plain)
    joined = SEPARATOR.join(map(_nfkc, joined.split(SEPARATOR))).casefold()
    for character, plain in SPELLINGS:
        if character != SEPARATOR:
            joined = joined.replace(character, plain)
    return list(map(_nfkc, joined.split(SEPARATOR)))


def _nfkc(text: str) -> str:
    return text if unicodedata.is_normalized("NFKC", text) else unicodedata.normalize("NFKC", text)


def surface_forms(word: str, lang: str, pos: str) -> tuple[str, ...]:
    """Folded strings, any of which counts as the word.

    Words count in their dictionary form alone; plurals and conjugated forms are other strings. The exception are Japanese
    verbs in する, of which the dictionary form is rare in text: conjugation changes する and leaves the stem as it is, so the
    stem is what counts (計算する as 計算, which is also its noun). A stem of one character is part of too many other words and
    counts with the first kana of する's forms (愛する as 愛さ, 愛し, 愛す, 愛せ). A stem that ends in hiragana (目にする, こする)
    is no verbal noun, and such a word stays whole.

    Raises:
        ValueError: if nothing is left of the word.
    """
    form = fold(word)
    if not form.strip():
        raise ValueError(f"the {lang} word {word!r} is empty")
    stem = form.removesuffix("する")
    if lang != "ja" or pos != "v" or stem in ("", form) or "\u3040" <= stem[-1] <= "\u309f":
        return (form,)
    return (stem,) if len(stem) > 1 else tuple(stem + kana for kana in "さしすせ")


@dataclass(frozen=True)
class Vocabulary:
    """The words to count: one column of the incidence for each language and concept, ``lang_index * n_concepts + concept_index``.

    Attributes:
        forms: surface forms [language][concept], each a tuple of folded strings.
    """

    concept_ids: tuple[str, ...]
    languages: tuple[str, ...]
    forms: tuple[tuple[tuple[str, ...], ...], ...]

    @classmethod
    def from_lexicon(cls, lexicon: pd.DataFrame, accepted: bool = False, languages: Sequence[str] = tuple(LANGUAGES)) -> Vocabulary:
        """Words of a lexicon (``task.read_lexicon``).

        Args:
            accepted: count any accepted translation of a concept (``valid_*``), not its main word alone.
        """
        forms = []
        for la in languages:
            words = lexicon[f"valid_{la}"] if accepted else lexicon[la].map(lambda w: [w])
            forms.append(tuple(tuple(dict.fromkeys(f for w in ws for f in surface_forms(w, la, pos))) for ws, pos in zip(words, lexicon.pos)))
        return cls(tuple(lexicon.concept_id), tuple(languages), tuple(forms))

    def __len__(self) -> int:
        return len(self.languages) * len(self.concept_ids)

    def column(self, concept_id: str, lang: str) -> int:
        """Column of a word in the incidence."""
        return self.languages.index(lang) * len(self.concept_ids) + self.concept_ids.index(concept_id)

    @functools.cached_property
    def digest(self) -> str:
        """sha256 of all that is counted."""
        return sha256_text(canonical([self.concept_ids, self.languages, self.forms]))


def read_forms(lexicon: pd.DataFrame, path: Path | None = None, languages: Sequence[str] = tuple(LANGUAGES)) -> Vocabulary:
    """Vocabulary of all forms of a lexicon's words: accepted translations and their inflections.

    Args:
        lexicon: rows of ``task.read_lexicon``.
        path: table of forms (default: data/forms.parquet).

    Raises:
        ValueError: if a concept has no forms in a language, or the file was made from another lexicon than data/lexicon.parquet.
    """
    committed, path = path is None, ROOT / "data" / "forms.parquet" if path is None else Path(path)
    table = pq.read_table(path)
    made_from = (table.schema.metadata or {}).get(b"lexicon_sha256", b"").decode()
    if committed and made_from != sha256_file(ROOT / "data" / "lexicon.parquet"):
        raise ValueError(f"{path} was made from another lexicon (sha256 {made_from}); run data/build/build_forms.py")
    frame = table.to_pandas()
    known = {(c, la): tuple(f) for c, la, f in zip(frame.concept_id, frame.lang, frame.forms)}
    if lacking := [(c, la) for la in languages for c in lexicon.concept_id if not known.get((c, la))]:
        raise ValueError(f"{path}: {len(lacking)} words have no forms, the first is {lacking[0]}")
    return Vocabulary(tuple(lexicon.concept_id), tuple(languages), tuple(tuple(known[c, la] for c in lexicon.concept_id) for la in languages))


@functools.cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """By code point: whether it is part of a spaced word (bool), and how it is written at a word's start (uint32)."""
    spaced, initial = np.zeros(sys.maxunicode + 1, bool), np.arange(sys.maxunicode + 1, dtype=np.uint32)
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if unicodedata.category(character)[0] in "LMN" and not unicodedata.name(character, "").startswith(UNSPACED):
            spaced[code] = True
            capital = character.upper()
            if capital != character and len(capital) == 1 and capital.casefold() == character:
                initial[code] = ord(capital)
    return spaced, initial


def _mark(text: str) -> tuple[str, np.ndarray]:
    """Folded text with a capital at each word's start, and for each character whether it is part of a spaced word.

    Folded text has no capitals, so they are free to say where words start: the automaton then never begins a match inside a
    word, which halves the matches to look at. Lone surrogates become question marks.
    """
    spaced, initial = _tables()
    codes = np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32).copy()
    inside = spaced[codes]
    starts = np.flatnonzero(inside & ~np.concatenate([[False], inside[:-1]]))
    codes[starts] = initial[codes[starts]]
    return codes.tobytes().decode("utf-32-le"), inside


class Matcher:
    """Finds the words of a vocabulary in texts.

    Attributes:
        strings: the distinct surface forms; one can belong to several words (French and English "table").

    Raises:
        ValueError: if the vocabulary is empty.
    """

    def __init__(self, vocabulary: Vocabulary):
        if not len(vocabulary):
            raise ValueError("the vocabulary is empty")
        self.vocabulary = vocabulary
        owners: dict[str, list[int]] = {}
        for column, forms in enumerate(itertools.chain.from_iterable(vocabulary.forms)):
            for form in forms:
                owners.setdefault(form, []).append(column)
        self.strings = list(owners)
        self.lengths = np.array([len(s) for s in owners])
        self.longest = int(self.lengths.max())
        self.automaton = ahocorasick_rs.AhoCorasick(
            _mark(SEPARATOR.join(owners))[0].split(SEPARATOR), implementation=ahocorasick_rs.Implementation.ContiguousNFA
        )
        rows = np.repeat(np.arange(len(owners)), [len(c) for c in owners.values()])
        columns = np.fromiter(itertools.chain.from_iterable(owners.values()), np.int64)
        self.owners = sparse.csr_array((np.ones(len(rows), bool), (rows, columns)), shape=(len(owners), len(vocabulary)))  # [string × word]

    def find(self, texts: Sequence[str]) -> sparse.csr_array:
        """Which strings occur in which texts, bool [text × string]."""
        folded = _fold_all(texts)
        bounds = np.cumsum([len(t) + 1 for t in folded])
        joined = SEPARATOR.join(folded)
        keys = [np.empty(0, np.int64)]
        for low in range(0, len(joined), WINDOW):
            # Each match belongs to the window it ends in; the window is widened so that both its neighbours are in sight.
            first, high = max(0, low - self.longest), low + WINDOW
            marked, inside = _mark(joined[first : high + 1])
            matches = self.automaton.find_matches_as_indexes(marked, overlapping=True)
            found, end = (np.fromiter(map(operator.itemgetter(i), matches), np.int64, len(matches)) for i in (0, 2))
            start = end - self.lengths[found]
            inside = np.concatenate([[False], inside, [False]])  # the character before a match is now inside[start], its last one inside[end]
            cut = (inside[start] & inside[start + 1]) | (inside[end] & inside[end + 1])
            taken = ~cut & (end + first > low) & (end + first <= high)
            text = np.searchsorted(bounds, start[taken] + first, side="right")
            keys.append(text * self.owners.shape[0] + found[taken])
        keys = np.sort(np.concatenate(keys))  # not np.unique, which hashes and takes longer than the search
        rows, columns = np.divmod(keys[np.diff(keys, prepend=-1) > 0], self.owners.shape[0])
        return sparse.csr_array((np.ones(len(rows), bool), (rows, columns)), shape=(len(texts), self.owners.shape[0]))

    def incidence(
        self, texts: Sequence[str], langs: Sequence[str] | None = None, documents: Sequence[int] | None = None, n_documents: int | None = None
    ) -> sparse.csr_array:
        """Which words occur in which documents, bool [document × word].

        Args:
            texts: the documents, or their segments.
            langs: language of each text; if given, a word counts only in texts of its language.
            documents: the document each text is a segment of (texts are documents if not given).
            n_documents: number of documents, those without segments included.
        """
        words = self.find(texts) @ self.owners
        if langs is not None:
            index = {la: i for i, la in enumerate(self.vocabulary.languages)}
            of_text = np.array([index.get(la, -1) for la in langs], np.int64)
            rows, columns = words.nonzero()
            own = of_text[rows] == columns // len(self.vocabulary.concept_ids)
            words = sparse.csr_array((np.ones(own.sum(), bool), (rows[own], columns[own])), shape=words.shape)
        if documents is not None:
            places = (np.ones(len(documents), bool), (documents, np.arange(len(documents))))
            words = sparse.csr_array(places, shape=(n_documents, len(documents))) @ words  # of bools: True or True is True
        return words
