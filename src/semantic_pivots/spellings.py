"""The same word in other clothes: in another case, script or inflection."""

from __future__ import annotations

import bisect
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from .matching import fold

__all__ = ["Spellings", "han_variants", "is_han", "unspaced"]

FRAGMENT, FRAGMENT_HAN = 4, 2  # letters, or Chinese and Japanese characters, that make a common beginning tell


def is_han(character: str) -> bool:
    """Whether a character is Chinese writing, kanji included."""
    return "\u3400" <= character <= "\u9fff" or "\U00020000" <= character <= "\U0003ffff" or character == "々"


def unspaced(word: str) -> bool:
    """Whether a word has a Han character or kana."""
    return any(is_han(c) or "\u3040" <= c <= "\u30ff" for c in word)


def han_variants(lexicon: pd.DataFrame) -> dict[str, str]:
    """Japanese character -> the simplified Chinese one that is written for it (図 -> 图), learnt from the lexicon.

    Two characters are taken for variants if they stand in the same place of a Chinese and a Japanese translation of at least two
    concepts, and the one never stands in the lexicon's Chinese words, the other never in its Japanese ones.
    """
    written = {la: frozenset(itertools.chain.from_iterable(w for words in lexicon[f"valid_{la}"] for w in words)) for la in ("zh", "ja")}
    seen: defaultdict[str, Counter] = defaultdict(Counter)
    for zh, ja in zip(lexicon.valid_zh, lexicon.valid_ja):
        pairs = (zip(a, b) for a, b in itertools.product(zh, ja) if len(a) == len(b))
        found = ({(a, b) for a, b in pair if a != b} for pair in pairs)
        apart = (f for f in found if all(is_han(b) and a not in written["ja"] and b not in written["zh"] for a, b in f))
        for a, b in set().union(*apart):
            seen[b][a] += 1
    return {b: chinese.most_common(1)[0][0] for b, chinese in sorted(seen.items()) if chinese.most_common(1)[0][1] >= 2}


class Spellings:
    """Recognises words in another case, script or inflection.

    Args:
        words: folded words, e.g. those of a :class:`~.words.WordIndex`.
        variants: characters and what they are compared as (:func:`han_variants`); katakana is compared as hiragana anyway.
    """

    def __init__(self, words: Sequence[str], variants: dict[str, str] | None = None):
        kana = {chr(code): chr(code - 0x60) for code in range(ord("ァ"), ord("ヶ") + 1)}
        self._table = str.maketrans(kana | (variants or {}))
        compared = [self.compared(w) for w in words]
        order = sorted(range(len(words)), key=compared.__getitem__)
        self._order, self._sorted = np.array(order, np.int64), [compared[i] for i in order]

    def compared(self, word: str) -> str:
        """A word as it is compared with others."""
        return fold(word).strip().translate(self._table)

    def same(self, forms: Iterable[str]) -> np.ndarray:
        """Indices of the words that are one of the forms, begin one or are begun by one (by 4 letters or 2 Han or kana at least)."""
        found: list[np.ndarray] = [np.empty(0, np.int64)]
        for form in {self.compared(f) for f in forms} - {""}:
            least = FRAGMENT_HAN if unspaced(form) else FRAGMENT
            for length in range(min(least, len(form)), len(form) + 1):
                beginning = form[:length]
                low = bisect.bisect_left(self._sorted, beginning)
                longer = length == len(form) >= least
                high = bisect.bisect_right(self._sorted, beginning + "\U0010ffff" if longer else beginning, low)
                found.append(self._order[low:high])
        return np.unique(np.concatenate(found))

    def equal(self, forms: Iterable[str]) -> np.ndarray:
        """Indices of the words that are one of the forms."""
        found = [np.empty(0, np.int64)]
        for form in {self.compared(f) for f in forms} - {""}:
            found.append(self._order[bisect.bisect_left(self._sorted, form) : bisect.bisect_right(self._sorted, form)])
        return np.unique(np.concatenate(found))
