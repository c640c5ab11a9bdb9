"""Some documents of a corpus as tokens of any tokenizer: what the runs of :mod:`.transfer` read."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from .corpus import shards
from .fingerprint import canonical, sha256_file, sha256_text
from .mixture import CODES, HELD_OUT, Document, TokenCorpus, read_documents

__all__ = ["subset", "encode", "documents_of", "held_out_documents", "thinned"]


def subset(tokens: TokenCorpus, documents: Sequence[int]) -> TokenCorpus:
    """Some documents of a corpus, in the order given; all are read once an epoch and none is held out."""
    documents = np.asarray(documents, np.int64)
    segments = np.concatenate([np.arange(tokens.document_start[d], tokens.document_start[d + 1]) for d in documents] or [np.empty(0, np.int64)])
    ids = [tokens.tokens[tokens.segment_start[s] : tokens.segment_start[s + 1]] for s in segments]
    # units are numbered through the corpus, so a new number is due where the document or the old number changes
    owner = np.repeat(np.arange(len(documents)), tokens.document_start[documents + 1] - tokens.document_start[documents])
    unit = np.cumsum(np.any(np.diff(np.stack([owner, tokens.segment_unit[segments]]), axis=1, prepend=-1) != 0, axis=0), dtype=np.int32)
    return TokenCorpus(
        tokens=np.concatenate(ids) if ids else np.empty(0, tokens.tokens.dtype),
        segment_start=np.concatenate([[0], np.cumsum([len(i) for i in ids], dtype=np.int64)]),
        segment_lang=tokens.segment_lang[segments],
        segment_unit=unit,
        document_start=np.concatenate([[0], np.cumsum(tokens.document_start[documents + 1] - tokens.document_start[documents])]),
        mixed=np.ones(len(documents), bool),
        held_out=np.zeros(len(documents), bool),
        digest=sha256_text(canonical([tokens.digest, documents.tolist()])),
        special=tokens.special,
    )


def encode(documents: Iterable[Document], tokenizer: Tokenizer, special: tuple[int, int, int, int]) -> TokenCorpus:
    """Documents as tokens of any tokenizer; a unit is a run of segments without a repeated language, as in :func:`.mixture.load_tokens`.

    Raises:
        ValueError: if a token does not fit into 16 bits.
    """
    if (size := tokenizer.get_vocab_size()) > 1 << 16:
        raise ValueError(f"a vocabulary of {size} does not fit into 16 bits")
    documents = list(documents)
    segments = [s for d in documents for s in d.segments]
    codes = tokenizer.encode_batch_fast([text for _, text in segments], add_special_tokens=False)
    ids = [np.array([*c.ids, special[3]], np.uint16) for c in codes]
    firsts = []
    for document in documents:
        seen: set[str] = set()
        for number, (lang, _) in enumerate(document.segments):
            firsts.append(number == 0 or lang in seen)
            seen = {lang} if lang in seen else seen | {lang}
    return TokenCorpus(
        tokens=np.concatenate(ids) if ids else np.empty(0, np.uint16),
        segment_start=np.concatenate([[0], np.cumsum([len(i) for i in ids], dtype=np.int64)]),
        segment_lang=np.array([CODES.index(la) for la, _ in segments], np.uint8),
        segment_unit=np.cumsum(firsts, dtype=np.int32),
        document_start=np.concatenate([[0], np.cumsum([len(d.segments) for d in documents], dtype=np.int64)]),
        mixed=np.ones(len(documents), bool),
        held_out=np.zeros(len(documents), bool),
        digest=sha256_text(canonical([sha256_text(tokenizer.to_str()), [[d.doc_id, d.segments] for d in documents]])),
        special=special,
    )


def documents_of(folder: Path, doc_ids: Sequence[str]) -> list[Document]:
    """Some documents of a corpus, in the order given.

    Raises:
        ValueError: if one is not there.
    """
    wanted = dict.fromkeys(doc_ids)
    for document in itertools.chain.from_iterable(map(read_documents, shards(folder))):
        if document.doc_id in wanted:
            wanted[document.doc_id] = document
    if missing := [i for i, d in wanted.items() if d is None]:
        raise ValueError(f"{folder} has no document {missing[0]!r} ({len(missing)} of {len(wanted)} are missing)")
    return [wanted[i] for i in doc_ids]


def held_out_documents(folder: Path) -> list[Document]:
    """The documents that no training on this corpus ever reads (as :func:`.mixture.load_tokens` has it)."""
    found = itertools.chain.from_iterable(map(read_documents, shards(folder)))
    return [d for d in found if not d.mixed and int(sha256_text(d.doc_id)[:12], 16) < HELD_OUT * 16**12]


def thinned(folder: Path, share: float, cache: Path) -> Path:
    """A corpus with a share of the documents, drawn by a hash of their ids, for short trials; the corpus itself where the share is 1.

    Args:
        folder: corpus.
        cache: where the smaller corpus is made, or found.

    Raises:
        ValueError: if the share is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"a share of {share} documents cannot be kept; it must be above 0 and at most 1")
    if share == 1:
        return folder
    contents = sha256_text(canonical([sha256_file(path) for path in shards(folder)]))
    made = Path(cache) / f"{contents[:16]}-{share:g}"
    if not made.is_dir():
        made.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".thinned-", dir=made.parent) as scratch:
            part = Path(scratch) / "corpus"
            part.mkdir()
            for path in shards(folder):
                table = pq.read_table(path)
                kept = [int(sha256_text("thin " + i)[:12], 16) < share * 16**12 for i in table.column("doc_id").to_pylist()]
                pq.write_table(table.filter(kept), part / path.name)
            shutil.rmtree(made, ignore_errors=True)
            os.replace(part, made)
    return made
