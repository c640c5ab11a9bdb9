"""Readers of aligned sentences: Tatoeba, graded sentences, scriptures, labels, descriptions, messages, the UDHR."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from extract_base import Block, Item, clean_item, sentences_to_blocks
from extract_help import html_paragraphs
from fetch import find_one

VERSES = 6  # of a scripture in one document
NOTE = re.compile(r"\{[^{}]*\}|\[[^\[\]]*\]|\(\d+\)|（\d+）|[①-⑳]")
KOUGO_LINE = re.compile(r"^(\S+) (\d+):(\d+) \S+ (?:\d+:\d+) (.*)$")


def tatoeba(folder: Path) -> Iterator[Block]:
    """Japanese sentences of Tatoeba with an English and often a French translation."""
    with open(find_one(folder, "SENTENCES"), encoding="utf-8") as handle:
        yield from sentences_to_blocks("tatoeba", "CC-BY-2.0-FR", tatoeba_items(handle), group=5)


def tatoeba_items(lines: Iterable[str]) -> Iterator[tuple[str, Item]]:
    """Number of each Japanese sentence, and its text and translations by language."""
    for line in lines:
        number, japanese, english, _, _, french, *_ = line.rstrip("\n").split("\t")
        item = {"en": english, "fr": french, "ja": japanese}
        yield number, {language: text for language, text in item.items() if text != "-"}


def hsk(folder: Path) -> Iterator[Block]:
    """Graded Chinese sentences with an English translation."""
    rows = json.loads(find_one(folder, "sentences.json").read_text(encoding="utf-8"))
    items = ((row["id"], {"zh": row["chinese"], "en": row["translation"]["en"]}) for row in rows)
    return sentences_to_blocks("hsk-sentences", "CC-BY-SA-4.0", items, group=5)


def verse_blocks(source: str, licence: str, chapters: dict[str, list[Item]]) -> Iterator[Block]:
    """Cut chapters into runs of a few verses."""
    for chapter, verses in chapters.items():
        for start in range(0, len(verses), VERSES):
            items = [clean_item(verse) for verse in verses[start : start + VERSES]]
            yield Block(source, f"{chapter}.{start + 1}", licence, [item for item in items if item])


def quran(folder: Path) -> Iterator[Block]:
    """English, French and Chinese translations of the Quran, verse by verse."""
    texts = {x: json.loads(find_one(folder, f"quran_{x}.json").read_text(encoding="utf-8")) for x in ("en", "fr", "zh")}
    chapters: dict[str, list[Item]] = {}
    for index, chapter in enumerate(texts["en"]):
        number = chapter["id"]
        verses = zip(*(texts[x][index]["verses"] for x in texts))
        chapters[f"{number}"] = [{x: NOTE.sub("", verse["translation"]) for x, verse in zip(texts, row)} for row in verses]
    return verse_blocks("quran", "CC-BY-4.0", chapters)


def bible(folder: Path) -> Iterator[Block]:
    """The World English Bible and a classical Japanese translation, verse by verse."""
    japanese: dict[tuple[int, int, int], str] = {}
    books: list[str] = []
    with gzip.open(find_one(folder, "kougo.txt.gz"), "rt", encoding="utf-8-sig") as handle:
        for line in handle:
            match = KOUGO_LINE.match(line.strip())
            if not match:
                continue
            book, chapter, verse, text = match.groups()
            if book not in books:
                books.append(book)
            japanese[books.index(book) + 1, int(chapter), int(verse)] = text
    if len(books) != 66:
        raise ValueError(f"kougo.txt.gz: expected 66 books, found {len(books)}")
    chapters: dict[str, list[Item]] = {}
    with gzip.open(find_one(folder, "t_web.csv.gz"), "rt", encoding="utf-8", newline="") as handle:
        for _, book, chapter, verse, text in list(csv.reader(handle))[1:]:
            item = {"en": NOTE.sub("", text)}
            other = japanese.get((int(book), int(chapter), int(verse)))
            if other:
                item["ja"] = other
            chapters.setdefault(f"{book}.{chapter}", []).append(item)
    return verse_blocks("bible", "public domain", chapters)


def emoji(folder: Path) -> Iterator[Block]:
    """Names of emoji with their keywords."""
    rows: dict[str, Item] = {}
    for language in ("en", "fr", "zh", "ja"):
        path = Path(folder) / "package" / language / "data.json"
        for entry in json.loads(path.read_text(encoding="utf-8")):
            separator = "、" if language in ("zh", "ja") else ", "
            words = [entry["label"], *(tag for tag in entry.get("tags", []) if tag != entry["label"])]
            rows.setdefault(entry["hexcode"], {})[language] = separator.join(words)
    return sentences_to_blocks("emojibase", "MIT", iter(rows.items()), group=8)


def stamps(folder: Path) -> Iterator[Block]:
    """Descriptions of Tux Paint's pictures."""
    prefixes = {"fr.utf8=": "fr", "zh_CN.utf8=": "zh", "ja.utf8=": "ja"}

    def items() -> Iterator[tuple[str, Item]]:
        for path in sorted(Path(folder).rglob("*.txt")):
            if "stamps" not in path.parts:
                continue
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            item = {"en": lines[0]} if lines else {}
            for line in lines[1:]:
                for prefix, language in prefixes.items():
                    if line.startswith(prefix):
                        item[language] = line.removeprefix(prefix)
            yield "/".join(path.parts[path.parts.index("stamps") + 1 :]), item

    return sentences_to_blocks("tuxpaint-stamps", "GPL-2.0-only", items(), group=6)


def descriptions(folder: Path) -> Iterator[Block]:
    """Descriptions of creatures, things and places of Dungeon Crawl, by name."""
    root = Path(folder) / "usr/share/crawl/dat/descript"
    for path in sorted(root.glob("*.txt")):
        if path.stem == "quotes":
            continue
        entries: dict[str, Item] = {}
        for language, place in (("en", path), ("fr", root / "fr" / path.name), ("zh", root / "zh" / path.name), ("ja", root / "ja" / path.name)):
            text = place.read_text(encoding="utf-8") if place.exists() else ""
            for entry in re.split(r"^%%%%$", text, flags=re.MULTILINE):
                lines = [line for line in entry.strip().splitlines() if not line.startswith("#")]
                name, body = (lines[0], " ".join(lines[1:])) if lines else ("", "")
                if name and not re.search(r"[{}<>@$]|^:|\w_\w", body):
                    entries.setdefault(name, {})[language] = body
        yield from sentences_to_blocks("crawl", "GPL-2.0-or-later", ((f"{path.stem}/{name}", item) for name, item in entries.items()), group=5)


def messages(folder: Path) -> Iterator[Block]:
    """Messages of MediaWiki and the extensions that come with it; those with wiki markup are left out."""
    names = {"en": "en", "fr": "fr", "zh": "zh-hans", "ja": "ja"}
    for english in sorted(Path(folder).rglob("i18n/**/en.json")):
        texts: dict[str, Item] = {}
        for language, name in names.items():
            path = english.with_name(f"{name}.json")
            table = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            for key, text in table.items():
                if isinstance(text, str) and not re.search(r"[\[\]{}<>$|*#=]|''|\w_\w", text):
                    texts.setdefault(key, {})[language] = text
        place = english.parent.relative_to(folder).as_posix()
        items = ((f"{place}/{key}", item) for key, item in sorted(texts.items()) if len(item.get("en", "").split()) >= 4)
        yield from sentences_to_blocks("mediawiki", "GPL-2.0-or-later", items, group=6)


def declaration(folder: Path) -> list[Item]:
    """The Universal Declaration of Human Rights, paragraph by paragraph, where all four versions agree in form."""
    names = {"en": "eng", "fr": "fra", "zh": "cmn_hans", "ja": "jpn"}
    pages = {}
    for language, name in names.items():
        page = (Path(folder) / "package" / "declaration" / f"{name}.html").read_text(encoding="utf-8")
        sections: list[list[str]] = []
        for paragraph in html_paragraphs(page):
            if paragraph.tag in ("h1", "h2", "h3"):
                sections.append([])
            elif sections:
                sections[-1].append(paragraph.text)
        pages[language] = sections
    items = []
    for group in zip(*pages.values()):
        if len({len(section) for section in group}) == 1:
            items += [dict(zip(pages, texts)) for texts in zip(*group)]
    return items
