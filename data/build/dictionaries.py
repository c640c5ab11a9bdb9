"""Parsers of the dictionaries behind the lexicon: JMdict, CC-CEDICT, FreeDict/WikDict and WordNet."""

from __future__ import annotations

import gzip
import re
import unicodedata
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

PARENTHESES = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|（[^（）]*）")
LANGUAGE_ATTRIBUTE = "{http://www.w3.org/XML/1998/namespace}lang"
# A headword line ends with its pronunciation or its tag; definitions do not.
HEADWORD = re.compile(r"^(\S[^/<]*?) (?:/.*[/\]]\s*|/.*<[^>]*>\s*|<[^>]+>\s*)$")
XML_ENTITIES = {"amp", "lt", "gt", "quot", "apos"}


@dataclass(frozen=True)
class Translation:
    """One translation as a dictionary prints it.

    ``sense`` and ``item`` count from 0: the sense within the entry, the gloss within the sense.
    ``pos`` is n, v, a or "" when the dictionary does not say; ``qualified`` marks a gloss that had a parenthesis.
    """

    word: str
    pos: str
    sense: int
    item: int
    qualified: bool = False


@dataclass
class JapaneseEntry:
    """A JMdict entry: written forms (best first), readings, usage tags and glosses."""

    kanji: list[str]
    kana: list[str]
    common: bool
    senses: list[dict] = field(default_factory=list)  # pos, misc (sets), glosses (list of str)
    french: list[list[str]] = field(default_factory=list)


def normalise(text: str) -> str:
    """Return NFKC text with single spaces and a plain apostrophe."""
    text = unicodedata.normalize("NFKC", text).replace("’", "'").replace("‐", "-")
    return " ".join(text.split())


def strip_parentheses(text: str) -> str:
    """Remove bracketed remarks, also nested ones."""
    while True:
        shorter = PARENTHESES.sub(" ", text)
        if shorter == text:
            return " ".join(text.split())
        text = shorter


def english_gloss(text: str) -> tuple[str, str]:
    """Normalise an English gloss.

    Returns:
        The gloss without remarks, articles and ``to``, and its part of speech as far as the form shows it:
        "v" after ``to``, "n" after an article, otherwise "".
    """
    gloss = strip_parentheses(normalise(text)).strip(" .,;!?~")
    for prefix, pos in (("to ", "v"), ("a ", "n"), ("an ", "n"), ("the ", "n")):
        if gloss.startswith(prefix):
            return gloss[len(prefix) :].strip(), pos
    return gloss, ""


def read_jmdict(path: Path) -> list[JapaneseEntry]:
    """Read JMdict; keeps English and French glosses and drops archaic, vulgar and slang senses."""
    # The XML names its tags by entities; keep the short names instead of the long texts they stand for.
    text = gzip.open(path, "rt", encoding="utf-8").read()
    text = text[text.index("<JMdict>") :]
    text = re.sub(r"&([\w-]+);", lambda m: m.group(0) if m.group(1) in XML_ENTITIES else m.group(1), text)
    entries = []
    for chunk in re.findall(r"<entry>.*?</entry>", text, flags=re.S):
        entry = _japanese_entry(ElementTree.fromstring(chunk))
        if entry.senses:
            entries.append(entry)
    return entries


def _japanese_entry(node: ElementTree.Element) -> JapaneseEntry:
    kanji, kana, common = [], [], False
    for element in node.iter("k_ele"):
        if not {"oK", "iK", "io", "rK"} & {info.text for info in element.iter("ke_inf")}:
            kanji.append(normalise(element.findtext("keb")))
        common |= element.find("ke_pri") is not None
    for element in node.iter("r_ele"):
        if not {"ok", "ik"} & {info.text for info in element.iter("re_inf")}:
            kana.append(normalise(element.findtext("reb")))
        common |= element.find("re_pri") is not None
    entry = JapaneseEntry(kanji, kana, common)
    pos: set[str] = set()
    for sense in node.iter("sense"):
        tags = {element.text for element in sense.iter("pos")}
        pos = tags or pos  # JMdict: a sense without tags inherits them
        misc = {element.text for element in sense.iter("misc")}
        english = [g.text or "" for g in sense.iter("gloss") if g.get(LANGUAGE_ATTRIBUTE, "eng") == "eng"]
        french = [g.text or "" for g in sense.iter("gloss") if g.get(LANGUAGE_ATTRIBUTE) == "fre"]
        if english and not misc & {"arch", "vulg", "X", "sl", "derog", "obs", "m-sl", "net-sl", "obsc", "rare"}:
            entry.senses.append({"pos": pos, "misc": misc, "glosses": english})
        if french:
            entry.french.append(french)
    return entry


def read_cedict(path: Path) -> dict[str, list[list[str]]]:
    """Read CC-CEDICT.

    Returns:
        For each simplified word its entries, each a list of glosses; names (capital pinyin), variants and
        cross references are left out.
    """
    words: dict[str, list[list[str]]] = defaultdict(list)
    for line in gzip.open(path, "rt", encoding="utf-8"):
        match = re.match(r"(\S+) (\S+) \[([^\]]*)\] /(.*)/", line)
        if not match or match.group(3)[:1].isupper():
            continue
        glosses = []
        for part in match.group(4).split("/"):
            for gloss in part.split(";"):
                gloss = gloss.strip()
                if gloss and not re.match(r"(CL:|variant of|old variant|see |surname|used in|abbr\.|also |erhua)", gloss):
                    glosses.append(gloss)
        if glosses:
            words[normalise(match.group(2))].append(glosses)
    return dict(words)


def simplified_characters(cedict: Path, kanjidic: Path) -> dict[str, str]:
    """Map Japanese and traditional characters to simplified Chinese ones (identity left out)."""
    table: dict[str, str] = {}
    for line in gzip.open(cedict, "rt", encoding="utf-8"):
        parts = line.split(" ", 2)
        if not line.startswith("#") and len(parts[0]) == len(parts[1]) == 1 and parts[0] != parts[1]:
            table.setdefault(parts[0], parts[1])
    jis, variants = {}, {}
    for chunk in re.findall(r"<character>.*?</character>", gzip.open(kanjidic, "rt", encoding="utf-8").read(), flags=re.S):
        literal = re.search(r"<literal>(.)", chunk).group(1)
        for code in re.findall(r'cp_type="jis208">([\d-]+)', chunk):
            jis[_jis_code(code)] = literal
        variants[literal] = [_jis_code(code) for code in re.findall(r'var_type="jis208">([\d-]+)', chunk)]
    for literal, codes in variants.items():
        for code in codes:
            # A Japanese short form (図) reaches the simplified one (图) by its traditional variant (圖).
            traditional = jis.get(code)
            if literal not in table and traditional in table:
                table[literal] = table[traditional]
    return table


def _jis_code(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("-"))  # written both 1-55-2 and 1-55-02


def read_dictd(path: Path) -> dict[str, list[Translation]]:
    """Read a FreeDict file in dictd form (headword line, then numbered or plain translation lines).

    Returns:
        Translations by headword; the part of speech is that of the headword's tag (n, v, a or "").
    """
    entries: dict[str, list[Translation]] = defaultdict(list)
    head, pos, sense, fresh = "", "", 0, False
    text = gzip.open(path, "rt", encoding="utf-8").read()
    text = text[text.index("\n", text.index("Publisher")) :]
    for line in text.split("\n"):
        match = HEADWORD.match(line)
        if match:
            tags = re.findall(r"<([^>]*)>\s*$", line)
            head, pos, sense, fresh = normalise(match.group(1)), _tag_pos(tags[0] if tags else ""), 0, True
            continue
        numbered = re.match(r"^\s*(\d+)\.\s*(.*)", line)
        # After the translations of a sense comes its definition; only a number opens the next sense.
        if not head or not (numbered or (fresh and line.strip())):
            continue
        if numbered:
            sense, line = int(numbered.group(1)) - 1, numbered.group(2)
        fresh = False
        line = re.sub(r"\s\d+\.\s*$", "", line)
        for item, word in enumerate(re.split(r"[,、;]\s*", line)):
            bare = strip_parentheses(normalise(word)).strip(" .")
            if bare:
                entries[head].append(Translation(bare, pos, sense, item, bare != normalise(word)))
    return dict(entries)


def _tag_pos(tag: str) -> str:
    tags = [part.strip() for part in tag.split(",")]
    if any(part in ("n", "masc", "fem") for part in tags):
        return "n"
    if any(part.startswith("v") for part in tags):
        return "v"
    if "adj" in tags:
        return "a"
    return "x" if set(tags) & {"adv", "pn", "prep", "conj", "int", "interj", "pron", "num", "phraseologicalUnit"} else ""


@dataclass
class WordNet:
    """Synsets by (lemma, pos), tag counts and the neighbours used for conflicts; pos is n, v, a or r."""

    synsets: dict[tuple[str, str], list[str]]
    counts: dict[tuple[str, str], int]
    members: dict[str, list[str]]
    lexfile: dict[str, str]
    similar: dict[str, list[str]]
    above: dict[str, list[str]]


def read_wordnet(folder: Path) -> WordNet:
    """Read WordNet 3.0's data, index and tag-count files."""
    net = WordNet({}, defaultdict(int), {}, {}, defaultdict(list), defaultdict(list))
    for name, pos in (("noun", "n"), ("verb", "v"), ("adj", "a"), ("adv", "r")):
        for line in (folder / f"data.{name}").read_text(encoding="utf-8").splitlines():
            if not line.startswith("  "):
                _read_synset(net, line.split(" | ")[0].split(), pos)
        for line in (folder / f"index.{name}").read_text(encoding="utf-8").splitlines():
            if not line.startswith("  "):
                parts = line.split()
                offsets = parts[-int(parts[2]) :]
                net.synsets[parts[0].replace("_", " "), pos] = [f"{pos}{offset}" for offset in offsets]
    for line in (folder / "cntlist.rev").read_text(encoding="utf-8").splitlines():
        key, _, count = line.split()
        lemma, rest = key.split("%")
        pos = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}[rest[0]]
        net.counts[lemma.replace("_", " "), pos] += int(count)
    return net


def _read_synset(net: WordNet, parts: list[str], pos: str) -> None:
    key = f"{pos}{parts[0]}"
    size = int(parts[3], 16)
    words = [re.sub(r"\(.*\)", "", parts[4 + 2 * i]).replace("_", " ") for i in range(size)]
    net.members[key], net.lexfile[key] = words, parts[1]
    start = 4 + 2 * size
    for i in range(int(parts[start])):
        symbol, offset, target_pos, _ = parts[start + 1 + 4 * i : start + 5 + 4 * i]
        target = f"{'a' if target_pos == 's' else target_pos}{offset}"
        if symbol in ("&", "^", "$", "*"):  # similar to, also see, verb group, entailment
            net.similar[key].append(target)
        if symbol in ("@", "~"):
            net.above[key].append(target)
