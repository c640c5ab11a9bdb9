"""Counts of words and pairs in a corpus of any size, as a table that notebook 03 takes in place of its own.

    python -m semantic_pivots.count --corpus dolma/ --out counts/part-3.parquet --part 3/64

counts the third of 64 shares of the files (on a cluster, one job each); notebook 03 adds the tables of a folder up, so ``counts_table=counts`` counts the whole. All
concepts of the lexicon are counted, their main words only, wherever their strings stand as whole words. What is counted of a file is kept, under a name made from its
contents, so a killed run goes on at the file it was at.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pandas as pd

from . import cooccurrence
from .artifacts import ROOT, ArtifactError, read_table, write_table
from .fingerprint import canonical, sha256_file, sha256_text
from .matching import Matcher, Vocabulary
from .progress import progress
from .readers import CorpusError, corpus_files
from .task import read_lexicon

__all__ = ["count_files", "share", "main"]


def share(files: Sequence[Path], part: str) -> list[Path]:
    """The files of one share: "3/64" takes the 3rd, the 67th …

    Raises:
        CorpusError: if the part is not of that form, or has no file.
    """
    number, _, of = part.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise CorpusError(f"--part {part}: 3/64 would be the third of 64 shares of the files")
    if not (own := list(files[int(number) - 1 :: int(of)])):
        raise CorpusError(f"--part {part}: there are only {len(files)} files")
    return own


def count_files(files: Sequence[Path], lexicon: pd.DataFrame, parts: Path, processes: int = 1) -> tuple[pd.DataFrame, list[str]]:
    """Count the main words of a lexicon, and their pairs, in some files.

    Args:
        files: Parquet or JSON lines, as :func:`.cooccurrence.shard_incidence` reads them.
        parts: folder where the counts of each file are kept.
        processes: files that are counted at a time; each holds the words found in its file, about a tenth of the text.

    Returns:
        The table ``cooccurrence`` with source_word, target_word and complete (whether all files were counted); what is wrong with files that could not be.

    Raises:
        CorpusError: if no file could be counted.
    """
    counted = list(progress(_counted(files, lexicon, parts, processes), "counting files", len(files)))
    failed = [found for found in counted if isinstance(found, str)]
    tables = [found for found in counted if not isinstance(found, str)]
    if not tables:
        raise CorpusError(failed[0])
    return cooccurrence.add_up(tables, "counted").assign(complete=not failed), failed


def _counted(files: Sequence[Path], lexicon: pd.DataFrame, parts: Path, processes: int) -> Iterator[pd.DataFrame | str]:
    count = functools.partial(_count_file, lexicon=lexicon, parts=parts)
    if processes == 1 or len(files) == 1:
        yield from map(count, files)
        return
    # spawned, not forked: a fork of a process with threads can hang
    with ProcessPoolExecutor(min(processes, len(files)), multiprocessing.get_context("spawn")) as pool:
        try:
            yield from pool.map(count, files)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _count_file(path: Path, lexicon: pd.DataFrame, parts: Path) -> pd.DataFrame | str:
    """The counts of one file, from an earlier run where there are any; or what is wrong with it."""
    vocabulary = Vocabulary.from_lexicon(lexicon)
    try:
        key = [sha256_file(path), vocabulary.digest, cooccurrence.VERSION, unicodedata.unidata_version]
        kept = parts / f"{sha256_text(canonical(key))[:24]}.parquet"
        if kept.is_file():
            try:
                return read_table(kept)
            except ArtifactError:  # damaged: counted again
                kept.unlink()
        counts = cooccurrence.incidence_counts(cooccurrence.shard_incidence(path, Matcher(vocabulary)), vocabulary)
    except (cooccurrence.DamagedShard, OSError) as error:
        return str(error)
    table = cooccurrence.cooccurrence_table(counts, path.name)
    for side in ("source", "target"):
        table[f"{side}_word"] = [lexicon.at[c, la] for c, la in zip(table.concept_id, table[f"{side}_lang"])]
    write_table(table, kept)
    return table


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status: 1 also if a file could not be counted."""
    parser = argparse.ArgumentParser(prog="python -m semantic_pivots.count", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", nargs="+", required=True, type=Path, help="JSON lines (also packed) or Parquet files, or folders of them")
    parser.add_argument("--out", required=True, type=Path, help="table to write (.parquet)")
    parser.add_argument("--part", default="1/1", help="share of the files, as in 3/64 (default: all)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="files counted at a time (default: one a processor, %(default)s)")
    given = parser.parse_args(arguments)
    if given.out.suffix != ".parquet" or given.processes < 1:
        parser.error(f"--out {given.out} must end with .parquet, and --processes {given.processes} be at least 1")
    lexicon = read_lexicon(ROOT / "data" / "lexicon.parquet")
    try:
        files = share(corpus_files(given.corpus), given.part)
        table, failed = count_files(files, lexicon, given.out.parent / f".{given.out.name}.parts", given.processes)
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    write_table(table, given.out, {"files": [p.name for p in files], "failed": failed})
    print(
        f"{given.out}: {table.n_docs.iloc[0]} documents of {len(files) - len(failed)} files, {len(lexicon)} concepts; notebook 03 reads it as counts_table={given.out}"
    )
    for line in failed:
        print(f"not counted: {line}", file=sys.stderr)
    if failed:
        print("the table is marked as incomplete; once these files are mended, the same command counts only them", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
