"""How alike two words are written: the same string, the same letters, the same script."""

from __future__ import annotations

import difflib
import re
import unicodedata

__all__ = ["ALIKE", "identical", "spelling", "script", "likeness"]

ALIKE = 0.5  # share of common characters from which two words are spelled alike


def identical(first: str, second: str) -> bool:
    """Whether two words are the same string (NFKC, case-folded), so that copying one is translating it."""
    return unicodedata.normalize("NFKC", first).casefold() == unicodedata.normalize("NFKC", second).casefold()


def spelling(first: str, second: str) -> float:
    """Share of two words' characters that they have in common, in order, case and accents aside (Ratcliff and Obershelp's ratio, of ``difflib``)."""
    plain = ["".join(c for c in unicodedata.normalize("NFKD", w).casefold() if not unicodedata.combining(c)) for w in (first, second)]
    return difflib.SequenceMatcher(None, *sorted(plain), autojunk=False).ratio()  # sorted: the ratio depends on the order


def script(word: str) -> str:
    """`Han` for a word with a Han character, `kana` for another with kana, else `Latin`."""
    return "Han" if re.search(r"[\u3400-\u4dbf\u4e00-\u9fff]", word) else "kana" if re.search(r"[\u3040-\u30ff]", word) else "Latin"


def likeness(first: str, second: str) -> str:
    """`identical`, `alike` (at least ``ALIKE`` of their characters in common), `otherwise` in the same script, or `another script`."""
    if identical(first, second):
        return "identical"
    return "alike" if spelling(first, second) >= ALIKE else "otherwise" if script(first) == script(second) else "another script"
