"""Readers of translation catalogues: compiled gettext (.mo) files, one language a file."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

from extract_base import TAG, Block, Item, has_placeholder, sentences_to_blocks

LOCALES = {"fr": "fr", "zh_CN": "zh", "ja": "ja"}
ACCELERATOR_SUFFIX = re.compile(r"\s*[(（][&_~]\w[)）]")
ACCELERATOR = re.compile(r"[&_~](?=\w)")
GAME_MARKUP = re.compile(r"<(ref|header|img|bold|italic|format|jump)\b")
CREDITS = re.compile(r"translator|copyright|©|your (?:names|emails)|@\w+\.\w", re.IGNORECASE)


def read_mo(path: Path) -> dict[str, str]:
    """Read a .mo file.

    Returns:
        Translations by original string; contexts are cut off the originals, of plural forms the first is kept.

    Raises:
        ValueError: The file is not a .mo file.
    """
    data = Path(path).read_bytes()
    if data[:4] == b"\xde\x12\x04\x95":
        order = "<"
    elif data[:4] == b"\x95\x04\x12\xde":
        order = ">"
    else:
        raise ValueError(f"{Path(path).name}: not a .mo file")
    count, originals, translations = struct.unpack(f"{order}3I", data[8:20])
    entries = {}
    for i in range(count):
        strings = []
        for table in (originals, translations):
            length, offset = struct.unpack(f"{order}2I", data[table + 8 * i : table + 8 * i + 8])
            strings.append(data[offset : offset + length].decode("utf-8", errors="replace").split("\0")[0])
        original = strings[0].split("\x04")[-1]
        if original and strings[1]:
            entries[original] = strings[1]
    return entries


def plain(text: str, game: bool) -> str:
    """Strip accelerators, or a game's context prefix and tags."""
    if game:
        return TAG.sub("", text.split("^", 1)[-1] if "^" in text[:40] else text)
    return ACCELERATOR.sub("", ACCELERATOR_SUFFIX.sub("", text)).removesuffix("...").removesuffix("…")


def catalogue_items(folders: list[Path], min_words: int, game: bool, without: tuple[str, ...] = (), only: tuple[str, ...] = ()) -> Iterator[tuple[str, Item]]:
    """Join the catalogues of some packages by original string.

    Args:
        folders: Where the packages are unpacked.
        min_words: Shortest original to keep.
        game: Whether the strings are game texts (tags are stripped) or labels (accelerators are stripped).
        without: Catalogue names to leave out.
        only: Catalogue names to read; all when empty.
    """
    joined: dict[tuple[str, str], Item] = {}
    for path in sorted(path for folder in folders for path in Path(folder).rglob("*.mo")):
        language = next((LOCALES[part] for part in path.parts if part in LOCALES), None)
        if language is None or (only and path.stem not in only) or path.stem in without:
            continue
        for original, translation in read_mo(path).items():
            joined.setdefault((path.stem, original), {"en": plain(original, game)})[language] = plain(translation, game)
    for number, ((domain, original), item) in enumerate(sorted(joined.items())):
        if GAME_MARKUP.search(original) or any(has_placeholder(text) for text in item.values()) or CREDITS.search(original):
            continue
        if len(item["en"].split()) >= min_words:
            yield f"{domain}.{number}", item


def catalogues(
    source: str,
    licence: str,
    folders: list[Path],
    min_words: int,
    game: bool = False,
    without: tuple[str, ...] = (),
    group: int = 6,
    least: int = 1,
) -> Iterator[Block]:
    """Blocks of the catalogues of some packages, one string a block; ``least`` is the number of languages it must have."""
    for block in sentences_to_blocks(source, licence, catalogue_items(folders, min_words, game, without), group):
        if len(block.items[0]) >= least:
            yield block
