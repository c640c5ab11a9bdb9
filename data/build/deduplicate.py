"""Near-duplicate documents (min-hash of character 5-grams) and documents that contain held-out sentences."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from extract_base import fold, window_hashes

SHINGLE = 5  # characters
BINS = 64  # of the one-permutation min-hash
ROWS = 4  # bins in a band: two documents are compared when one band is equal
THRESHOLD = 0.8  # Jaccard similarity of the shingle sets from which the later document is dropped
EMPTY = np.uint64(2**64 - 1)
# Length of the window that finds candidates, and shortest held-out text that counts, by language.
WINDOW = {"en": 14, "fr": 14, "zh": 8, "ja": 8}
SHORTEST = {"en": 20, "fr": 20, "zh": 10, "ja": 10}


def signature(shingles: np.ndarray) -> np.ndarray:
    """Return the smallest hash in each of the bins that the low bits of the hashes name."""
    bins = shingles & np.uint64(BINS - 1)
    order = np.lexsort((shingles, bins))
    found, first = np.unique(bins[order], return_index=True)
    result = np.full(BINS, EMPTY, dtype=np.uint64)
    result[found.astype(np.int64)] = shingles[order][first]
    return result


def near_duplicates(texts: list[str]) -> list[bool]:
    """Tell for each text whether it is (nearly) the same as an earlier one that is kept."""
    buckets: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    exact: set[str] = set()
    kept: dict[int, np.ndarray] = {}
    result = []
    for number, text in enumerate(texts):
        folded = fold(text)
        shingles = np.unique(window_hashes(folded, SHINGLE))
        repeated = folded in exact
        exact.add(folded)
        if not repeated and len(shingles):
            own = signature(shingles)
            bands = [(band, own[band : band + ROWS].tobytes()) for band in range(0, BINS, ROWS) if (own[band : band + ROWS] != EMPTY).any()]
            candidates = {other for band in bands for other in buckets[band][:20]}
            for other in sorted(candidates):
                shared = len(np.intersect1d(shingles, kept[other], assume_unique=True))
                if shared >= THRESHOLD * (len(shingles) + len(kept[other]) - shared):
                    repeated = True
                    break
            if not repeated:
                kept[number] = shingles
                for band in bands:
                    buckets[band].append(number)
        result.append(repeated)
    return result


class Needles:
    """Finds documents that contain one of some texts, compared in folded form."""

    def __init__(self, texts: dict[str, list[str]]) -> None:
        """Prepare the search for ``texts``: language -> texts; those too short to be telling are left out."""
        self.by_hash: dict[int, dict[int, list[str]]] = {size: defaultdict(list) for size in sorted(set(WINDOW.values()))}
        for language, group in texts.items():
            size = WINDOW[language]
            for text in group:
                needle = fold(text)
                if len(text) >= SHORTEST[language] and len(needle) >= size:
                    self.by_hash[size][int(window_hashes(needle[:size], size)[0])].append(needle)
        self.hashes = {size: np.array(sorted(table), dtype=np.uint64) for size, table in self.by_hash.items()}

    def find(self, texts: list[str], batch: int = 400) -> list[bool]:
        """Tell for each text whether it contains one of the needles."""
        found = [False] * len(texts)
        for first in range(0, len(texts), batch):
            folded = [fold(text) for text in texts[first : first + batch]]
            ends = np.cumsum([len(text) + 1 for text in folded])
            joined = "\n".join(folded)
            for size, known in self.hashes.items():
                hashes = window_hashes(joined, size)
                for place in np.flatnonzero(np.isin(hashes, known)):
                    number = int(np.searchsorted(ends, place, side="right"))
                    if not found[first + number]:
                        found[first + number] = any(needle in folded[number] for needle in self.by_hash[size][int(hashes[place])])
        return found
