"""What every reader of corpus sources shares: the Block, cleaning, and language checks."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

LANGUAGES = ("en", "fr", "zh", "ja")
Item = dict[str, str]  # language -> text; the texts of one item are translations of each other


@dataclass
class Block:
    """A content unit: a sentence, a paragraph or a section.

    ``items`` are in reading order. ``group`` is the number of one-item blocks that make a document
    (0: the block is a document by itself). ``key`` is unique within the source.
    """

    source: str
    key: str
    licence: str
    items: list[Item]
    group: int = 0


SPACE = re.compile(r"\s+")
CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2060-\u2064\ufeff\ufff9-\ufffd\ue000-\uf8ff]|[\U000f0000-\U0010ffff]"
)
TAG = re.compile(r"<[^<>]*>")
PLACEHOLDER = re.compile(r"%[-+ #0-9.*$]*[a-zA-Z%]|%\d|\$[\w({\[]|\{[\w:.]*\}|\\[nt]|&[a-zA-Z]+;|&#\d+;|\|\w+\||__\w+__|[\[\]{}<>\\|=]{2}")
ENTITY = re.compile(r"&\w+;|\[\[|\{\{|``|\|/\|")
HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
KANA = re.compile(r"[\u3041-\u30ff]")
LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")
LETTER = re.compile(r"[^\W\d_]")
CJK_GAP = re.compile(r"(?<=[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]) (?=[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef])")
# Common characters that occur only in traditional Chinese (and in old Japanese) writing.
TRADITIONAL = frozenset(
    "們個這來時說國會學對為發經過還後從動開關點問實現無電話樣東車長門見與區網頁檔體資訊軟硬機設"
    "選擇檢視顯應該請將於並則裡麼種讓給變間當產業標準義務處書記認識語論證據連線環境類單幾氣"
) - frozenset("現硬境")
STOPWORDS = {
    "en": frozenset("the of and to in is that for it with as be on are this was by from or an you not have at he his which can".split()),
    "fr": frozenset("le la les de des du et un une à en est que pour il dans ce qui sur pas plus par au avec se vous sont ne être cette d l qu".split()),
}
DIGIT = re.compile(r"\d")
WORD = re.compile(r"[^\W\d_]+")


def clean(text: str, language: str) -> str:
    """Return one line of text: NFC, no control characters, single spaces, none between CJK characters."""
    text = CONTROL.sub(" ", unicodedata.normalize("NFC", text))
    text = SPACE.sub(" ", text).strip()
    return CJK_GAP.sub("", text) if language in ("zh", "ja") else text


def has_placeholder(text: str) -> bool:
    """Tell whether a string holds format codes, variables, markup or escapes."""
    return bool(PLACEHOLDER.search(text) or TAG.search(text))


def is_prose(text: str) -> bool:
    """Tell whether most of a string is letters, not code, numbers or rules."""
    letters = len(LETTER.findall(text))
    return letters >= 2 and letters >= 0.55 * len(text.replace(" ", ""))


def traditional_share(text: str) -> float:
    """Return the share of Han characters that occur only in traditional writing."""
    han = HAN.findall(text)
    return sum(c in TRADITIONAL for c in han) / len(han) if han else 0.0


def script_fits(text: str, language: str) -> bool:
    """Check that a line is written in the script of its language."""
    letters = len(LETTER.findall(text)) or 1
    han, kana = len(HAN.findall(text)), len(KANA.findall(text))
    if language in ("en", "fr"):
        return len(LATIN.findall(text)) >= 0.8 * letters
    if language == "zh":
        return han >= 0.25 * letters and kana <= 0.02 * letters and traditional_share(text) < 0.02
    return han + kana >= 0.25 * letters and (kana > 0 or len(text) <= 12)


def stopword_fits(text: str, language: str) -> bool:
    """Check an English or French text of twenty words or more by its function words."""
    words = [word.lower() for word in WORD.findall(text)]
    if language not in STOPWORDS or len(words) < 20:
        return True
    share = {x: sum(word in STOPWORDS[x] for word in words) / len(words) for x in STOPWORDS}
    return share[language] >= 0.08 and share[language] >= max(share.values())


def document_fits(text: str, language: str) -> bool:
    """Check the language of a whole document: script, function words, kana in Japanese."""
    if language == "ja":
        cjk = len(HAN.findall(text)) + len(KANA.findall(text))
        return len(KANA.findall(text)) >= 0.1 * cjk and script_fits(text, "ja")
    return script_fits(text, language) and stopword_fits(text, language)


def clean_item(item: Item) -> Item:
    """Clean the texts of an item; drop those that are not prose in their language or repeat the English."""
    done: Item = {}
    for language in LANGUAGES:
        if language not in item:
            continue
        text = clean(item[language], language)
        if is_prose(text) and not ENTITY.search(text) and script_fits(text, language) and stopword_fits(text, language) and text not in done.values():
            done[language] = text
    return done


def fold(text: str) -> str:
    """Return the form in which texts are compared: NFKC, case-folded, digits 0, no white space."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return DIGIT.sub("0", "".join(text.split()))


def window_hashes(text: str, size: int) -> np.ndarray:
    """Return a 64-bit hash of every run of ``size`` characters (the same on every machine)."""
    codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    if len(codes) < size:
        return np.zeros(0, dtype=np.uint64)
    hashes = np.zeros(len(codes) - size + 1, dtype=np.uint64)
    for i in range(size):
        hashes = hashes * np.uint64(0x100000001B3) + codes[i : len(codes) - size + 1 + i]
    hashes ^= hashes >> np.uint64(29)  # mix, so that low bits depend on all characters
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    return hashes ^ (hashes >> np.uint64(32))


def sampled(source: str, key: str, share: float) -> bool:
    """Draw a part of a large source by a hash, the same in every run."""
    return int.from_bytes(hashlib.sha256(f"{source}\0{key}".encode()).digest()[:8]) < share * 2**64


def sentences_to_blocks(source: str, licence: str, items: Iterator[tuple[str, Item]], group: int) -> Iterator[Block]:
    """Make one-item blocks of (key, item) pairs, to be grouped into documents later."""
    for key, item in items:
        done = clean_item(item)
        if done:
            yield Block(source, key, licence, [done], group)
