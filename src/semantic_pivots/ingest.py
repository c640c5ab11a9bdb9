"""Any corpus and any lexicon, as the corpus modules read them: JSON lines and Parquet files, line by line told apart by language."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .artifacts import ROOT
from .matching import Vocabulary, read_forms, surface_forms
from .progress import progress
from .readers import CorpusError, rows, unit
from .task import LANGUAGES, read_lexicon

__all__ = ["SHARD", "SelectError", "read_corpus", "line_languages", "read_words"]

CODES = tuple(LANGUAGES)
SHARD, SHARD_CHARACTERS = 50_000, 50_000_000  # documents and characters of a shard, at most
UNKNOWN = "not stated"
NAMES = {"id": ("id", "doc_id"), "source": ("source",), "license": ("license", "licence"), "lang": ("lang", "language"), "segments": ("segments",)}
TAGS = {"eng": "en", "fra": "fr", "fre": "fr", "zho": "zh", "chi": "zh", "cmn": "zh", "jpn": "ja"} | {name.lower(): code for code, name in LANGUAGES.items()}
UNTAGGED = ("", "mixed", "mul", "und", "unknown")  # tags that name no language: it is told line by line
HAN, KANA, LATIN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]"), re.compile(r"[\u3041-\u30ff]"), re.compile(r"[A-Za-z\u00c0-\u024f]+(?:['’][A-Za-z])?")
SIMPLIFIED = set("们这说对时为过还进从见长门问间关开东车书马鱼语请让谁话谢试词认识么吗呢吧啊你她很给样应该发设选择显图页钮单击")  # no Japanese text has them
FUNCTION = {
    "en": set("the of and to in is that it for was on are with as be this have from or had by but not what all were we when your can said there".split()),
    "fr": set("le la les de des du et un une est que qui dans pour pas sur au avec ce il elle sont par plus ne se vous nous aux été cette".split()),
}
# of Spanish, Italian, Portuguese, German and Dutch, and of neither English nor French: such lines are left out
FOREIGN = set(
    "el los las una por con para del pero más está che di è per sono della gli nel anche questo os é uma não com em da dos mais der und ist nicht mit eine den dem zu auf für von "
    "sich auch werden wird oder dass het een van dat niet zijn voor op aan ook wordt".split()
) - FUNCTION["en"] - FUNCTION["fr"]  # fmt: skip
FIELDS = pa.schema(
    [("doc_id", pa.string()), ("source", pa.string()), ("license", pa.string()), ("lang", pa.string()), ("text", pa.large_string())]
    + [("segments", pa.list_(pa.struct([("lang", pa.string()), ("n_chars", pa.int64())]))), ("original", pa.large_string())]
)  # fmt: skip


class SelectError(CorpusError):
    """The selection cannot be made; the message names what is wrong and the value seen."""


def line_languages(text: str, default: str = "") -> list[tuple[str, str]]:
    """Runs of lines of one language: [(language, text)]; joined by line ends they are the text.

    A line with kana is Japanese. One with Han characters alone is Chinese if it has a character of simplified script or eight Han characters; else it is what most
    such lines of the document are. One in Latin letters is English or French by its function words; with more words of some neighbouring languages it is left out. A line that cannot be
    told goes with the one before it.

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
        elif sum(w in FOREIGN for w in ws) > max(vote.values()):
            langs.append("foreign")
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
    return [(la, "\n".join(part)) for la, part in runs if la in LANGUAGES]


def _segments(segments: Sequence[dict], text: str, name: str) -> list[tuple[str, str]]:
    """Segments as (language, text); they have texts of their own, or numbers of characters of the document's text, in which a line end stands between two."""
    parts, at = [], 0
    for segment in segments:
        lang = segment.get("lang") if isinstance(segment, dict) else segment
        if not isinstance(segment, dict) or (tag := _tag(lang)) not in LANGUAGES:
            raise SelectError(f"{name} has a segment of language {lang!r}; known: {', '.join(CODES)}")
        if segment.get("text") is not None:
            piece = str(segment["text"])
        elif isinstance(n := segment.get("n_chars"), int) and n >= 0:
            piece, at = text[at : at + n], at + n + 1
        else:
            raise SelectError(f"{name} has a segment with neither a text nor a number of characters n_chars: {segment}")
        parts.append((tag, piece))
    if at and at - 1 != len(text):
        raise SelectError(f"{name}: its segments make up {at - 1} characters, with a line end between two, but its text has {len(text)}")
    return parts


def _tag(value: object) -> str:
    """A language tag (en-US, zh_Hans, fra, English) as a code of ours, or as its first part where it is another language; "" where it names none."""
    tag = re.split("[-_]", value.strip().lower())[0] if isinstance(value, str) else ""
    return "" if tag in UNTAGGED else TAGS.get(tag, tag)


def _document(row: dict, name: str, place: str) -> dict | str:
    """A document as the corpus modules read it; or, in a word, why it is left out.

    Args:
        name: of its file, below the folder that holds the whole corpus.
        place: file and line, for errors.
    """
    if not isinstance(row, dict):
        raise SelectError(f"{place} is not a JSON object with the fields of a document but starts {json.dumps(row, ensure_ascii=False)[:40]!r}")
    text, extra = row.get("text"), row.get("metadata") or {}
    if "text" in row and text is None:
        return "without text"
    if not isinstance(text, str):
        raise SelectError(f"{place} has no field 'text' with a text; its fields are {', '.join(map(str, row))}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SelectError(f"{place} has a text that is no Unicode: {text[max(error.start - 10, 0) : error.end]!r}") from error
    value = {name: next((w[k] for w in (row, extra) if isinstance(w, dict) for k in keys if w.get(k) not in (None, "")), None) for name, keys in NAMES.items()}
    tag = _tag(value["lang"])
    if value["segments"]:
        parts = _segments(value["segments"], text, place)
    elif tag and tag not in LANGUAGES:
        return f"tagged {tag}"
    else:
        parts = [(tag, text)] if tag else line_languages(text)
    parts = [(la, t) for la, t in parts if t.strip()]
    if not parts:
        return "without text"
    langs, licence = {la for la, _ in parts}, value["license"]
    first, *below = name.split("/")
    rest = {k: v for k, v in row.items() if k not in ("text", "segments")}
    return {
        "doc_id": str(value["id"]) if value["id"] is not None else f"{name}#{place.rpartition(' ')[2]}",
        "source": str(value["source"] or (first if below else re.sub(r"[-_]?\d+$", "", first.split(".")[0]) or first)),
        "license": ", ".join(map(str, licence)) if isinstance(licence, list) else str(licence or UNKNOWN),
        "lang": langs.pop() if len(langs) == 1 else "mixed",
        "text": "\n".join(t for _, t in parts),
        "segments": [{"lang": la, "n_chars": len(t)} for la, t in parts],
        "original": json.dumps(rest, ensure_ascii=False, default=str),
    }


def read_corpus(files: Sequence[Path], folder: Path) -> Counter:
    """Write a corpus as shards that the corpus modules read, some documents in memory at a time.

    Without an id a document is called by its file and line, without a source by the first folder below the one that holds the whole corpus, or by its file.

    Returns:
        Numbers: documents, `without text` in a known language, `tagged xx` (in another language by its tag xx), `without licence`, sources.

    Raises:
        SelectError: for a damaged file, a document without a text, or two documents with one id.
    """
    folder.mkdir(parents=True)
    seen: set[str] = set()
    sources: set[str] = set()
    numbers, waiting, size, shard = Counter(), [], 0, 0
    root = Path(os.path.commonpath([path.resolve().parent for path in files]))
    for path in progress(files, "reading the corpus"):
        for number, row in rows(path):
            document = _document(row, path.resolve().relative_to(root).as_posix(), f"{path}: {unit(path)} {number}")
            numbers["documents"] += 1
            if isinstance(document, str):
                numbers[document] += 1
                continue
            if document["doc_id"] in seen:
                raise SelectError(f"{path}: the id {document['doc_id']!r} occurs twice; ids must tell documents apart")
            seen.add(document["doc_id"])
            sources.add(document["source"])
            numbers["without licence"] += document["license"] == UNKNOWN
            waiting.append(document)
            size += len(document["text"])
            if len(waiting) == SHARD or size >= SHARD_CHARACTERS:
                pq.write_table(pa.Table.from_pylist(waiting, FIELDS), folder / f"part-{shard:05d}.parquet")
                waiting, size, shard = [], 0, shard + 1
    numbers["sources"] = len(sources)
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
        SelectError: if the file is not there or damaged, columns are missing, a concept stands twice or lacks a word, or none has the split that is to be held out.
    """
    path = Path(path)
    if not path.is_file():
        raise SelectError(f"{path}: there is no lexicon")
    if path.resolve() == (ROOT / "data" / "lexicon.parquet").resolve():
        table = read_lexicon(path)
        forms = read_forms(table)
    else:
        try:
            table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", keep_default_na=False)
        except (OSError, ValueError) as error:
            raise SelectError(f"{path} is damaged ({str(error).splitlines()[0]})") from error
        langs = [la for la in CODES if la in table]
        if "concept_id" not in table or len(langs) < 2:
            raise SelectError(f"{path}: a lexicon needs concept_id and two of the columns {', '.join(CODES)}; it has {', '.join(table.columns)}")
        if (twice := table.concept_id.duplicated()).any():
            raise SelectError(f"{path}: the concept {table.concept_id[twice].iloc[0]!r} stands twice; put all its words into one row (valid_en, valid_fr, …)")
        for la in langs:
            if not (known := table[la].map(lambda w: isinstance(w, str))).all():
                raise SelectError(f"{path}: {table.concept_id[~known].iloc[0]!r} has no word in the column {la}, but {table[la][~known].iloc[0]!r}")
        pos = table["pos"] if "pos" in table else [""] * len(table)
        words = {
            la: [
                [w, *(v.split("|") if isinstance(v, str) else v if np.ndim(v) else ())] for w, v in zip(table[la], table.get(f"valid_{la}", [""] * len(table)))
            ]
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
