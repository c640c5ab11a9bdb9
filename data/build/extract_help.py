"""Readers of manuals in several languages: HTML pages, Mallard and DocBook help."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from extract_base import SPACE, Block, Item, clean_item

HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6", "title"}
BLOCKS = HEADINGS | {"p", "li", "dt", "dd", "td", "th", "caption", "figcaption", "para", "simpara", "term", "desc"}
SKIPPED = {"script", "style", "pre", "nav", "aside", "footer", "header", "head", "screen", "programlisting", "button", "svg", "math", "info", "comment"}
SKIPPED |= {"bookinfo", "articleinfo", "legalnotice", "synopsis", "literallayout", "colophon", "indexterm", "noscript"}
SKIPPED_CLASSES = {"navheader", "navfooter", "toc", "toc2", "index", "legalnotice", "authorgroup", "revhistory", "copyright", "footnotes", "bibliography"}
SKIPPED_CLASSES |= {"programlisting", "screen", "docnav", "list-of-figures", "list-of-tables", "sphinxsidebar", "related", "highlight", "headerlink"}
SELF_CLOSING = {"p", "li", "dt", "dd", "td", "th"}
# Characters of a translation for one of English, roughly; far off it, paragraphs do not correspond.
LENGTH = {"fr": 1.2, "zh": 0.33, "ja": 0.45}
LICENCE_PAGE = re.compile(r"(g?fdl|l?gpl|legal|licen[sc]e|copying|cc-by)", re.IGNORECASE)
LILYPOND_SKIPPED = re.compile(r"^(snippets|internals|changes)/|big-page$|index|attic|command|glossary-contents|unified")
CHUNK = 1500  # characters of the longest language after which a section is cut


@dataclass
class Paragraph:
    """A block of text with the tag and the id of its element."""

    tag: str
    id: str
    text: str


class Reader(HTMLParser):
    """Collects paragraphs; ignores code, navigation and lists of contents."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.paragraphs: list[Paragraph] = []
        self.open: list[tuple[str, str, list[str]]] = []
        self.divs: list[bool] = []
        self.skipping = ""
        self.depth = 0

    def handle_starttag(self, tag: str, attrs: list) -> None:
        tag = tag.rsplit(":", 1)[-1]
        if self.skipping:
            self.depth += tag == self.skipping
            return
        attributes = dict(attrs)
        classes = (attributes.get("class") or "").split()
        if tag in SKIPPED or (tag != "body" and SKIPPED_CLASSES.intersection(classes)):
            if tag not in ("link", "meta", "br", "img", "hr", "input"):
                self.skipping, self.depth = tag, 1
        elif tag == "div":
            self.divs.append("para" in classes)  # Publican's paragraphs
            if self.divs[-1]:
                self.open.append((tag, "", []))
        elif tag in BLOCKS:
            if self.open and tag in SELF_CLOSING and self.open[-1][0] == tag == "p":
                self.flush()
            self.open.append((tag, attributes.get("id") or "", []))
        elif tag == "br" and self.open:
            self.open[-1][2].append(" ")

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        if tag == "br" and self.open:
            self.open[-1][2].append(" ")

    def handle_endtag(self, tag: str) -> None:
        tag = tag.rsplit(":", 1)[-1]
        if self.skipping:
            self.depth -= tag == self.skipping
            if self.depth == 0:
                self.skipping = ""
        elif tag == "div":
            if self.divs and self.divs.pop() and any(name == tag for name, _, _ in self.open):
                while self.flush() != tag:
                    pass
        elif tag in BLOCKS and any(name == tag for name, _, _ in self.open):
            while self.flush() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self.open and not self.skipping:
            self.open[-1][2].append(data)

    def flush(self) -> str:
        """Close the innermost block, keep its text and return its tag."""
        tag, name, pieces = self.open.pop()
        text = SPACE.sub(" ", "".join(pieces)).strip().removesuffix("¶")
        if text:
            self.paragraphs.append(Paragraph(tag, name, text))
        return tag


def html_paragraphs(page: str) -> list[Paragraph]:
    """Return the paragraphs of an HTML, Mallard or DocBook page."""
    if "data-help-name=" in page:  # Node-RED keeps its help in script elements
        page = page.replace("<script", "<div").replace("</script", "</div")
    reader = Reader()
    reader.feed(page)
    reader.close()
    while reader.open:
        reader.flush()
    return reader.paragraphs


def sections(paragraphs: list[Paragraph]) -> list[list[Paragraph]]:
    """Cut a page at its headings."""
    cut: list[list[Paragraph]] = [[]]
    for paragraph in paragraphs:
        if paragraph.tag in HEADINGS and cut[-1]:
            cut.append([])
        cut[-1].append(paragraph)
    return cut


def lengths_agree(english: list[Paragraph], other: list[Paragraph], language: str) -> bool:
    """Check that the paragraphs of two versions have lengths that translations have."""
    pairs = [(len(a.text), len(b.text)) for a, b in zip(english, other) if len(a.text) > 30]
    bad = sum(not 0.4 < b / (a * LENGTH[language]) < 2.5 for a, b in pairs if b != a)
    return bad <= 0.15 * len(pairs)


def align(pages: dict[str, list[Paragraph]]) -> Iterator[list[Item]]:
    """Align the versions of a page section by section.

    A section of another language is aligned with the English one when both have the same sequence of
    elements and similar lengths; otherwise it is given by itself.
    """
    cut = {language: sections(paragraphs) for language, paragraphs in pages.items()}
    english = cut.get("en", [])
    items = [[{"en": paragraph.text} for paragraph in section] for section in english]
    for language, own in cut.items():
        if language == "en":
            continue
        for number, section in enumerate(own):
            same = len(own) == len(english) and [p.tag for p in section] == [p.tag for p in english[number]]
            if same and lengths_agree(english[number], section, language):
                for item, paragraph in zip(items[number], section):
                    item[language] = paragraph.text
            else:
                yield [{language: paragraph.text} for paragraph in section]
    yield from items


def align_by_id(pages: dict[str, list[Paragraph]]) -> Iterator[list[Item]]:
    """Align the versions of a page by the ids of the paragraphs (their n-th use); sections are those of the English page."""
    found: dict[str, dict[tuple[str, int], str]] = {}
    for language, paragraphs in pages.items():
        table: dict[tuple[str, int], str] = {}
        uses: dict[str, int] = {}
        for paragraph in paragraphs:
            uses[paragraph.id] = uses.get(paragraph.id, 0) + 1
            table[paragraph.id, uses[paragraph.id]] = paragraph.text
        found[language] = table
    uses = {}
    for section in sections([p for p in pages["en"] if p.id]):
        items = []
        for paragraph in section:
            uses[paragraph.id] = uses.get(paragraph.id, 0) + 1
            key = (paragraph.id, uses[paragraph.id])
            items.append({language: table[key] for language, table in found.items() if key in table})
        yield items


def chunks(items: list[Item]) -> Iterator[list[Item]]:
    """Clean items and cut long sections into several units."""
    part: list[Item] = []
    size = 0
    for item in map(clean_item, items):
        if not item:
            continue
        part.append(item)
        size += max(len(text) for text in item.values())
        if size >= CHUNK:
            yield part
            part, size = [], 0
    if part:
        yield part


def read_text(path: Path) -> str:
    """Read a text file, gzipped or not."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", errors="replace") as handle:
        return handle.read()


def manual(source: str, licence: str, files: dict[str, dict[str, Path]], by_id: bool = False) -> Iterator[Block]:
    """Blocks of a manual.

    Args:
        source: Source name.
        licence: Licence of its documents.
        files: Page name -> language -> file.
        by_id: Whether paragraphs correspond by id instead of by order.
    """
    for name in sorted(files):
        pages = {language: html_paragraphs(read_text(path)) for language, path in sorted(files[name].items())}
        aligned = align_by_id(pages) if by_id and "en" in pages else align(pages)
        number = 0
        for items in aligned:
            for part in chunks(items):
                number += 1
                yield Block(source, f"{name}#{number}", licence, part)


def pages_by_name(roots: dict[str, Path], pattern: str) -> dict[str, dict[str, Path]]:
    """List the pages below one folder a language; a page has the same relative path in all."""
    files: dict[str, dict[str, Path]] = {}
    for language, root in roots.items():
        for path in sorted(root.rglob(pattern)):
            if path.is_file() and not LICENCE_PAGE.match(path.name):
                files.setdefault(path.relative_to(root).as_posix(), {})[language] = path
    return files


def pages_by_suffix(folders: dict[str, Path], pattern: str, marks: dict[str, str]) -> dict[str, dict[str, Path]]:
    """List pages whose names hold a language mark (``ch01.zh-cn.html``); ``pattern`` has ``{}`` where the mark stands."""
    files: dict[str, dict[str, Path]] = {}
    for language, folder in folders.items():
        for path in sorted(folder.rglob(pattern.format(marks[language]))):
            files.setdefault(path.name.replace(marks[language], ""), {})[language] = path
    return files


def pages_of_lilypond(folders: dict[str, Path]) -> dict[str, dict[str, Path]]:
    """List LilyPond's pages: English ones have no language mark; pages that repeat a whole manual are left out."""
    files: dict[str, dict[str, Path]] = {}
    for language, folder in folders.items():
        for path in sorted(folder.rglob("*.html")):
            name, *marks = path.name.removesuffix(".html").split(".")
            if marks == ([] if language == "en" else [language]) and not LILYPOND_SKIPPED.search(f"{path.parent.name}/{name}"):
                files.setdefault(f"{path.parent.name}/{name}", {})[language] = path
    return files
