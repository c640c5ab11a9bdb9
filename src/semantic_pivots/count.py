"""Counts of words and pairs in a corpus of any size, as a table that notebook 03 takes in place of its own.

    python -m semantic_pivots.count --corpus dolma/ --out counts/3.parquet --part 3/64

counts the third of 64 shares of the files (on a cluster, one job each); notebook 03 adds the tables of a folder up, so ``counts_table=counts`` counts the whole. All
concepts of the lexicon are counted, their main words only, wherever their strings stand as whole words. What is counted of a file is kept, under a name made from its
contents, so a killed run goes on at the file it was at.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import threading
import time
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from . import cooccurrence
from .artifacts import ROOT, ArtifactError, atomic_path, write_table
from .cooccurrence import Counts
from .fingerprint import canonical, sha256_file, sha256_text
from .matching import Matcher, Vocabulary
from .progress import progress
from .readers import CorpusError, corpus_files
from .task import read_lexicon

__all__ = ["count_files", "counts_table", "share", "main"]


def share(files: Sequence[Path], part: str) -> tuple[list[Path], dict]:
    """The files of one share, and which it is: "3/64" takes the 3rd, the 67th …

    Returns:
        The files; ``part``, ``n_parts`` and ``listing``, a digest of the names of all files, by which shares of one corpus know each other.

    Raises:
        CorpusError: if the part is not of that form, or has no file.
    """
    number, _, of = part.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise CorpusError(f"--part {part}: 3/64 would be the third of 64 shares of the files")
    if not (own := list(files[int(number) - 1 :: int(of)])):
        raise CorpusError(f"--part {part}: there are only {len(files)} files")
    root = os.path.commonpath([Path(f).parent for f in files])
    return own, {"part": int(number), "n_parts": int(of), "listing": sha256_text(canonical([os.path.relpath(f, root) for f in files]))[:16]}


def count_files(files: Sequence[Path], vocabulary: Vocabulary, cache: Path, processes: int = 1) -> Counts:
    """Count words, and the pairs of a concept's words, in some files; damaged ones are named in the result.

    Args:
        files: Parquet or JSON lines, as :func:`.cooccurrence.shard_incidence` reads them.
        cache: folder where the counts of each file are kept.
        processes: files that are counted at a time. A process holds the automaton and some megabytes of text.

    Raises:
        CorpusError: if no file could be counted.
    """
    total, failed = None, []
    for path, found in zip(files, progress(_counted(files, vocabulary, cache, processes), "counting files", len(files))):
        if isinstance(found, str):
            failed.append((path.name, found))
        else:
            total = found if total is None else total.plus(found)
    if total is None:
        raise CorpusError(failed[0][1])
    return replace(total, failed=tuple(failed))


def counts_table(counts: Counts, lexicon: pd.DataFrame, which: dict) -> pd.DataFrame:
    """The table ``cooccurrence`` of some counts, with source_word, target_word, complete and the share that was counted (``which``, of :func:`share`)."""
    table = cooccurrence.cooccurrence_table(counts, "counted").assign(complete=counts.complete, **which)
    words = {la: lexicon[la].to_dict() for la in counts.vocabulary.languages}
    for side in ("source", "target"):
        table[f"{side}_word"] = [words[la][c] for la, c in zip(table[f"{side}_lang"], table.concept_id)]
    return table


class _Counter:
    """Counts one file after another with one automaton; what is counted is kept."""

    def __init__(self, vocabulary: Vocabulary, cache: Path):
        self.matcher, self.cache = Matcher(vocabulary), cache

    def __call__(self, path: Path) -> Counts | str:
        """The counts of a file, or what is wrong with it."""
        vocabulary = self.matcher.vocabulary
        try:
            kept = self.cache / f"{sha256_text(canonical([sha256_file(path), vocabulary.digest, cooccurrence.VERSION, unicodedata.unidata_version]))[:24]}.npz"
            if found := _kept(kept, vocabulary):
                return found
            counts = cooccurrence.shard_counts(path, self.matcher)
        except (cooccurrence.DamagedShard, OSError) as error:
            return str(error)
        with atomic_path(kept) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, n_docs=counts.n_docs, n_word=counts.n_word, n_both=counts.n_both, n_null=counts.n_null)
        return counts


def _kept(path: Path, vocabulary: Vocabulary) -> Counts | None:
    """Counts of an earlier run; None if there are none, or they are damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return Counts(vocabulary, int(file["n_docs"]), file["n_word"], file["n_both"], int(file["n_null"]), (), 0)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _counted(files: Sequence[Path], vocabulary: Vocabulary, cache: Path, processes: int) -> Iterator[Counts | str]:
    if min(processes, len(files)) == 1:
        yield from map(_Counter(vocabulary, cache), files)
        return
    # spawned, not forked: a fork of a process with threads can hang
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(files)), context, _begin, (vocabulary, cache, os.getpid())) as pool:
        try:
            yield from pool.map(_count, files)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


_counter: _Counter | None = None  # of a process of the pool


def _begin(vocabulary: Vocabulary, cache: Path, parent: int) -> None:
    """In a process of the pool: the automaton once, and a quiet end when the process that wants the counts is interrupted or killed."""
    global _counter
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    _counter = _Counter(vocabulary, cache)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _count(path: Path) -> Counts | str:
    return _counter(path)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status: 1 also if a file could not be counted."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(prog="python -m semantic_pivots.count", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", nargs="+", required=True, type=Path, help="JSON lines (also packed) or Parquet files, or folders of them")
    parser.add_argument("--out", required=True, type=Path, help="table to write (.parquet)")
    parser.add_argument("--part", default="1/1", help="share of the files, as in 3/64 (default: all)")
    parser.add_argument("--processes", type=int, default=processors, help="files counted at a time (default: one a processor, %(default)s)")
    given = parser.parse_args(arguments)
    if given.out.suffix != ".parquet" or given.processes < 1:
        parser.error(f"--out {given.out} must end with .parquet, and --processes {given.processes} be at least 1")
    try:
        cache = given.out.parent / f".{given.out.name}.parts"
        cache.mkdir(parents=True, exist_ok=True)  # now, and not after an hour of counting
        lexicon = read_lexicon(ROOT / "data" / "lexicon.parquet")
        files, which = share([f for f in corpus_files(given.corpus) if f.resolve() != given.out.resolve()], given.part)
        counts = count_files(files, Vocabulary.from_lexicon(lexicon), cache, given.processes)
        write_table(counts_table(counts, lexicon, which), given.out, {"files": [p.name for p in files], "failed": counts.failed})
    except (CorpusError, ArtifactError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; counted files are kept, the same command goes on from there", file=sys.stderr)
        return 130
    print(
        f"{given.out}: {counts.n_docs} documents of {len(files) - len(counts.failed)} files, {len(lexicon)} concepts; for notebook 03: counts_table={given.out.resolve()}"
    )
    for _, wrong in counts.failed:
        print(f"not counted: {wrong}", file=sys.stderr)
    if counts.failed:
        print("the table is marked as incomplete; once these files are mended, the same command counts only them", file=sys.stderr)
    return 1 if counts.failed else 0


if __name__ == "__main__":
    sys.exit(main())
