"""Any corpus and any lexicon, as the corpus modules read them: JSON lines and Parquet files, line by line told apart by language."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .artifacts import ROOT
from .matching import Vocabulary, read_forms, surface_forms
from .progress import progress
from .task import LANGUAGES, read_lexicon

__all__ = ["SHARD", "SelectError", "corpus_files", "read_corpus", "line_languages", "read_words"]

CODES = tuple(LANGUAGES)
SHARD = 50_000  # documents of a shard
UNKNOWN = "not stated"
NAMES = {"id": ("id", "doc_id"), "source": ("source",), "license": ("license", "licence"), "lang": ("lang", "language"), "segments": ("segments",)}
ISO_639_3 = {"eng": "en", "fra": "fr", "fre": "fr", "zho": "zh", "chi": "zh", "cmn": "zh", "jpn": "ja"}
HAN, KANA, LATIN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]"), re.compile(r"[\u3041-\u30ff]"), re.compile(r"[A-Za-z\u00c0-\u024f]+(?:['’][A-Za-z])?")
SIMPLIFIED = set("们这说对时为过还进从见长门问间关开东车书马鱼语请让谁话谢试词认识么吗呢吧啊你她很给样应该发设选择显图页钮单击")  # no Japanese text has them
FUNCTION = {
    "en": set("the of and to in is that it for was on are with as be this have from or had by but not what all were we when your can said there".split()),
    "fr": set("le la les de des du et un une est que qui dans pour pas sur au avec ce il elle sont par plus ne se vous nous aux été cette".split()),
}
FIELDS = pa.schema(
    [("doc_id", pa.string()), ("source", pa.string()), ("license", pa.string()), ("lang", pa.string()), ("text", pa.large_string())]
    + [("segments", pa.list_(pa.struct([("lang", pa.string()), ("n_chars", pa.int64())])))]
)  # fmt: skip


class SelectError(ValueError):
    """The selection cannot be made; the message names what is wrong and the value seen."""


def corpus_files(paths: Sequence[Path]) -> list[Path]:
    """Files of a corpus in the order of their names.

    Raises:
        SelectError: if one is not there, or nothing readable is found.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise SelectError(f"{path} is not there")
        found += sorted(p for p in path.rglob("*") if _kind(p)) if path.is_dir() else [path]
    if bad := [p for p in found if not _kind(p)]:
        raise SelectError(f"{bad[0]} is neither JSON lines (.jsonl, .json, .gz) nor Parquet")
    if not found:
        raise SelectError(f"{', '.join(map(str, paths))}: there is no .jsonl, .jsonl.gz, .json.gz or .parquet file")
    return found


def _kind(path: Path) -> str:
    name = path.name.removesuffix(".gz")
    return "parquet" if name.endswith(".parquet") else "json" if name.endswith((".jsonl", ".json")) and not name.startswith(".") else ""


def _rows(path: Path) -> Iterator[dict]:
    try:
        if _kind(path) == "parquet":
            for batch in pq.ParquetFile(path).iter_batches(4096):
                yield from batch.to_pylist()
            return
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as stream:
            for line in stream:
                if line.strip():
                    yield json.loads(line)
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SelectError(f"{path} is damaged ({str(error).splitlines()[0]})") from error


def line_languages(text: str, default: str = "") -> list[tuple[str, str]]:
    """Runs of lines of one language: [(language, text)]; joined by line ends they are the text.

    A line with kana is Japanese. One with Han characters alone is Chinese if it has a character of simplified script or eight Han characters; else it is what most
    such lines of the document are. One in Latin letters is English or French by its function words. A line that cannot be told goes with the one before it.

    Args:
        default: language of a text of which no line can be told.
    """
    lines = text.split("\n")
    kana = [bool(KANA.search(line)) for line in lines]
    han = [not k and len(HAN.findall(line)) > len(LATIN.findall(line)) for k, line in zip(kana, lines)]
    words = [[w.lower() for w in LATIN.findall(line)] for line in lines]
    votes = [{la: sum(w in known for w in ws) for la, known in FUNCTION.items()} for ws in words]
    overall = Counter()
    for vote in votes:
        overall.update(vote)
    langs: list[str] = []
    for line, k, h, ws, vote in zip(lines, kana, han, words, votes):
        if k or h:
            chinese = not k and (SIMPLIFIED & set(line) or len(HAN.findall(line)) >= 8 or sum(kana) < sum(han))
            langs.append("zh" if chinese else "ja")
        elif ws and vote["en"] != vote["fr"]:
            langs.append(max(vote, key=vote.get))
        elif len(ws) > 3 and overall["en"] != overall["fr"]:
            langs.append(max(("en", "fr"), key=overall.get))
        else:
            langs.append("")
    known = [la for la in langs if la]
    last = known[0] if known else default
    runs: list[list] = []
    for la, line in zip(langs, lines):
        last = la or last
        if runs and runs[-1][0] == last:
            runs[-1][1].append(line)
        else:
            runs.append([last, [line]])
    return [(la, "\n".join(part)) for la, part in runs if la]


def _segments(segments: Sequence[dict], text: str, name: str) -> list[tuple[str, str]]:
    """Segments as (language, text); they have texts of their own, or numbers of characters of the document's text, in which a line end stands between two."""
    parts, at = [], 0
    for segment in segments:
        if not isinstance(segment, dict) or segment.get("lang") not in LANGUAGES:
            lang = segment.get("lang") if isinstance(segment, dict) else segment
            raise SelectError(f"{name} has a segment of language {lang!r}; known: {', '.join(CODES)}")
        if segment.get("text") is not None:
            piece = str(segment["text"])
        elif isinstance(n := segment.get("n_chars"), int) and n >= 0:
            piece, at = text[at : at + n], at + n + 1
        else:
            raise SelectError(f"{name} has a segment with neither a text nor a number of characters n_chars: {segment}")
        parts.append((segment["lang"], piece))
    if at and at - 1 != len(text):
        raise SelectError(f"{name}: its segments make up {at - 1} characters, with a line end between two, but its text has {len(text)}")
    return parts


def _document(row: dict, path: Path, number: int) -> dict | None:
    """A document as the corpus modules read it; None if it has no text in a known language."""
    if not isinstance(row, dict):
        raise SelectError(
            f"{path}: line {number + 1} is not a JSON object with the fields of a document but starts {json.dumps(row, ensure_ascii=False)[:40]!r}"
        )
    text, extra = row.get("text"), row.get("metadata") or {}
    if not isinstance(text, str):
        raise SelectError(f"{path}: document {number} has no field 'text' with a text; its fields are {', '.join(map(str, row))}")
    value = {name: next((w[k] for w in (row, extra) if isinstance(w, dict) for k in keys if w.get(k) not in (None, "")), None) for name, keys in NAMES.items()}
    if value["segments"]:
        parts = _segments(value["segments"], text, f"{path}: document {number}")
    else:
        lang = re.split("[-_]", str(value["lang"] or "mixed").lower())[0]  # en-US, zh_Hans
        lang = ISO_639_3.get(lang, lang)
        parts = [(lang, text)] if lang in LANGUAGES else line_languages(text) if lang == "mixed" else []
    parts = [(la, t) for la, t in parts if t.strip()]
    if not parts:
        return None
    langs = {la for la, _ in parts}
    return {
        "doc_id": str(value["id"]) if value["id"] is not None else f"{path.name}#{number}",
        "source": str(value["source"] or path.name.split(".")[0]),
        "license": str(value["license"] or UNKNOWN),
        "lang": langs.pop() if len(langs) == 1 else "mixed",
        "text": "\n".join(t for _, t in parts),
        "segments": [{"lang": la, "n_chars": len(t)} for la, t in parts],
    }


def read_corpus(files: Sequence[Path], folder: Path) -> Counter:
    """Write a corpus as shards that the corpus modules read, some documents in memory at a time.

    Returns:
        Numbers: documents, `without text` in a known language, `without licence`.

    Raises:
        SelectError: for a damaged file, a document without a text, or two documents with one id.
    """
    folder.mkdir(parents=True)
    seen: set[str] = set()
    numbers, waiting, shard = Counter(), [], 0
    for path in progress(files, "reading the corpus"):
        for number, row in enumerate(_rows(path)):
            document = _document(row, path, number)
            numbers["documents"] += 1
            if document is None:
                numbers["without text"] += 1
                continue
            if document["doc_id"] in seen:
                raise SelectError(f"{path}: the id {document['doc_id']!r} occurs twice; ids must tell documents apart")
            seen.add(document["doc_id"])
            numbers["without licence"] += document["license"] == UNKNOWN
            waiting.append(document)
            if len(waiting) == SHARD:
                pq.write_table(pa.Table.from_pylist(waiting, FIELDS), folder / f"part-{shard:05d}.parquet")
                waiting, shard = [], shard + 1
    if waiting:
        pq.write_table(pa.Table.from_pylist(waiting, FIELDS), folder / f"part-{shard:05d}.parquet")
    if not seen:
        raise SelectError(f"{len(files)} files hold {numbers['documents']} documents and no text in {', '.join(LANGUAGES.values())}")
    return numbers


def read_words(path: Path, hold_out: str) -> tuple[Vocabulary, list[str]]:
    """Words of a lexicon and the concepts that are held out.

    Args:
        path: Parquet, CSV or TSV with concept_id and a column of words for at least two languages (en, fr, zh, ja); `pos`, `split` and ``valid_*`` (lists of
            accepted words, in CSV and TSV with `|` between them) if there are any. For this project's own lexicon the inflected forms are used.

    Raises:
        SelectError: if columns are missing, or no concept has the split that is to be held out.
    """
    path = Path(path)
    if path.resolve() == (ROOT / "data" / "lexicon.parquet").resolve():
        table = read_lexicon(path)
        forms = read_forms(table)
    else:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", keep_default_na=False)
        langs = [la for la in CODES if la in table]
        if "concept_id" not in table or len(langs) < 2:
            raise SelectError(f"{path}: a lexicon needs concept_id and two of the columns {', '.join(CODES)}; it has {', '.join(table.columns)}")
        pos = table["pos"] if "pos" in table else [""] * len(table)
        words = {
            la: [v.split("|") if isinstance(v, str) else list(v) for v in table[f"valid_{la}"]] if f"valid_{la}" in table else [[w] for w in table[la]]
            for la in langs
        }
        forms = tuple(tuple(tuple(dict.fromkeys(f for w in ws if w for f in surface_forms(w, la, p))) for ws, p in zip(words[la], pos)) for la in langs)
        forms = Vocabulary(tuple(map(str, table.concept_id)), tuple(langs), forms)
    held = [str(c) for c, s in zip(table.concept_id, table["split"]) if s == hold_out] if hold_out and "split" in table else []
    if hold_out and "split" in table and not held:
        raise SelectError(
            f"{path}: no concept has the split {hold_out!r} that is to be held out; there are {', '.join(sorted(set(map(str, table['split']))))}; '' holds none out"
        )
    return forms, held
