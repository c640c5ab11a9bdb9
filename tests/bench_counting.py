"""Time the document counts against the plain way to count, on the same text, in one run ('python tests/bench_counting.py').

The plain way (:func:`find_words`) folds a document and looks for one word after the other with ``str.find``, checking the
neighbours of each hit. It is too slow for the whole text, so its speed is measured on the first documents, and both ways
must give the same incidences there. The text is that of data/corpus where there is one, otherwise made of lexicon words.
"""

from __future__ import annotations

import functools
import re
import resource
import subprocess
import sys
import tempfile
import time
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semantic_pivots import cooccurrence, matching, task
from semantic_pivots.artifacts import ROOT

SIZE, SAMPLE, SHARD, SEED = 24_000_000, 300_000, 3_000_000, 20251  # bytes of UTF-8
WITHOUT_SPACES = {"CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "IDEOGRAPHIC", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "VARIATION"}
WITHOUT_SPACES |= {"HENTAIGANA", "HANGZHOU", "YI", "TANGUT", "NUSHU", "KHITAN"}


@functools.cache
def spaced(character: str) -> bool:
    """Whether a character is a letter, mark or digit of a script that puts spaces between words."""
    name = unicodedata.name(character, "?").removeprefix("COMBINING ").removeprefix("VERTICAL ").replace("KANA REPEAT", "KATAKANA").replace("-", " ")
    return unicodedata.category(character)[0] in ("L", "M", "N") and name.split()[0] not in WITHOUT_SPACES


def plain_fold(text: str) -> str:
    """Folding, straight from its definition."""
    text = unicodedata.normalize("NFKC", text.replace("\u00ad", "")).casefold()
    text = "".join({"œ": "oe", "æ": "ae", "\u2019": "'", "\u02bc": "'", "\u2010": "-", "\x1e": " "}.get(c, c) for c in text)
    return unicodedata.normalize("NFKC", text)


def find_words(text: str, words: list[str]) -> set[str]:
    """Which folded words stand in a text."""
    text, found = plain_fold(text), set()
    for word in words:
        start = text.find(word)
        while start >= 0:
            end = start + len(word)
            joined_left = start > 0 and spaced(text[start - 1]) and spaced(word[0])
            joined_right = end < len(text) and spaced(text[end]) and spaced(word[-1])
            if not joined_left and not joined_right:
                found.add(word)
                break
            start = text.find(word, start + 1)
    return found


def make_text(lexicon: pd.DataFrame, size: int) -> list[str]:
    """Documents in four languages: a quarter of the words from the lexicon by their frequency, the others not."""
    random, documents, total = np.random.default_rng(SEED), [], 0
    letters = {"en": "etaoinshrdlu", "fr": "esaintrulodé", "zh": "的是不了在有个这为之与从而以", "ja": "のにはをたがでてとしれさい"}
    share = {la: 10 ** lexicon[f"zipf_{la}"].to_numpy(np.float64) for la in letters}
    filler = {
        la: np.array(["".join(random.choice(list(s), random.integers(1, 3 if la in ("zh", "ja") else 9))) for _ in range(5000)]) for la, s in letters.items()
    }
    while total < size:
        la, n = random.choice(list(letters)), int(random.integers(40, 900))
        words = np.where(random.random(n) < 0.25, random.choice(lexicon[la].to_numpy(str), n, p=share[la] / share[la].sum()), random.choice(filler[la], n))
        comma = random.random(n) < 0.08
        spaces, stops = (" ", ", ") if la in ("en", "fr") else ("", "，")
        documents.append("".join(w + (stops if c else spaces) for w, c in zip(words, comma)))
        total += len(documents[-1].encode())
    return documents


def read_text(lexicon: pd.DataFrame, size: int) -> tuple[list[str], str]:
    """Documents of some size, and where they are from."""
    documents = [t or "" for path in sorted((ROOT / "data" / "corpus").glob("*.parquet")) for t in pq.read_table(path, columns=["text"])["text"].to_pylist()]
    if sum(len(t.encode()) for t in documents) < size:
        return make_text(lexicon, size), "made of lexicon words"
    order = np.random.default_rng(SEED).permutation(len(documents))
    cut = np.searchsorted(np.cumsum([len(documents[i].encode()) for i in order]), size) + 1
    return [documents[i] for i in order[:cut]], "from data/corpus"


def write_shards(documents: list[str], folder: Path) -> list[Path]:
    """Documents as Parquet files of equal size."""
    folder.mkdir(parents=True, exist_ok=True)
    shard = np.cumsum([len(t.encode()) for t in documents]) // SHARD
    paths = []
    for number in np.unique(shard):
        paths.append(folder / f"{number:03}.parquet")
        pq.write_table(pa.table({"text": [documents[i] for i in np.flatnonzero(shard == number)]}), paths[-1], row_group_size=1000)
    return paths


def own_peak() -> float:
    """Peak resident memory of this process, in MB."""
    status = Path("/proc/self/status")
    if status.is_file():  # ru_maxrss would count what the process was forked from
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def peak_memory(paths: list[Path]) -> float:
    """Peak resident memory of counting some shards, in MB, in a process of its own."""
    command = [sys.executable, __file__, "--peak", *map(str, paths)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout)


def bench_counting() -> dict[str, float]:
    """Run the benchmark, print its lines and return its figures.

    Returns:
        mb_per_second, mb_per_second_one_core, naive_mb_per_second, ratio (one core), memory_ratio (peak with twice the text / peak).
    """
    lexicon = task.read_lexicon(ROOT / "data" / "lexicon.parquet")
    vocabulary = matching.Vocabulary.from_lexicon(lexicon)
    documents, origin = read_text(lexicon, SIZE)
    size = sum(len(t.encode()) for t in documents)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_shards(documents, Path(folder) / "once")
        cooccurrence.count_documents(paths[:1], vocabulary)  # imports and tables
        times: dict[int | None, float] = {}
        for workers in (1, None) * 3:
            start = time.perf_counter()
            counts = cooccurrence.count_documents(paths, vocabulary, workers=workers)
            times[workers] = min(times.get(workers, float("inf")), time.perf_counter() - start)
        twice = paths + write_shards([t[::-1] for t in documents], Path(folder) / "reversed")
        peaks = [peak_memory(p) for p in (paths, twice)]

    sample = documents[: int(np.searchsorted(np.cumsum([len(t.encode()) for t in documents]), SAMPLE)) + 1]
    matcher = matching.Matcher(vocabulary)
    start = time.perf_counter()
    plain = [find_words(t, matcher.strings) for t in sample]
    plain_seconds = time.perf_counter() - start
    found = matcher.find(sample)
    ours = [{matcher.strings[j] for j in found.indices[a:b]} for a, b in zip(found.indptr, found.indptr[1:])]
    assert ours == plain, "the two ways to count differ"

    speed, whole, plain_speed = size / 1e6 / times[1], size / 1e6 / times[None], sum(len(t.encode()) for t in sample) / 1e6 / plain_seconds
    result = {
        "mb_per_second": whole,
        "mb_per_second_one_core": speed,
        "naive_mb_per_second": plain_speed,
        "ratio": speed / plain_speed,
        "memory_ratio": peaks[1] / peaks[0],
    }
    print(
        f"{len(documents)} documents, {size / 1e6:.0f} MB {origin}; {len(matcher.strings)} strings; {counts.n_word.sum() / size * 1e6:.0f} word-documents a MB"
    )
    print(f"  counting from Parquet: {whole:.1f} MB/s, on one core {speed:.1f} MB/s (best of 3)")
    print(f"  plain search on the first {len(sample)} documents: {plain_speed:.3f} MB/s; {result['ratio']:.0f}× faster on one core, same incidences there")
    print(f"  peak memory {peaks[0]:.0f} MB, with twice the text {peaks[1]:.0f} MB: ratio {result['memory_ratio']:.2f}")
    return result


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        words = matching.Vocabulary.from_lexicon(task.read_lexicon(ROOT / "data" / "lexicon.parquet"))
        cooccurrence.count_documents([Path(p) for p in sys.argv[2:]], words)
        print(own_peak())
    else:
        bench_counting()
