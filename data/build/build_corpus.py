"""Build data/corpus/*.parquet, data/corpus_dictionary.parquet and data/heldout/parallel.parquet.

Run from the repository root::

    python data/build/build_corpus.py           # rebuild everything
    python data/build/build_corpus.py --check   # rebuild in a temporary folder and compare checksums
"""

from __future__ import annotations

import argparse
import hashlib
import random
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import corpus_dictionary
import corpus_readers
import corpus_report
import fetch
import pyarrow as pa
import pyarrow.parquet as pq
from deduplicate import Needles, near_duplicates
from extract_base import LANGUAGES, Block, Item, clean_item, document_fits, fold
from extract_catalogues import catalogue_items
from extract_pairs import declaration

HERE = Path(__file__).resolve().parent
DATA = HERE.parent
SOURCES = HERE / "corpus.sources.toml"
DICTIONARY_SOURCES = HERE / "lexicon.sources.toml"
SEED = 20250523
MIXED_SHARE = 0.5  # of the aligned units
LARGEST_SHARE = 0.25  # of all characters, for any source
# Characters to which a source is cut by drawing documents: technical, dictionary-like or archaic text.
CAPS = {
    "libreoffice-help": 10_000_000,
    "littre": 5_000_000,
    "gcide": 4_000_000,
    "manpages": 4_000_000,
    "anarchist-faq": 2_500_000,
    "bible": 4_000_000,
    "strings-libreoffice": 1_000_000,
    "lilypond-manual": 2_000_000,
    "gimp-help": 3_000_000,
    "mediawiki": 1_500_000,
    "linux-kernel-docs": 1_500_000,
    "chinese-poetry": 1_000_000,
    "apache-manual": 1_800_000,
}
SHORTEST = {"en": 60, "fr": 60, "zh": 20, "ja": 25, "mixed": 60}  # characters of a document
SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        ("source", pa.string()),
        ("lang", pa.string()),
        ("text", pa.string()),
        ("segments", pa.list_(pa.struct([("lang", pa.string()), ("n_chars", pa.int32())]))),
        ("license", pa.string()),
    ]
)
HELDOUT_SCHEMA = pa.schema([(name, pa.string()) for name in ("sentence_id", "source", *LANGUAGES)])


@dataclass
class Document:
    """A row of the corpus; segments are (language, text)."""

    doc_id: str
    source: str
    language: str
    segments: list[tuple[str, str]]
    licence: str

    @property
    def text(self) -> str:
        """The whole text: the segments, one a line (a segment may have several lines)."""
        return "\n".join(text for _, text in self.segments)


def number_of(*parts: str) -> int:
    """Return a pseudo-random number that depends on the seed and the given strings only."""
    return int.from_bytes(hashlib.sha256("\0".join((str(SEED), *parts)).encode()).digest()[:8])


def is_mixed(source: str, key: str) -> bool:
    """Draw whether a unit goes into a mixed document."""
    return number_of("side", source, key) < MIXED_SHARE * 2**64


# ---- from blocks to documents ----


def drop_repeated(blocks: Iterable[Block]) -> list[Block]:
    """Remove from sections the lines that a source has had before, such as standing headings and notices."""
    seen: set[tuple[str, str, str]] = set()
    result = []
    for block in blocks:
        items: list[Item] = []
        for item in block.items:
            keys = {language: (block.source, language, fold(text)) for language, text in item.items()}
            new = {language: text for language, text in item.items() if keys[language] not in seen}
            if block.group and new:
                new = item  # one new text makes a sentence pair worth keeping
            seen.update(keys.values())
            if new:
                items.append(new)
        if items:
            result.append(Block(block.source, block.key, block.licence, items, block.group))
    return result


def group_sentences(blocks: list[Block]) -> Iterator[tuple[Block, bool]]:
    """Join one-sentence blocks of a source to documents; both sides (mixed or not) have no sentence in common."""
    side_of: dict[tuple[str, str], bool] = {}
    sides: dict[bool, list[Block]] = {True: [], False: []}
    for block in blocks:
        keys = [(language, fold(text)) for language, text in block.items[0].items()]
        known = [side_of[key] for key in keys if key in side_of]
        side = known[0] if known else is_mixed(block.source, block.key)
        if len(set(known)) > 1:
            continue  # its texts are already on both sides
        side_of.update(dict.fromkeys(keys, side))
        sides[side].append(block)
    for side, members in sides.items():
        random.Random(f"{SEED}:{blocks[0].source}:{side}").shuffle(members)
        size = blocks[0].group
        for start in range(0, len(members), size):
            part = members[start : start + size]
            yield Block(part[0].source, f"{'a' if side else 'b'}{start // size + 1:05d}", part[0].licence, [block.items[0] for block in part], size), side


def mixed_document(block: Block) -> Document:
    """Interleave: each item's texts follow each other, in an order drawn for each item."""
    segments = []
    for number, item in enumerate(block.items):
        languages = [language for language in LANGUAGES if language in item]
        random.Random(number_of("order", block.source, block.key, str(number))).shuffle(languages)
        segments += [(language, item[language]) for language in languages]
    return Document(f"{block.source}:{block.key}:mixed", block.source, "mixed", segments, block.licence)


def plain_documents(block: Block, written: set[tuple[str, str]]) -> Iterator[Document]:
    """One document a language; a sentence that occurs in several pairs is written once."""
    for language in LANGUAGES:
        lines = [item[language] for item in block.items if language in item and (language, item[language]) not in written]
        if block.group:
            lines = list(dict.fromkeys(lines))
            written.update((language, line) for line in lines)
        if lines:
            yield Document(f"{block.source}:{block.key}:{language}", block.source, language, [(language, "\n".join(lines))], block.licence)


def to_documents(blocks: list[Block]) -> Iterator[Document]:
    """Make the documents of one source."""
    grouped = [block for block in blocks if block.group]
    decided = [(block, is_mixed(block.source, block.key)) for block in blocks if not block.group]
    if grouped:
        decided += group_sentences(grouped)
    written: set[tuple[str, str]] = set()
    for block, mixed in decided:
        aligned = [item for item in block.items if len(item) > 1]
        if mixed and len(aligned) >= 0.5 * len(block.items):
            yield mixed_document(block)
        else:
            yield from plain_documents(block, written)


def fits(document: Document) -> bool:
    """Check length and language."""
    if len(document.text) < SHORTEST[document.language]:
        return False
    return document.language == "mixed" or document_fits(document.text, document.language)


def apply_caps(documents: list[Document], slack: float = 1.0) -> list[Document]:
    """Draw documents of the sources that have a cap, as many as fit into ``slack`` times the cap."""
    by_source: dict[str, list[Document]] = defaultdict(list)
    for document in documents:
        by_source[document.source].append(document)
    kept = []
    for source, members in by_source.items():
        left = slack * CAPS.get(source, 2**62)
        for document in sorted(members, key=lambda d: number_of("cap", d.doc_id)):
            if len(document.text) <= left:
                left -= len(document.text)
                kept.append(document)
    return kept


def make_corpus(blocks: Iterable[Block], heldout: dict[str, list[str]]) -> tuple[list[Document], Counter]:
    """Make all documents.

    Args:
        blocks: Content units of all sources.
        heldout: Held-out texts by language.

    Returns:
        The documents in their final order, and how many were dropped for which reason.
    """
    by_source: dict[str, list[Block]] = defaultdict(list)
    for block in drop_repeated(blocks):
        by_source[block.source].append(block)
    made = [document for source in sorted(by_source) for document in to_documents(by_source[source])]
    dropped: Counter = Counter(made=len(made))
    made = apply_caps(made, slack=1.4)  # the rest would not be drawn below, and takes time
    dropped["far over the cap"] = dropped["made"] - len(made)
    documents = [document for document in made if fits(document)]
    dropped["length or language"] = len(made) - len(documents)
    needles = Needles(heldout)
    clear = [document for document, found in zip(documents, needles.find([d.text for d in documents])) if not found]
    dropped["held-out sentence"] = len(documents) - len(clear)
    unique = []
    for language in (*LANGUAGES, "mixed"):
        members = [document for document in clear if document.language == language]
        unique += [document for document, repeated in zip(members, near_duplicates([d.text for d in members])) if not repeated]
    dropped["near-duplicate"] = len(clear) - len(unique)
    kept = apply_caps(unique)
    dropped["cap"] = len(unique) - len(kept)
    return sorted(kept, key=lambda d: (d.language, d.source, d.doc_id)), dropped


# ---- held-out sentences ----


def make_heldout(folders: dict[str, Path]) -> list[dict[str, str]]:
    """Return distinct four-way sentences of whole Wesnoth campaigns and of the UDHR."""
    found: list[tuple[str, str, Item]] = []
    wesnoth = corpus_readers.some(folders, "wesnoth")
    for domain in corpus_readers.HELDOUT_CAMPAIGNS:
        for key, item in catalogue_items(wesnoth, min_words=3, game=True, only=(domain,)):
            found.append((domain, key, item))
    found += [("udhr", f"udhr.{number}", item) for number, item in enumerate(declaration(folders["udhr"]))]
    rows, seen = [], set()
    for source, key, item in found:
        item = clean_item(item)
        keys = {(language, fold(text)) for language, text in item.items()}
        long_enough = all(10 <= len(text) <= 400 for text in item.values()) or source == "udhr" and all(10 <= len(t) <= 700 for t in item.values())
        if len(item) == 4 and long_enough and max(map(len, item.values())) <= 400 and not keys & seen:
            seen |= keys
            rows.append({"sentence_id": key, "source": source, **item})
    return rows


# ---- writing ----


def to_table(documents: list[Document]) -> pa.Table:
    """Make the table of some documents."""
    columns = {
        "doc_id": [d.doc_id for d in documents],
        "source": [d.source for d in documents],
        "lang": [d.language for d in documents],
        "text": [d.text for d in documents],
        "segments": [[{"lang": language, "n_chars": len(text)} for language, text in d.segments] for d in documents],
        "license": [d.licence for d in documents],
    }
    return pa.Table.from_pydict(columns, schema=SCHEMA)


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write a table as one row group with large pages, so that zstd sees repetitions far apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"compression": "zstd", "compression_level": 19, "data_page_size": 64 * 2**20, "row_group_size": 2**20, "store_schema": False}
    pq.write_table(table, path, use_dictionary=["source", "lang", "license", "segments.list.element.lang"], **options)


def build(target: Path) -> Counter:
    """Build all parquet files below a folder and return the counts of dropped documents."""
    folders = fetch.fetch_all(SOURCES)
    heldout = make_heldout(folders)
    write_parquet(pa.Table.from_pylist(heldout, schema=HELDOUT_SCHEMA), target / "heldout" / "parallel.parquet")
    print(f"{len(heldout)} held-out sentences", flush=True)
    texts = {language: [row[language] for row in heldout] for language in LANGUAGES}
    documents, dropped = make_corpus(corpus_readers.all_blocks(folders), texts)
    print(f"{len(documents)} documents; {dict(dropped)}", flush=True)
    for language in (*LANGUAGES, "mixed"):
        members = [document for document in documents if document.language == language]
        write_parquet(to_table(members), target / "corpus" / f"{language}.parquet")
    entries = [Document(*fields) for fields in corpus_dictionary.entries(fetch.fetch_all(DICTIONARY_SOURCES), SEED)]
    needles = Needles(texts)
    entries = [entry for entry, found in zip(entries, needles.find([e.text for e in entries])) if not found]
    write_parquet(to_table(entries), target / "corpus_dictionary.parquet")
    return dropped


def built_files(root: Path) -> list[Path]:
    """List the files that a build writes, relative to its root."""
    names = [f"corpus/{language}.parquet" for language in (*LANGUAGES, "mixed")]
    return [root / name for name in (*names, "corpus_dictionary.parquet", "heldout/parallel.parquet")]


def check() -> None:
    """Rebuild in a temporary folder and compare with the committed files.

    Raises:
        ValueError: A file differs.
    """
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder))
        for ours, theirs in zip(built_files(DATA), built_files(Path(folder))):
            if fetch.sha256_of(ours) != fetch.sha256_of(theirs):
                raise ValueError(f"{ours.name}: the committed file differs from a fresh build")
            print(f"{ours.name}: the same", flush=True)


def main() -> None:
    """Build, or check, by the command line."""
    parser = argparse.ArgumentParser(description="Build the text corpus and the held-out sentences.")
    parser.add_argument("--check", action="store_true", help="rebuild in a temporary folder and compare checksums")
    if parser.parse_args().check:
        check()
        return
    dropped = build(DATA)
    fetch.write_section(DATA / "README.md", "corpus", corpus_report.section(DATA, SOURCES, dropped, CAPS))


if __name__ == "__main__":
    main()
