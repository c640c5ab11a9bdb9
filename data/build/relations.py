"""Valid translations of a concept, and the conflicts between concepts."""

from __future__ import annotations

from collections import defaultdict

from choose import Concept
from links import LANGUAGES, SINGLE_WORD, Dictionaries, zipf

RARE = 2.0  # a valid word must be at least this frequent


def valid_words(d: Dictionaries, concept: Concept, excluded: set[tuple[str, str]]) -> dict[str, list[str]]:
    """List every accepted translation of a concept.

    A word is accepted when a dictionary gives it for the English word and a second language of the row agrees with it.

    Args:
        d: The dictionaries.
        concept: The row.
        excluded: (language, word) pairs that are never accepted.

    Returns:
        Words by language, the main word first.
    """
    found = {
        "en": _valid_english(d, concept),
        "fr": _valid_french(d, concept),
        "zh": _valid_chinese(d, concept),
        "ja": _valid_japanese(d, concept),
    }
    valid = {}
    for language in LANGUAGES:
        main = concept.words[language]
        others = [w for w in found[language] if (language, w) not in excluded and zipf(w, language) >= RARE]
        valid[language] = list(dict.fromkeys([main, *others]))
    return valid


def _japanese_glosses(d: Dictionaries, number: int) -> set[str]:
    return (d.ja_glosses[number] | d.en_wikdict.get(number, set())) if number >= 0 else set()


def _valid_english(d: Dictionaries, concept: Concept) -> list[str]:
    words, main = concept.words, concept.words["en"]
    votes = [d.fr_glosses.get(words["fr"], set()), d.zh_glosses.get(words["zh"], set()), _japanese_glosses(d, concept.entry)]
    synonyms = {w for key in d.wordnet.synsets.get((main, concept.pos), ()) for w in d.wordnet.members[key]}
    accepted = []
    for word in sorted(set().union(*votes)):
        agreed = sum(word in vote for vote in votes)
        same_pos = (word, concept.pos) in d.wordnet.synsets
        if same_pos and SINGLE_WORD["en"].match(word) and (agreed == 3 or agreed == 2 and word in synonyms):
            accepted.append(word)
    return accepted


def _valid_french(d: Dictionaries, concept: Concept) -> list[str]:
    linked = d.fr_by_entry.get(concept.entry, {})
    around = (d.zh_glosses.get(concept.words["zh"], set()) | _japanese_glosses(d, concept.entry)) - {concept.words["en"]}
    accepted = []
    for word in concept.candidates.get("fr", {}):
        direct = word in d.fr_by_english.get(concept.words["en"], ())
        if direct and (word in linked or len(d.fr_glosses.get(word, set()) & around) >= 2):
            accepted.append(word)
    return accepted


def _valid_chinese(d: Dictionaries, concept: Concept) -> list[str]:
    own = d.zh_glosses.get(concept.words["zh"], set()) | _japanese_glosses(d, concept.entry)
    own = own - {concept.words["en"]}
    return [word for word in concept.candidates.get("zh", {}) if d.zh_glosses[word] & own]


def _valid_japanese(d: Dictionaries, concept: Concept) -> list[str]:
    accepted = []
    own = (_japanese_glosses(d, concept.entry) | d.zh_glosses.get(concept.words["zh"], set())) - {concept.words["en"]}
    if concept.entry >= 0:
        entry = d.entries[concept.entry]
        suffix = "する" if concept.words["ja"].endswith("する") else ""
        for form in entry.kanji[:4] + entry.kana[:1]:
            if len(form) > 1 or form in entry.kanji:
                accepted += [form.removesuffix(suffix) + suffix, form]  # some entries hold する themselves
    for number in concept.candidates.get("ja", {}):
        agrees = concept.words["fr"] in d.fr_by_entry.get(number, {}) or _japanese_glosses(d, number) & own
        if number != concept.entry and agrees:
            form = d.japanese_form(number, concept.pos)
            accepted += [form, form.removesuffix("する")] if form.endswith("する") else [form]
    return accepted


def reach(d: Dictionaries, concept: Concept) -> dict[str, set[str]]:
    """Collect the words any dictionary gives for the concept's words, in either direction.

    Returns:
        ``en``: glosses of its main words plus the English synonyms; ``fr``, ``ja``: French-Japanese links.
    """
    words = concept.words
    english = set(concept.valid["en"]) | d.fr_glosses.get(words["fr"], set()) | d.zh_glosses.get(words["zh"], set())
    french, japanese = set(concept.valid["fr"]), set(concept.valid["ja"])
    homographs = set(d.find_japanese(words["ja"])) | {concept.entry}
    for number in homographs - {-1}:
        english |= _japanese_glosses(d, number)
        french |= set(d.fr_by_entry.get(number, {}))
    for translation in d.fr_ja.get(words["fr"], ()):
        japanese.add(translation.word)
    for lemma in concept.valid["en"]:
        for pos in "nva":
            for key in d.wordnet.synsets.get((lemma, pos), ()):
                english |= {member.lower() for member in d.wordnet.members[key]}
    return {"en": english, "fr": french, "ja": japanese, "zh": set(concept.valid["zh"])}


def neighbours(d: Dictionaries, concept: Concept) -> set[str]:
    """Return WordNet lemmas directly above, below or similar to the concept's English word."""
    lemmas = set()
    for key in d.wordnet.synsets.get((concept.words["en"], concept.pos), ()):
        for other in d.wordnet.above.get(key, []) + d.wordnet.similar.get(key, []):
            lemmas |= {member.lower() for member in d.wordnet.members.get(other, ())}
    return lemmas


def find_conflicts(d: Dictionaries, concepts: list[Concept]) -> dict[str, list[str]]:
    """Find the concepts that might share a sense and so must not be each other's distractors.

    Two concepts conflict when they share a main word, a valid word or a word any dictionary links to either
    (English glosses expanded by WordNet synsets, French-Japanese links), or when WordNet puts one English word
    directly above, below or beside the other.

    Returns:
        Sorted concept ids by concept id; symmetric.
    """
    holders: dict[tuple[str, str], set[str]] = defaultdict(set)
    by_lemma = defaultdict(set)
    for concept in concepts:
        by_lemma[concept.words["en"]].add(concept.concept_id)
        for language, words in reach(d, concept).items():
            for word in words:
                holders[language, word].add(concept.concept_id)
        # The same string in Chinese and Japanese: one would be read as the other.
        for language in ("zh", "ja"):
            holders["han", concept.words[language]].add(concept.concept_id)
    conflicts: dict[str, set[str]] = {concept.concept_id: set() for concept in concepts}
    for group in holders.values():
        for one in group:
            conflicts[one] |= group
    for concept in concepts:
        near = set().union(*(by_lemma.get(lemma, set()) for lemma in neighbours(d, concept)), set())
        for other in near:
            conflicts[concept.concept_id].add(other)
            conflicts[other].add(concept.concept_id)
    return {name: sorted(others - {name}) for name, others in conflicts.items()}


def mark_bijective(concepts: list[Concept]) -> set[str]:
    """Choose the bijective concepts greedily, most confident first.

    Returns:
        Ids of concepts whose main words are, in every language, neither main nor valid word of another chosen one.
    """
    main: set[tuple[str, str]] = set()
    accepted: set[tuple[str, str]] = set()
    chosen = set()
    for concept in sorted(concepts, key=lambda c: (-c.confidence, c.concept_id)):
        own_main = set(concept.words.items())
        own_valid = {(language, word) for language in LANGUAGES for word in concept.valid[language]}
        if not own_main & accepted and not own_valid & main:
            chosen.add(concept.concept_id)
            main |= own_main
            accepted |= own_valid
    return chosen
