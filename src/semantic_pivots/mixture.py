"""From the corpus to rows of tokens: what the known-corpus model reads, in which order and how often.

Documents are tokenized once (:func:`load_tokens`). Each epoch is then made anew from seed and number (:func:`epoch_rows`):

- Mixed documents are all read; of the others a share, another one every epoch.
- Translations stand in another order every time: a *unit* is a sentence with its translations, and the languages within
  a unit are shuffled. Units are not marked in the corpus; a unit is taken to be a run of segments without a repeated language.
- A document is its segments, one line end between two, closed by </s>. One that does not fit is cut after a unit, else after a
  line; each piece begins with <s>.
- Pieces are packed into rows of one length. A token sees its own piece only (:class:`Batch`).

A few documents of one language, drawn by a hash of their ids, are never read; the validation loss is taken on them.
"""

from __future__ import annotations

import hashlib
import itertools
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from .artifacts import atomic_path
from .corpus import shards
from .fingerprint import canonical, sha256_file, sha256_text
from .progress import progress
from .task import LANGUAGES
from .tokenizer import BOS, EOS, PAD

__all__ = [
    "CODES",
    "Mix",
    "Document",
    "TokenCorpus",
    "Rows",
    "Batch",
    "read_documents",
    "balanced_sample",
    "corpus_digest",
    "load_tokens",
    "epoch_rows",
    "text_rows",
]

VERSION = 1  # of the token cache: raise it when a change here changes what is kept
HELD_OUT = 0.005  # share of the one-language documents that are never read
CODES = tuple(LANGUAGES)
COLUMNS = ["doc_id", "lang", "text", "segments"]
SHARD_OF_MIXED = "mixed"  # see Document.mixed


@dataclass(frozen=True)
class Mix:
    """How often documents are read in an epoch: 1 is once, 1/3 a third of them (another third each epoch), 2 twice."""

    mixed: float = 1.0
    single: float = 1 / 3

    def __post_init__(self):
        for field in fields(self):
            if getattr(self, field.name) < 0:
                raise ValueError(f"the weight {field.name} is {getattr(self, field.name)}; it cannot be negative")


@dataclass(frozen=True)
class Document:
    """A document of the corpus.

    Attributes:
        mixed: whether it is weighted as mixed: by its language, or because it stands in a shard named ``mixed…``. The pieces of a
            mixed document that was taken apart may be of one language and must be read as often as before.
        segments: (language, text), in order.
    """

    doc_id: str
    mixed: bool
    segments: tuple[tuple[str, str], ...]


def read_documents(path: Path) -> Iterator[Document]:
    """Documents of one shard; segments are read off the text from left to right, one line end between two.

    Raises:
        ValueError: if the shard is damaged or lacks a column, a language is unknown, or segments do not fit their text.
    """
    try:
        rows = pq.read_table(path, columns=COLUMNS).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is damaged or lacks one of the columns {', '.join(COLUMNS)} ({str(error).splitlines()[0]})") from error
    for row in rows:
        segments, at = [], 0
        for segment in row["segments"]:
            if segment["lang"] not in LANGUAGES:
                raise ValueError(f"{path}: document {row['doc_id']} has a segment of unknown language {segment['lang']!r}; known: {', '.join(LANGUAGES)}")
            segments.append((segment["lang"], row["text"][at : at + segment["n_chars"]]))
            at += segment["n_chars"] + 1
        if at != len(row["text"]) + 1:
            raise ValueError(f"{path}: the segments of document {row['doc_id']} make up {at - 1} characters, its text has {len(row['text'])}")
        yield Document(row["doc_id"], row["lang"] == "mixed" or path.stem.startswith(SHARD_OF_MIXED), tuple(segments))


def balanced_sample(folder: Path | None = None, characters: int | None = None) -> list[str]:
    """Segments of the corpus, as many characters of every language, in an order that depends on document ids only.

    Args:
        folder: corpus (default: data/corpus).
        characters: of each language; as many as the smallest language has if not given.
    """
    found: dict[str, list[tuple[str, str]]] = {la: [] for la in LANGUAGES}
    for document in itertools.chain.from_iterable(map(read_documents, shards(folder))):
        key = sha256_text(document.doc_id)
        for lang, text in document.segments:
            found[lang].append((key, text))
    limit = characters or min(sum(len(t) for _, t in f) for f in found.values())
    sample = []
    for segments in found.values():
        segments.sort(key=lambda s: s[0])  # stable: the segments of a document keep their order
        totals = itertools.accumulate(len(t) for _, t in segments)
        sample += [t for (_, t), total in zip(segments, totals) if total <= limit]
    return sample


# --- tokens, made once ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TokenCorpus:
    """A corpus as token ids.

    Attributes:
        tokens: ids, uint16; a line end follows every segment.
        segment_start: where each segment begins in ``tokens``, int64 [segments + 1].
        segment_lang: index of its language in CODES, uint8 [segments].
        segment_unit: number of its unit, ascending through the corpus, int32 [segments].
        document_start: where each document begins among the segments, int64 [documents + 1].
        mixed: whether a document is weighted as mixed, bool [documents].
        held_out: whether it is kept for validation, bool [documents].
        digest: sha256 of the corpus (:func:`corpus_digest`).
        special: ids of <pad>, <s>, </s> and the line end.
    """

    tokens: np.ndarray
    segment_start: np.ndarray
    segment_lang: np.ndarray
    segment_unit: np.ndarray
    document_start: np.ndarray
    mixed: np.ndarray
    held_out: np.ndarray
    digest: str
    special: tuple[int, int, int, int]

    def __len__(self) -> int:
        return len(self.mixed)

    def lengths(self) -> np.ndarray:
        """Tokens of each document, int64 [documents]."""
        return np.diff(self.segment_start[self.document_start])


def corpus_digest(folder: Path | None = None, cache: Path | None = None) -> str:
    """sha256 of what a corpus says: its documents in order. How the files were compressed makes no difference.

    Args:
        folder: corpus (default: data/corpus).
        cache: folder that keeps the digest of these very files; nothing is kept if not given.
    """
    files = shards(folder)
    # the names too: a shard's can make its documents mixed
    kept = Path(cache) / f"digest-{sha256_text(canonical([VERSION, [(p.stem, sha256_file(p)) for p in files]]))[:24]}.txt" if cache else None
    if kept and kept.is_file() and len(known := kept.read_text()) == 64:
        return known
    digest = hashlib.sha256()
    for document in itertools.chain.from_iterable(map(read_documents, files)):
        digest.update(canonical([document.doc_id, document.mixed, document.segments]).encode())
    if kept:
        with atomic_path(kept) as path:
            path.write_text(digest.hexdigest())
    return digest.hexdigest()


def load_tokens(tokenizer: Tokenizer, folder: Path | None = None, cache: Path | None = None) -> TokenCorpus:
    """Tokenize a corpus, or take the tokens from the cache.

    Args:
        folder: corpus (default: data/corpus).
        cache: folder of token files, one a corpus and tokenizer; nothing is kept if not given.

    Raises:
        ValueError: if a shard is damaged, or the vocabulary does not fit into 16 bits.
    """
    if (size := tokenizer.get_vocab_size()) > 1 << 16:
        raise ValueError(f"a vocabulary of {size} does not fit into 16 bits")
    digest = corpus_digest(folder, cache)
    special = _special(tokenizer)
    key = sha256_text(canonical([digest, sha256_text(tokenizer.to_str()), CODES, HELD_OUT, VERSION]))
    kept = Path(cache) / f"tokens-{key[:24]}.npz" if cache else None
    if kept and (arrays := _load(kept)):
        return TokenCorpus(**arrays, digest=digest, special=special)
    parts = [_tokenize(path, tokenizer, special[3]) for path in progress(shards(folder), "tokenizing the corpus")]
    arrays = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    counts = {"segment_start": arrays.pop("segment_length"), "document_start": arrays.pop("document_length")}
    arrays |= {name: np.concatenate([[0], np.cumsum(n)]) for name, n in counts.items()}
    # a new unit where the document changes or the shard's own numbering steps on
    first = np.zeros(len(arrays["segment_lang"]), bool)
    first[arrays["document_start"][:-1][counts["document_start"] > 0]] = True
    arrays["segment_unit"] = np.cumsum(first | arrays.pop("unit_first"), dtype=np.int32)
    if kept:
        with atomic_path(kept) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **arrays)
    return TokenCorpus(**arrays, digest=digest, special=special)


def _special(tokenizer: Tokenizer) -> tuple[int, int, int, int]:
    ids = tuple(tokenizer.token_to_id(t) for t in (PAD, BOS, EOS, "\n"))
    if None in ids:
        raise ValueError(f"the tokenizer lacks one of {PAD}, {BOS}, {EOS} and the line end")
    return ids


def _load(path: Path) -> dict[str, np.ndarray] | None:
    """Arrays of the cache; None if they are not there or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    return arrays if set(arrays) == {f.name for f in fields(TokenCorpus)} - {"digest", "special"} else None


def _tokenize(path: Path, tokenizer: Tokenizer, line_end: int) -> dict[str, np.ndarray]:
    tokenizer.encode_special_tokens = True  # "</s>" written in a text is text
    langs, firsts, texts, n_segments, mixed, held_out = [], [], [], [], [], []
    for document in read_documents(path):
        seen: set[str] = set()
        for lang, text in document.segments:
            firsts.append(lang in seen)
            seen = {lang} if lang in seen else seen | {lang}
            langs.append(CODES.index(lang))
            texts.append(text)
        n_segments.append(len(document.segments))
        mixed.append(document.mixed)
        held_out.append(not document.mixed and int(sha256_text(document.doc_id)[:12], 16) < HELD_OUT * 16**12)
    ids, lengths = [], []
    for start in range(0, len(texts), 4096):
        for code in tokenizer.encode_batch_fast(texts[start : start + 4096], add_special_tokens=False):
            ids.append(np.array([*code.ids, line_end], np.uint16))
            lengths.append(len(ids[-1]))
    return {
        "tokens": np.concatenate(ids) if ids else np.zeros(0, np.uint16),
        "segment_length": np.array(lengths, np.int64),
        "segment_lang": np.array(langs, np.uint8),
        "unit_first": np.array(firsts, bool),
        "document_length": np.array(n_segments, np.int64),
        "mixed": np.array(mixed, bool),
        "held_out": np.array(held_out, bool),
    }


# --- rows of an epoch -------------------------------------------------------------------------------------------------


class Batch(NamedTuple):
    """Some rows, all [rows, context].

    Attributes:
        input_ids: int64.
        labels: the token that follows, int64; -100 after the end of a piece and in padding.
        position_ids: position within the piece, int64.
        piece: number of the piece within the row, 1, 2, …, int64; 0 is padding. A token sees the earlier ones of its own piece.
    """

    input_ids: np.ndarray
    labels: np.ndarray
    position_ids: np.ndarray
    piece: np.ndarray


@dataclass(frozen=True)
class Rows:
    """Packed rows: ids uint16 and piece numbers uint8 (0 is padding), both [rows, context]."""

    ids: np.ndarray
    piece: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def n_tokens(self) -> int:
        """Tokens without padding."""
        return int(np.count_nonzero(self.piece))

    def batch(self, start: int, stop: int) -> Batch:
        """Rows ``start`` (inclusive) to ``stop`` (exclusive)."""
        ids, piece = self.ids[start:stop].astype(np.int64), self.piece[start:stop].astype(np.int64)
        labels = np.full_like(ids, -100)
        follows = (piece[:, 1:] == piece[:, :-1]) & (piece[:, 1:] > 0)
        labels[:, :-1][follows] = ids[:, 1:][follows]
        at = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
        begins = np.concatenate([np.ones((len(ids), 1), bool), piece[:, 1:] != piece[:, :-1]], axis=1)
        return Batch(ids, labels, at - np.maximum.accumulate(np.where(begins, at, 0), axis=1), piece)


def epoch_rows(corpus: TokenCorpus, seed: int, epoch: int, context: int = 256, mix: Mix = Mix(), held_out: int | None = None) -> Rows:  # noqa: B008
    """Rows of one epoch; the same seed, epoch and corpus give the same rows.

    Args:
        context: tokens of a row, at most 256.
        held_out: instead of the documents for training, the held-out ones of this language (index in CODES), each once.

    Raises:
        ValueError: if the context is out of range.
    """
    if not 8 <= context <= 256:  # piece numbers are kept in a byte
        raise ValueError(f"the context is {context}; it must be 8 to 256")
    random = np.random.default_rng([seed, epoch])
    if held_out is None:
        documents = random.permutation(_drawn(corpus, seed, epoch, mix))
    else:
        lang = corpus.segment_lang[np.minimum(corpus.document_start[:-1], len(corpus.segment_lang) - 1)]
        documents = np.flatnonzero(corpus.held_out & (lang == held_out))
    segments, n_segments = _ragged(corpus.document_start, documents)
    owner = np.repeat(np.arange(len(documents)), n_segments)
    segments = segments[np.lexsort((random.random(len(segments)), corpus.segment_unit[segments], owner))]
    places, lengths = _ragged(corpus.segment_start, segments)
    stream, segment_stop = corpus.tokens[places], np.cumsum(lengths)
    stops = np.concatenate([[0], segment_stop])[np.cumsum(n_segments)]
    stream[stops[np.diff(stops, prepend=0) > 0] - 1] = corpus.special[2]  # </s> for the last line end
    unit_ends = segment_stop[np.append(np.diff(corpus.segment_unit[segments]) != 0, True)] if len(segments) else segment_stop
    return _pack(stream, *_cut(stream, stops, unit_ends, corpus.special[3], context - 1), corpus.special, context, random)


def text_rows(tokenizer: Tokenizer, texts: Sequence[str], context: int = 256) -> Rows:
    """Rows of some texts, each once, closed by </s>."""
    special = _special(tokenizer)
    ids = [[*code.ids, special[2]] for code in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
    stream, stops = np.array(list(itertools.chain.from_iterable(ids)), np.uint16), np.cumsum([len(i) for i in ids], dtype=np.int64)
    return _pack(stream, *_cut(stream, stops, stops, special[3], context - 1), special, context, np.random.default_rng(0))


def _drawn(corpus: TokenCorpus, seed: int, epoch: int, mix: Mix) -> np.ndarray:
    """Documents of an epoch, repeated as often as they are read.

    Each document has a fixed place u in [0, 1), and after e epochs it was read floor(e · weight + u) times: no document is
    read twice before all the others of its kind were read once.
    """
    chosen = []
    for kind, weight in enumerate((mix.single, mix.mixed)):
        documents = np.flatnonzero((corpus.mixed == kind) & ~corpus.held_out)
        place = np.random.default_rng([seed, 1, kind, 7]).permutation(len(documents)) / max(1, len(documents))
        times = np.floor((epoch + 1) * weight + place).astype(int) - np.floor(epoch * weight + place).astype(int)
        chosen.append(np.repeat(documents, times))
    return np.concatenate(chosen)


def _ragged(start: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Members of the chosen ranges start[i] … start[i + 1], one range after the other, and how many each has."""
    lengths = start[chosen + 1] - start[chosen]
    return np.repeat(start[chosen] - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum()), lengths


def _cut(stream: np.ndarray, stops: np.ndarray, unit_ends: np.ndarray, line_end: int, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut documents into pieces of at most ``limit`` tokens; returns where pieces start and stop.

    The cut is after the last unit that fits if that leaves a piece at least half full, else after the last line, else anywhere.
    """
    lines = np.flatnonzero(stream == line_end) + 1
    starts = np.concatenate([[0], stops[:-1]]) if len(stops) else stops
    pieces = []
    for start, stop in zip(starts.tolist(), stops.tolist()):
        while stop - start > limit:
            end = start + limit
            unit = unit_ends[np.searchsorted(unit_ends, end, "right") - 1]
            line = lines[np.searchsorted(lines, end, "right") - 1] if len(lines) else 0
            cut = int(unit) if start + limit // 2 <= unit <= end else int(line) if start < line <= end else end
            pieces.append((start, cut))
            start = cut
        if stop > start:
            pieces.append((start, stop))
    return tuple(np.array(pieces, np.int64).reshape(-1, 2).T)


def _pack(stream: np.ndarray, starts: np.ndarray, stops: np.ndarray, special: tuple[int, ...], context: int, random: np.random.Generator) -> Rows:
    """Put pieces, each with <s> before it, into rows: longest first, each where it leaves the least room; rows are shuffled."""
    lengths = stops - starts + 1
    order = random.permutation(len(lengths))
    order = order[np.argsort(-lengths[order], kind="stable")]
    row_of, column_of, number_of = (np.zeros(len(order), np.int64) for _ in range(3))
    rooms: list[list[int]] = [[] for _ in range(context + 1)]  # rows by the room that is left
    open_rooms, n_rows, count = 0, 0, []  # open_rooms: bit r is set if there is a row with room r
    for piece in order.tolist():
        length = int(lengths[piece])
        fitting = open_rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            row = rooms[room].pop()
            open_rooms &= ~(1 << room) if not rooms[room] else -1
        else:
            room, row, n_rows = context, n_rows, n_rows + 1
            count.append(0)
        count[row] += 1
        row_of[piece], column_of[piece], number_of[piece] = row, context - room, count[row]
        rooms[room - length].append(row)
        open_rooms |= 1 << (room - length)
    row_of = random.permutation(n_rows)[row_of] if n_rows else row_of
    ids, numbers = np.full(n_rows * context, special[0], np.uint16), np.zeros(n_rows * context, np.uint8)
    first = row_of * context + column_of
    ids[first] = special[1]
    inner = np.repeat(first + 1, stops - starts) + _within(stops - starts)
    ids[inner] = stream[np.repeat(starts, stops - starts) + _within(stops - starts)]
    numbers[np.concatenate([first, inner])] = np.concatenate([number_of, np.repeat(number_of, stops - starts)])
    return Rows(ids.reshape(n_rows, context), numbers.reshape(n_rows, context))


def _within(lengths: np.ndarray) -> np.ndarray:
    """0, 1, … for each length, one after the other."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
