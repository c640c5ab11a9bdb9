"""Document counts: in how many documents of a corpus a word occurs, and in how many two words occur together.

The paper explains a model's two behaviours by n_ab, the documents of the pre-training corpus that hold both the source
and the target word (He et al. 2025, §4). The counts here are exact; of whole words where a script puts
spaces between them (see :mod:`.matching`).

A word can be counted in two ways. As a rule a word counts wherever its string stands, since a web corpus carries no
language labels; this is what the paper does. But French "table" then counts in English documents and Chinese 手 in
Japanese 手紙, which inflates the counts of equal and nested strings. With ``by_language`` a word counts only inside
segments of its own language, for corpora that say which is which; the difference shows how much is string identity.
Segments are a list of {lang, text}, or of {lang, n_chars} to be read off the text from left to right, one character
(a line end) between two.
"""

from __future__ import annotations

import itertools
import os
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy import sparse

from .artifacts import atomic_path
from .fingerprint import canonical, sha256_file, sha256_text
from .matching import Matcher, Vocabulary
from .progress import progress
from .readers import CorpusError, kind, rows
from .task import LANGUAGES

__all__ = [
    "DamagedShard", "Incidence", "Counts", "list_shards", "shard_incidence", "shard_counts", "pair_counts", "count_documents", "npmi", "cooccurrence_table",
    "counts_from",
]  # fmt: skip

VERSION = 1  # of the counting: raise it when a change here changes counts, and cached ones are made anew
TAGS = (*LANGUAGES, "mixed")
BATCH_BYTES = 1 << 22  # of text read at a time
WORKERS = 4  # shards at a time: only the search itself runs in parallel, so more would not help
ROW_BATCH = 4096  # documents whose pairs are counted at a time


class DamagedShard(Exception):
    """A shard cannot be read, or has no column ``text``; the message names it."""


@dataclass(frozen=True)
class Incidence:
    """Which words occur in which documents of one shard.

    Attributes:
        matrix: bool [document × word], documents in the shard's order, columns as :class:`Vocabulary` has them.
        n_null: documents whose text is null; they are counted as empty.
        fresh: whether the shard was read, not taken from the cache.
    """

    matrix: sparse.csr_array
    n_null: int
    fresh: bool = True

    def documents(self, column: int) -> np.ndarray:
        """Rows of the documents that hold a word, ascending (for many words, take the columns of ``matrix.tocsc()``)."""
        return np.unique(self.matrix[:, [column]].nonzero()[0])


def list_shards(shards: Path | Sequence[Path]) -> list[Path]:
    """Shards of a folder in the order of their names, or the list as it is.

    Raises:
        ValueError: if there is none.
    """
    if isinstance(shards, (str, Path)):
        found = sorted(Path(shards).glob("*.parquet"))
        if not found:
            raise ValueError(f"there is no shard (*.parquet) in {shards}")
        return found
    if not shards:
        raise ValueError("the list of shards is empty")
    return [Path(s) for s in shards]


def shard_incidence(path: Path, matcher: Matcher, by_language: bool = False, cache: Path | None = None) -> Incidence:
    """Find all words in one shard, or take what an earlier run found from the cache.

    Only whole shards are kept, under a name made from the shard's contents and all that the result depends on, so a killed
    run goes on at the shard it was at.

    Memory: one batch of documents and the shard's incidence (about a tenth of the text); :func:`shard_counts` does without the latter.

    Args:
        path: Parquet file with the column ``text``; ``lang`` and ``segments`` (list of {lang, text}) where there are any. Or JSON lines with a field
            ``text`` (Dolma's layout; ``.gz``, ``.zst`` or ``.bz2``), of which nothing else is read.
        by_language: a word counts only in segments, or documents, of its language.
        cache: folder of what was found.

    Raises:
        DamagedShard: if it cannot be read or lacks ``text``.
        ValueError: if a language tag is unknown, or ``by_language`` is asked of a document that does not tell its language.
    """
    path = Path(path)
    with _damage_named(path):
        key = [sha256_file(path), matcher.vocabulary.digest, by_language, VERSION, unicodedata.unidata_version] if cache else None
        kept = Path(cache) / f"{path.stem}-{sha256_text(canonical(key))[:24]}.npz" if cache else None
        if kept and (incidence := _load(kept, len(matcher.vocabulary))):
            return incidence
        parts = [_batch_incidence(b, path, matcher, by_language) for b in _batches(path, by_language)]
    matrices = [p.matrix for p in parts] or [sparse.csr_array((0, len(matcher.vocabulary)), dtype=bool)]
    incidence = Incidence(sparse.vstack(matrices, format="csr"), sum(p.n_null for p in parts))
    if kept:
        with atomic_path(kept) as temporary:
            matrix = incidence.matrix
            np.savez(temporary, indptr=matrix.indptr, indices=matrix.indices.astype(np.int32), n_null=np.int64(incidence.n_null))
    return incidence


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Turns what goes wrong in reading a shard into an error that names it."""
    try:
        yield
    except CorpusError as error:
        raise DamagedShard(str(error)) from error
    except (pa.ArrowException, OSError) as error:
        raise DamagedShard(f"{path}: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from error


def _load(path: Path, n_words: int) -> Incidence | None:
    """An incidence from the cache; None if it is not there or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            indptr, indices, n_null = file["indptr"], file["indices"], int(file["n_null"])
        matrix = sparse.csr_array((np.ones(len(indices), bool), indices, indptr), shape=(len(indptr) - 1, n_words))
        matrix.check_format()
        return Incidence(matrix, n_null, fresh=False)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def _batches(path: Path, by_language: bool) -> Iterator[pa.RecordBatch]:
    """A shard's documents, some megabytes at a time."""
    if kind(path) == "json":
        yield from _json_batches(path)
        return
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        if "text" not in names:
            raise DamagedShard(f"{path}: there is no column 'text', only {', '.join(names)}")
        columns = [c for c in ("text", "lang", "segments") if c in names and (by_language or c == "text")]
        for group in range(file.num_row_groups):
            facts = file.metadata.row_group(group)
            rows = int(BATCH_BYTES * facts.num_rows / max(1, facts.total_byte_size))
            yield from file.iter_batches(min(max(1, rows), ROW_BATCH), row_groups=[group], columns=columns, use_threads=False)


def _json_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Texts of JSON lines, some megabytes at a time."""
    held, size = [], 0
    for number, row in rows(path):
        if not isinstance(row, dict) or "text" not in row or not isinstance(row["text"], (str, type(None))):
            raise DamagedShard(f"{path}: line {number} has no field 'text' with a text")
        # half a surrogate pair, which JSON can hold, is no text: it is replaced as it is read back
        held.append(None if row["text"] is None else row["text"].encode("utf-8", "surrogatepass"))
        size += len(held[-1] or b"")
        if size >= BATCH_BYTES or len(held) == ROW_BATCH:
            yield pa.record_batch({"text": pa.array(held, pa.large_binary())})
            held, size = [], 0
    if held:
        yield pa.record_batch({"text": pa.array(held, pa.large_binary())})


def _batch_incidence(batch: pa.RecordBatch, path: Path, matcher: Matcher, by_language: bool) -> Incidence:
    names, n = batch.schema.names, batch.num_rows
    n_null = batch.column("text").null_count
    if not by_language:
        return Incidence(matcher.incidence(_strings(batch.column("text"))), n_null)
    langs = _tags(batch.column("lang"), TAGS, path) if "lang" in names else [None] * n
    texts, tags, documents = [], [], []
    if "segments" in names:
        flat = pc.list_flatten(batch.column("segments"))
        tags, documents = _tags(pc.struct_field(flat, "lang"), LANGUAGES, path), pc.list_parent_indices(batch.column("segments")).to_pylist()
        if flat.type.get_field_index("text") >= 0:
            texts = _strings(pc.struct_field(flat, "text"))
        else:
            texts = _cut(_strings(batch.column("text")), pc.struct_field(flat, "n_chars").to_pylist(), documents, path)
    for row in sorted(set(range(n)) - set(documents)):  # documents without segments count as one
        if langs[row] not in LANGUAGES:
            raise ValueError(f"{path}: a document of language {langs[row]!r} has no segments, so its words cannot be counted by language")
        texts += _strings(batch.column("text").slice(row, 1))
        tags.append(langs[row])
        documents.append(row)
    return Incidence(matcher.incidence(texts, tags, documents, n), n_null)


def _cut(texts: list[str], lengths: list[int], documents: list[int], path: Path) -> list[str]:
    """Segments that are given by their lengths: read off the document from left to right, one line end between two."""
    parts, at, last = [], 0, -1
    for length, row in zip(lengths, documents):
        at = at if row == last else 0
        if at + length > len(texts[row]):
            raise ValueError(f"{path}: the segments of a document are longer ({at + length} characters) than its text ({len(texts[row])})")
        parts.append(texts[row][at : at + length])
        at, last = at + length + 1, row
    return parts


def _strings(column: pa.Array) -> list[str]:
    """Texts of a column: "" for null, bytes that are no UTF-8 replaced."""
    return [b.decode("utf-8", "replace") if b else "" for b in column.cast(pa.large_binary()).to_pylist()]


def _tags(column: pa.Array, known: Sequence[str], path: Path) -> list[str]:
    tags = column.to_pylist()
    if unknown := set(tags) - set(known):
        raise ValueError(f"{path}: unknown language tag {min(unknown, key=str)!r}; known: {', '.join(known)}")
    return tags


def pair_counts(matrix: sparse.csc_array, a: np.ndarray | slice, b: np.ndarray | slice) -> np.ndarray:
    """Documents with both words of each pair of columns (a[i], b[i]), int64 [n_pairs]."""
    return np.asarray(matrix[:, a].multiply(matrix[:, b]).sum(axis=0), np.int64).ravel()


@dataclass(frozen=True)
class Counts:
    """Document counts of a corpus.

    Attributes:
        n_docs: documents.
        n_word: documents with a word, int64 [language × concept].
        n_both: documents with a concept's words of both languages, int64 [language × language × concept].
        n_null: documents whose text is null; they are counted as empty.
        failed: damaged shards and what is wrong with them; nothing of them is counted.
        n_fresh: shards that were read, not taken from the cache.
    """

    vocabulary: Vocabulary
    n_docs: int
    n_word: np.ndarray
    n_both: np.ndarray
    n_null: int
    failed: tuple[tuple[str, str], ...]
    n_fresh: int

    @property
    def complete(self) -> bool:
        """Whether every shard was counted."""
        return not self.failed

    @classmethod
    def none(cls, vocabulary: Vocabulary) -> Counts:
        """Counts of no document."""
        n_lang, n_concepts = len(vocabulary.languages), len(vocabulary.concept_ids)
        return cls(vocabulary, 0, np.zeros((n_lang, n_concepts), np.int64), np.zeros((n_lang, n_lang, n_concepts), np.int64), 0, (), 0)

    def plus(self, other: Counts) -> Counts:
        """Counts of this and of other documents."""
        return Counts(
            self.vocabulary,
            self.n_docs + other.n_docs,
            self.n_word + other.n_word,
            self.n_both + other.n_both,
            self.n_null + other.n_null,
            self.failed + other.failed,
            self.n_fresh + other.n_fresh,
        )


def count_documents(
    shards: Path | Sequence[Path], vocabulary: Vocabulary, by_language: bool = False, cache: Path | None = None, workers: int | None = None
) -> Counts:
    """Count documents with each word, and with each concept's words of two languages.

    A damaged shard is named in the result and the others are counted.

    Args:
        shards: a folder of Parquet files, or the files.
        vocabulary: the words.
        by_language: a word counts only in segments, or documents, of its language.
        cache: folder where each shard's incidence is kept (:func:`shard_incidence`).
        workers: shards that are counted at a time, in threads: the search runs beside other Python code (default: one a core, at most :data:`WORKERS`).

    Raises:
        ValueError: if there are no shards, or a language tag is wrong.
    """
    shards, matcher = list_shards(shards), Matcher(vocabulary)
    total = Counts.none(vocabulary)
    with ThreadPoolExecutor(workers or min(WORKERS, os.cpu_count() or 1)) as pool:
        try:
            for found in progress(pool.map(lambda path: _count_shard(path, matcher, by_language, cache), shards), "counting documents", len(shards)):
                total = total.plus(found)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return total


def _count_shard(path: Path, matcher: Matcher, by_language: bool, cache: Path | None) -> Counts:
    """Counts of one shard; of a damaged one nothing but its name and what is wrong."""
    try:
        incidence = shard_incidence(path, matcher, by_language, cache)
    except DamagedShard as error:
        return replace(Counts.none(matcher.vocabulary), failed=((path.name, str(error)),))
    return _incidence_counts(incidence, matcher.vocabulary)


def shard_counts(path: Path, matcher: Matcher) -> Counts:
    """Counts of one shard whatever its size, a batch of documents in memory at a time.

    Args:
        path: as for :func:`shard_incidence`.

    Raises:
        DamagedShard: if it cannot be read or lacks ``text``.
    """
    total = Counts.none(matcher.vocabulary)
    with _damage_named(path):
        for batch in _batches(path, False):
            total = total.plus(_incidence_counts(_batch_incidence(batch, path, matcher, False), matcher.vocabulary))
    return total


def _incidence_counts(incidence: Incidence, vocabulary: Vocabulary) -> Counts:
    """Counts of the documents of one shard."""
    n_lang, n_concepts = len(vocabulary.languages), len(vocabulary.concept_ids)
    n_word, n_both = np.zeros((n_lang, n_concepts), np.int64), np.zeros((n_lang, n_lang, n_concepts), np.int64)
    blocks = [slice(i * n_concepts, (i + 1) * n_concepts) for i in range(n_lang)]
    for row in range(0, incidence.matrix.shape[0], ROW_BATCH):  # in batches, so that the copies stay small
        part = incidence.matrix[row : row + ROW_BATCH].tocsc()
        n_word += np.diff(part.indptr).reshape(n_lang, n_concepts)
        for i, j in itertools.combinations(range(n_lang), 2):
            n_both[i, j] += pair_counts(part, blocks[i], blocks[j])
    n_both += n_both.transpose(1, 0, 2)
    n_both[range(n_lang), range(n_lang)] = n_word
    return Counts(vocabulary, incidence.matrix.shape[0], n_word, n_both, incidence.n_null, (), int(incidence.fresh))


def npmi(n_a: np.ndarray, n_b: np.ndarray, n_both: np.ndarray, n_docs: int) -> np.ndarray:
    """Normalised pointwise mutual information, log(p_ab / p_a p_b) / −log p_ab: 1 always together, 0 independent, towards −1 never.

    NaN where n_both = 0. Where n_both = n_docs the quotient is 0/0, and its limit for words that always occur together, 1, is taken.
    """
    a, b, both = (np.asarray(x, np.float64) for x in (n_a, n_b, n_both))
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (np.log(both) + np.log(n_docs) - (np.log(a) + np.log(b))) / (np.log(n_docs) - np.log(both))
    return np.where(both == 0, np.nan, np.where(both == n_docs, 1.0, value))


def cooccurrence_table(counts: Counts, corpus: str, pairs: Sequence[tuple[str, str]] | None = None) -> pd.DataFrame:
    """The table ``cooccurrence``, one row an ordered pair of languages and a concept; words that never occur have their zeros.

    Args:
        corpus: name of the corpus.
        pairs: ordered pairs of languages (all if not given).

    Returns:
        corpus, source_lang, target_lang, concept_id, n_docs, n_source, n_target, n_both, npmi (null where n_both = 0),
        n_expected (n_both of independent words, n_source · n_target / n_docs) and identical: source and target have a
        surface form in common, so that where languages are not told apart they co-occur in any document with it.
    """
    vocabulary, parts = counts.vocabulary, []
    for source, target in pairs if pairs is not None else itertools.permutations(vocabulary.languages, 2):
        i, j = vocabulary.languages.index(source), vocabulary.languages.index(target)
        columns = {"corpus": corpus, "source_lang": source, "target_lang": target, "concept_id": vocabulary.concept_ids, "n_docs": counts.n_docs}
        columns |= {"n_source": counts.n_word[i], "n_target": counts.n_word[j], "n_both": counts.n_both[i, j]}
        columns["npmi"] = npmi(counts.n_word[i], counts.n_word[j], counts.n_both[i, j], counts.n_docs)
        columns["n_expected"] = counts.n_word[i] * counts.n_word[j].astype(np.float64) / max(1, counts.n_docs)
        columns["identical"] = [not set(a).isdisjoint(b) for a, b in zip(vocabulary.forms[i], vocabulary.forms[j])]
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


# --- counts made elsewhere --------------------------------------------------------------------------------------------

WHICH, NUMBERS = ("source_lang", "target_lang", "concept_id"), ("n_docs", "n_source", "n_target", "n_both")
SHARE = ("part", "n_parts", "listing")  # which share of the files a table counts, of how many, of which list of files (:mod:`.count`)


def counts_from(path: Path, wanted: pd.DataFrame, lexicon: pd.DataFrame) -> pd.DataFrame:
    """Counts made elsewhere in the place of some of ours.

    Args:
        path: Parquet or CSV file with the columns of :data:`WHICH` and :data:`NUMBERS`, a row for every ordered pair of languages and concept, 0 where a word does not
            occur. Or a folder of such files, the shares of one corpus that :mod:`.count` counted, which are added up. With ``source_word`` and ``target_word`` it is
            checked what was counted; with ``complete`` (true or false) whether all was.
        wanted: the table ``cooccurrence`` of one corpus, whose rows are looked up.

    Returns:
        ``wanted`` with the counts of the file; ``complete`` is that of the file, true where it does not say.

    Raises:
        ValueError: if the file is not there or damaged; lacks a column, a share or a wanted pair; has one twice; has counts that cannot be; or counted another word than
            the lexicon has.
    """
    path = Path(path)
    visible = [p for p in sorted(path.iterdir()) if p.is_file() and not p.name.startswith(".")] if path.is_dir() else [path]
    if other := [p for p in visible if p.suffix not in (".parquet", ".csv")]:
        raise ValueError(f"{other[0]} is no table of counts (.parquet or .csv)")
    if not visible:
        raise ValueError(f"{path} holds no counts (*.parquet or *.csv)")
    tables = [_read_counts(file, lexicon) for file in visible]
    _require_all_shares(path, visible, tables)
    index = pd.MultiIndex.from_frame(wanted[list(WHICH)])
    found = None
    for file, table in zip(visible, tables):
        if len(absent := index.difference(table.index)):
            raise ValueError(f"{file} lacks {len(absent)} of {len(index)} pairs, the first is {_pair(absent[0])}; a word that does not occur has counts of 0")
        own = table.loc[index, [*NUMBERS, "complete"]]
        found = own if found is None else found[list(NUMBERS)].add(own[list(NUMBERS)]).assign(complete=found.complete & own.complete)
    columns = {c: found[c].to_numpy() for c in (*NUMBERS, "complete")}
    columns["npmi"] = npmi(found.n_source, found.n_target, found.n_both, found.n_docs)
    columns["n_expected"] = found.n_source.to_numpy(float) * found.n_target.to_numpy(float) / found.n_docs.to_numpy(float).clip(1)
    return wanted.assign(**columns)


def _read_counts(file: Path, lexicon: pd.DataFrame) -> pd.DataFrame:
    """One table of counts, checked, with ``complete``; by :data:`WHICH`."""
    try:
        table = pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file, keep_default_na=False)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ValueError(f"{file}: no counts can be read ({str(error).splitlines()[0]})") from error
    if missing := [c for c in (*WHICH, *NUMBERS) if c not in table]:
        raise ValueError(f"{file}: counts need the columns {', '.join((*WHICH, *NUMBERS))}; {missing[0]} is not there")
    if bad := [c for c in NUMBERS if not pd.api.types.is_integer_dtype(table[c])]:
        raise ValueError(f"{file}: the column {bad[0]} is not of whole numbers but {table[bad[0]].dtype}")
    table = table.assign(**{c: table[c].astype("int64") for c in NUMBERS}, complete=table.get("complete", True))
    if table.complete.dtype != bool:
        raise ValueError(f"{file}: the column complete is not of true and false but {table.complete.iloc[0]!r}")
    if (twice := table.duplicated(list(WHICH))).any():
        raise ValueError(f"{file}: {_pair(table[twice].iloc[0][list(WHICH)])} stands twice")
    if table.n_docs.nunique() > 1:
        raise ValueError(f"{file}: n_docs, the documents of the corpus, is not one number but {table.n_docs.min()} to {table.n_docs.max()}")
    words = table[["n_source", "n_target"]]
    if (wrong := (table.n_both < 0) | (table.n_both > words.min(axis=1)) | (words.max(axis=1) > table.n_docs)).any():
        row = table[wrong].iloc[0]
        raise ValueError(f"{file}: the counts of {_pair(row[list(WHICH)])} cannot be: {', '.join(f'{c} {row[c]}' for c in NUMBERS)}")
    sides = [table[[f"{side}_lang", "concept_id", f"n_{side}"]].set_axis(["lang", "concept_id", "n"], axis=1) for side in ("source", "target")]
    of_word = pd.concat(sides).groupby(["lang", "concept_id"]).n.agg(["min", "max"])
    if len(bad := of_word[of_word["min"] < of_word["max"]]):
        raise ValueError(
            f"{file}: the {bad.index[0][0]} word of {bad.index[0][1]!r} has {bad['min'].iloc[0]} documents in one row and {bad['max'].iloc[0]} in another"
        )
    table = table.set_index(list(WHICH))
    turned = table.n_both.swaplevel(0, 1).reindex(table.index)
    if len(bad := table.index[turned.notna() & (turned != table.n_both)]):
        raise ValueError(f"{file}: {_pair(bad[0])} and the same the other way round do not meet in as many documents")
    for side, level in (("source", 0), ("target", 1)):
        if f"{side}_word" in table:
            known = [(i, w, lexicon.at[i[2], i[level]]) for i, w in table[f"{side}_word"].items() if i[2] in lexicon.index]
            if other := [(i, w, ours) for i, w, ours in known if w != ours]:
                (*_, concept), theirs, ours = other[0]
                raise ValueError(f"{file} counted {theirs!r} for {concept}, but the lexicon has {ours!r}: it was made with another lexicon")
    return table


def _require_all_shares(path: Path, files: list[Path], tables: list[pd.DataFrame]) -> None:
    """That the tables count all shares of one list of files, each once."""
    shares = [tuple(t[c].iloc[0] for c in SHARE) if {*SHARE} <= {*t.columns} else None for t in tables]
    if len(tables) > 1 and None in shares:
        raise ValueError(f"{files[shares.index(None)]} does not say which share of the corpus it counts, so it cannot be added to others")
    if shares == [None]:
        return
    of, listing = shares[0][1:]
    for file, own in zip(files, shares):
        if own[1:] != (of, listing):
            raise ValueError(f"{file} counts a share of other files, or another division of them, than {files[0]}")
    numbers = [number for number, _, _ in shares]
    if twice := [i for i in numbers if numbers.count(i) > 1]:
        raise ValueError(f"{path}: share {twice[0]} of {of} is there twice")
    if missing := sorted({*range(1, of + 1)} - {*numbers}):
        raise ValueError(f"{path}: of {of} shares of the corpus, {len(missing)} are not there, the first is --part {missing[0]}/{of}")


def _pair(which: Sequence[str]) -> str:
    source, target, concept = which
    return f"{source}-{target} {concept!r}"
