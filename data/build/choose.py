"""Choose the French, Chinese and Japanese word of an English concept by the agreement of the dictionaries."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from links import SINGLE_WORD, Dictionaries, japanese_pos, zipf

POS = ("n", "v", "a")
FLOOR = {"en": 2.9, "fr": 2.2, "zh": 2.3, "ja": 2.2}
KEPT = 10  # candidates of a language that enter the joint choice


@dataclass
class Concept:
    """A chosen row: the words, all candidates with their scores, and the row's confidence."""

    pos: str
    words: dict[str, str]
    entry: int
    confidence: float
    sources: set[str]
    candidates: dict[str, dict] = field(repr=False, default_factory=dict)
    valid: dict[str, list[str]] = field(default_factory=dict)

    @property
    def concept_id(self) -> str:
        """The stable name: English word and part of speech."""
        return f"{self.words['en']}.{self.pos}"


def english_lemmas(d: Dictionaries) -> list[tuple[str, str]]:
    """Return (lemma, pos) pairs: WordNet lemmas that are frequent enough, each with its main part of speech."""
    net, chosen = d.wordnet, []
    for lemma in sorted({lemma for lemma, _ in net.synsets}):
        if not SINGLE_WORD["en"].match(lemma) or zipf(lemma, "en") < FLOOR["en"]:
            continue
        shares = {p: net.counts.get((lemma, p), 0) + 0.5 for p in ("n", "v", "a", "r") if (lemma, p) in net.synsets}
        total = sum(shares.values())
        for pos in POS:
            # A word that is used as often in another part of speech has no clear translation.
            if shares.get(pos, 0) / total >= 0.34 and lemma in net.members[net.synsets[lemma, pos][0]]:
                chosen.append((lemma, pos))
    return chosen


def japanese_candidates(d: Dictionaries, english: str, pos: str) -> dict[int, float]:
    """Score the JMdict entries that translate an English word."""
    scores: dict[int, float] = {}
    for number, sense, item, tags, gloss_pos, qualified in d.ja_by_english.get(english, ()):
        weight = japanese_pos(tags).get(pos, 0)
        if pos == "v" and gloss_pos != "v" and "vs" not in tags or pos != "v" and gloss_pos == "v":
            weight = 0
        if weight:
            value = weight / (1 + 0.4 * sense) / (1 + 0.2 * item) * (0.8 if qualified else 1)
            scores[number] = max(value, scores.get(number, 0))
    wikdict: dict[int, float] = {}
    for t in d.en_ja.get(english, ()):
        if t.pos in ("", pos):
            for number in d.find_japanese(t.word):
                tags = set().union(*(sense["pos"] for sense in d.entries[number].senses))
                weight = japanese_pos(tags).get(pos, 0)
                value = weight / (1 + 0.3 * t.sense) / (1 + 0.15 * t.item)
                if value:
                    wikdict[number] = max(value, wikdict.get(number, 0))
    for number, value in wikdict.items():
        scores[number] = scores.get(number, 0) + value
    kept = {}
    for number, value in scores.items():
        form = d.japanese_form(number, pos)
        frequency = zipf(form, "ja")
        if SINGLE_WORD["ja"].match(form) and frequency >= FLOOR["ja"]:
            kept[number] = value + 0.2 * min(frequency, 5) + 0.3 * d.entries[number].common
    return kept


def chinese_candidates(d: Dictionaries, english: str, pos: str) -> dict[str, float]:
    """Score the CC-CEDICT words that translate an English word."""
    scores: dict[str, float] = {}
    for word, number, item, gloss_pos, qualified in d.zh_by_english.get(english, ()):
        if (pos == "v") != (gloss_pos == "v") or pos == "a" and gloss_pos == "n":
            continue
        frequency = zipf(word, "zh")
        if not SINGLE_WORD["zh"].match(word) or frequency < FLOOR["zh"]:
            continue
        value = 1 / (1 + 0.25 * item + 0.3 * number) * (0.8 if qualified else 1)
        value += d.chinese_pos_bonus(word, pos) + 0.4 * min(frequency, 5)
        if len(word) == 1 and item + number > 0:
            value -= 0.3  # a bare character with another first meaning
        scores[word] = max(value, scores.get(word, -9))
    return scores


def french_candidates(d: Dictionaries, english: str, pos: str, japanese: dict[int, float]) -> dict[str, float]:
    """Score French words, linked directly or through the Japanese candidates."""
    scores: dict[str, float] = {}
    pivot: dict[str, float] = {}
    for number in japanese:
        for word, weight in d.fr_by_entry.get(number, {}).items():
            pivot[word] = pivot.get(word, 0) + 0.35 * min(weight, 1)
    forward = {t.word for t in d.en_fr.get(english, ())}
    for word in d.fr_by_english.get(english, set()) | set(pivot):
        if not SINGLE_WORD["fr"].match(word) or zipf(word, "fr") < FLOOR["fr"] or not d.french_has_pos(word, pos):
            continue
        value = min(pivot.get(word, 0), 0.9)
        if word in forward:
            value += 0.6 + 0.4 / len(forward)
        backward = [t for t in d.fr_en.get(word, ()) if t.word == english and t.pos in ("", pos)]
        if backward:
            value += 0.6 + 0.4 / len(d.fr_en[word])
        likeness = SequenceMatcher(None, english, word).ratio()
        if value < 0.6 and likeness < 0.75:
            continue
        value += 0.3 * (likeness >= 0.75) + 0.35 * min(zipf(word, "fr"), 5)
        scores[word] = value
    return scores


def best(scores: dict, count: int = KEPT) -> dict:
    """Return the best ``count`` items; ties are broken by key so that a rebuild is the same."""
    return dict(sorted(scores.items(), key=lambda item: (-item[1], str(item[0])))[:count])


def distance_penalty(word: str, language: str, english: str) -> float:
    """Penalise a word much rarer or more frequent than the English one."""
    return 0.3 * max(0.0, abs(zipf(word, language) - zipf(english, "en")) - 0.7)


def choose(d: Dictionaries, english: str, pos: str, excluded: frozenset | set = frozenset()) -> Concept | None:
    """Choose the words of a concept jointly.

    Args:
        d: The dictionaries.
        english: The English word.
        pos: n, v or a.
        excluded: (language, word) pairs that are never chosen.

    Returns:
        The concept, or None when a language has no candidate.
    """
    japanese = japanese_candidates(d, english, pos)
    chinese = best(chinese_candidates(d, english, pos))
    french = best(french_candidates(d, english, pos, japanese))
    japanese = best({n: s for n, s in japanese.items() if ("ja", d.japanese_form(n, pos)) not in excluded})
    chinese = {word: s for word, s in chinese.items() if ("zh", word) not in excluded}
    french = {word: s for word, s in french.items() if ("fr", word) not in excluded}
    if not (japanese and chinese and french):
        return None
    top = None
    for number, ja_score in japanese.items():
        form = d.japanese_form(number, pos)
        ja_glosses = d.ja_glosses[number] | d.en_wikdict.get(number, set())
        ja_han, ja_french = d.han(form), d.fr_by_entry.get(number, {})
        ja_value = ja_score - distance_penalty(form, "ja", english)
        zh_values = {}
        for zh, zh_score in chinese.items():
            shared = len(d.zh_glosses[zh] & ja_glosses - {english})
            han = d.han(zh)
            likeness = len(han & ja_han) / len(han | ja_han) if ja_han else 0
            zh_values[zh] = zh_score - distance_penalty(zh, "zh", english) + 0.4 * min(shared, 3) + 0.6 * likeness
        for fr, fr_score in french.items():
            direct = min(ja_french.get(fr, 0), 1.5)
            fr_glosses = d.fr_glosses.get(fr, set())
            fr_value = fr_score - distance_penalty(fr, "fr", english) + direct
            for zh, zh_value in zh_values.items():
                common = 0.2 * min(len(fr_glosses & d.zh_glosses[zh] - {english}), 3)
                value = ja_value + zh_value + fr_value + common
                if top is None or value > top[0]:
                    top = (value, fr, zh, number, form)
    value, fr, zh, number, form = top
    senses = len(d.wordnet.synsets[english, pos])
    value -= 0.35 * math.log2(senses)
    value += 0.4 * (len(chinese) == 1) + 0.3 * (len(japanese) == 1)
    concept = Concept(pos, {"en": english, "fr": fr, "zh": zh, "ja": form}, number, value, set())
    concept.candidates = {"fr": french, "zh": chinese, "ja": japanese}
    concept.sources = attesting(d, concept)
    return concept


def attesting(d: Dictionaries, concept: Concept) -> set[str]:
    """Name the dictionaries that attest a link of the row."""
    en, fr, zh, number = concept.words["en"], concept.words["fr"], concept.words["zh"], concept.entry
    names = {"wordnet"}
    checks = {
        "freedict-eng-fra": any(t.word == fr for t in d.en_fr.get(en, ())),
        "freedict-fra-eng": any(t.word == en for t in d.fr_en.get(fr, ())),
        "jmdict-en": number >= 0 and en in d.ja_glosses[number],
        "jmdict-fr": number >= 0 and fr in d.fr_jmdict.get(number, ()),
        "wikdict-eng-jpn": number >= 0 and en in d.en_wikdict.get(number, ()),
        "wikdict-fra-jpn": number >= 0 and fr in d.fr_wikdict.get(number, ()),
        "cc-cedict": en in d.zh_glosses.get(zh, ()),
    }
    return names | {name for name, holds in checks.items() if holds}
