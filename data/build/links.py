"""Look-ups between the four languages: which dictionary links which words, and how strongly."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import dictionaries
import wordfreq
from dictionaries import JapaneseEntry, english_gloss, normalise, strip_parentheses
from fetch import find_one

FRENCH_ARTICLE = re.compile(r"^(?:le |la |les |l'|un |une |des |du |de la |de l')")
FRENCH_VERB = re.compile(r"(?:er|ir|re|oir)$")
HAN = re.compile(r"[\u3400-\u9fff\u3005]")
SINGLE_WORD = {
    "en": re.compile(r"^[a-z]{2,}(?:-[a-z]+)?$"),
    "fr": re.compile(r"^[a-zàâäçéèêëîïôöùûüÿœæ]{2,}(?:-[a-zàâäçéèêëîïôöùûüÿœæ]+)*$"),
    "zh": re.compile(r"^[\u4e00-\u9fff]{1,4}$"),
    "ja": re.compile(r"^[\u3005\u3040-\u30ff\u4e00-\u9fff]+$"),
}
LANGUAGES = ("en", "fr", "zh", "ja")


@cache
def zipf(word: str, language: str) -> float:
    """Return the wordfreq Zipf frequency of a word (0 when unknown)."""
    return wordfreq.zipf_frequency(word, language)


def clean_french(text: str) -> str:
    """Return a French gloss without remarks and article."""
    return FRENCH_ARTICLE.sub("", strip_parentheses(normalise(text)).strip(" .,;!?~")).strip()


def japanese_pos(tags: set[str]) -> dict[str, float]:
    """Map JMdict part-of-speech tags to n/v/a with a weight (1 = fully that part of speech)."""
    weights: dict[str, float] = {}
    if any(tag == "n" or tag.startswith("n-") and tag not in ("n-suf", "n-pref") for tag in tags):
        weights["n"] = 1.0
    if tags & {"adj-i", "adj-ix", "adj-na"}:
        weights["a"] = 1.0
    elif "adj-no" in tags:
        weights["a"] = 0.7
    elif tags & {"adj-f", "adj-t"}:
        weights["a"] = 0.4
    if any(tag.startswith(("v1", "v5", "vk", "vz")) or tag in ("vs-i", "vs-s") for tag in tags):
        weights["v"] = 1.0
    elif "vs" in tags:
        weights["v"] = 0.9
    return weights


@dataclass
class Dictionaries:
    """All dictionaries with their indexes. Japanese candidates are numbers of JMdict entries."""

    entries: list[JapaneseEntry]
    cedict: dict[str, list[list[str]]]
    en_fr: dict[str, list[dictionaries.Translation]]
    fr_en: dict[str, list[dictionaries.Translation]]
    en_ja: dict[str, list[dictionaries.Translation]]
    fr_ja: dict[str, list[dictionaries.Translation]]
    wordnet: dictionaries.WordNet
    characters: dict[str, str]
    chinese_tags: dict[str, str]

    def __post_init__(self) -> None:
        self.forms: dict[str, list[int]] = defaultdict(list)
        self.ja_by_english: dict[str, list[tuple]] = defaultdict(list)
        self.ja_glosses: list[set[str]] = []
        self.fr_by_entry: dict[int, dict[str, float]] = defaultdict(dict)
        self.fr_jmdict: dict[int, set[str]] = defaultdict(set)
        self.fr_wikdict: dict[int, set[str]] = defaultdict(set)
        self.en_wikdict: dict[int, set[str]] = defaultdict(set)
        self.zh_by_english: dict[str, list[tuple]] = defaultdict(list)
        self.zh_glosses: dict[str, set[str]] = {}
        self.fr_by_english: dict[str, set[str]] = defaultdict(set)
        self.fr_glosses: dict[str, set[str]] = defaultdict(set)
        self.fr_pos: dict[str, set[str]] = defaultdict(set)
        self._index_japanese()
        self._index_chinese()
        self._index_french()

    def _index_japanese(self) -> None:
        for number, entry in enumerate(self.entries):
            for form in dict.fromkeys(entry.kanji + entry.kana):
                self.forms[form].append(number)
            glosses = set()
            for sense_number, sense in enumerate(entry.senses):
                for item, text in enumerate(sense["glosses"]):
                    gloss, pos = english_gloss(text)
                    glosses.add(gloss)
                    self.ja_by_english[gloss].append((number, sense_number, item, sense["pos"], pos, "(" in text))
            self.ja_glosses.append(glosses)
            for sense_number, texts in enumerate(entry.french):
                for item, text in enumerate(texts):
                    word = clean_french(text)
                    weight = 1 / (1 + 0.3 * sense_number) / (1 + 0.15 * item)
                    self.fr_jmdict[number].add(word)
                    self.fr_by_entry[number][word] = max(weight, self.fr_by_entry[number].get(word, 0))
        for word, translations in self.fr_ja.items():
            for t in translations:
                for number in self.find_japanese(t.word):
                    self.fr_wikdict[number].add(word)
                    weight = 1 / (1 + 0.3 * t.sense) / (1 + 0.15 * t.item)
                    self.fr_by_entry[number][word] = self.fr_by_entry[number].get(word, 0) + weight
        for word, translations in self.en_ja.items():
            for t in translations:
                for number in self.find_japanese(t.word):
                    self.en_wikdict[number].add(word)

    def find_japanese(self, word: str) -> list[int]:
        """Return the JMdict entries a Japanese string stands for (kanji forms before readings)."""
        for shape in (word, re.sub(r"(?:する|な|の)$", "", word)):
            found = self.forms.get(shape, [])
            exact = [n for n in found if shape in self.entries[n].kanji]
            exact = exact or [n for n in found if not self.entries[n].kanji]
            exact = exact or [n for n in found if any("uk" in s["misc"] for s in self.entries[n].senses)]
            if exact or found:
                return exact or (found if len(found) == 1 else [])
        return []

    def _index_chinese(self) -> None:
        for word, entries in self.cedict.items():
            seen = set()
            for number, glosses in enumerate(entries):
                for item, text in enumerate(glosses):
                    gloss, pos = english_gloss(text)
                    seen.add(gloss)
                    self.zh_by_english[gloss].append((word, number, item, pos, "(" in text))
            self.zh_glosses[word] = seen

    def _index_french(self) -> None:
        for english, translations in self.en_fr.items():
            for t in translations:
                self.fr_by_english[english].add(t.word)
                self.fr_glosses[t.word].add(english)
        for french, translations in self.fr_en.items():
            for t in translations:
                self.fr_by_english[t.word].add(french)
                self.fr_glosses[french].add(t.word)
                self.fr_pos[french].add(t.pos)
        for french, translations in self.fr_ja.items():
            self.fr_pos[french].update(t.pos for t in translations)

    def french_has_pos(self, word: str, pos: str) -> bool:
        """Tell whether a French word may have a part of speech, by tags or else by its ending."""
        tags = self.fr_pos.get(word, set()) - {""}
        if tags:
            return pos in tags
        return bool(FRENCH_VERB.search(word)) if pos == "v" else pos == "n" or not word.endswith(("er", "ir"))

    def chinese_pos_bonus(self, word: str, pos: str) -> float:
        """Return a small bonus or malus by the tag jieba gives the word."""
        tag = self.chinese_tags.get(word, "")
        wanted = {"n": ("n", "vn", "an", "s", "t", "f"), "v": ("v", "vn", "vi"), "a": ("a", "b", "z", "ad", "an")}[pos]
        if not tag:
            return -0.1
        if tag in ("nr", "ns", "nz"):
            return -0.2
        return 0.2 if tag in wanted else (-0.15 if tag[0] in wanted else -0.4)

    def japanese_form(self, number: int, pos: str) -> str:
        """Return the usual written form of an entry, with する for する-verbs."""
        entry = self.entries[number]
        usually_kana = any("uk" in sense["misc"] for sense in entry.senses[:1])
        kanji = max(entry.kanji[:3], key=lambda w: zipf(w, "ja") - 0.5 * entry.kanji.index(w), default="")
        kana = entry.kana[0] if entry.kana else ""  # a later reading may be frequent as another word
        form = kanji or kana
        if kana and kanji:
            better_kana = zipf(kana, "ja") >= zipf(kanji, "ja") - 0.1
            if usually_kana and better_kana or zipf(kanji, "ja") < 1.5 and zipf(kana, "ja") > 3:
                form = kana
        tags = set().union(*(sense["pos"] for sense in entry.senses))
        if pos == "v" and "vs" in tags and "vs-i" not in tags and not any(t.startswith(("v1", "v5")) for t in tags):
            form += "する"
        return form

    def han(self, word: str) -> frozenset[str]:
        """Return a word's Han characters as simplified ones."""
        return frozenset(self.characters.get(c, c) for c in word if HAN.match(c))


def load(folders: dict[str, Path]) -> Dictionaries:
    """Parse every dictionary.

    Args:
        folders: Unpacked sources by name, as ``fetch.fetch_all`` returns them.

    Returns:
        The indexed dictionaries.
    """
    import jieba

    jmdict = find_one(folders["jmdict"], "jmdict.xml.gz")
    cedict = find_one(folders["cedict"], "cedict_1_0_ts_utf-8_mdbg.txt.gz")
    dictd = {
        name: dictionaries.read_dictd(find_one(folders[name], "*.dict.dz"))
        for name in ("freedict-eng-fra", "freedict-fra-eng", "wikdict-eng-jpn", "wikdict-fra-jpn")
    }
    tags = {}
    for line in (Path(jieba.__file__).parent / "dict.txt").read_text(encoding="utf-8").splitlines():
        word, _, tag = line.split(" ")
        tags[word] = tag
    return Dictionaries(
        entries=dictionaries.read_jmdict(jmdict),
        cedict=dictionaries.read_cedict(cedict),
        en_fr=dictd["freedict-eng-fra"],
        fr_en=dictd["freedict-fra-eng"],
        en_ja=dictd["wikdict-eng-jpn"],
        fr_ja=dictd["wikdict-fra-jpn"],
        wordnet=dictionaries.read_wordnet(find_one(folders["wordnet"], "data.noun").parent),
        characters=dictionaries.simplified_characters(cedict, find_one(folders["jmdict"], "kanjidic2.xml.gz")),
        chinese_tags=tags,
    )
