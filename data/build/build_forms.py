"""Build data/forms.parquet: every string that counts as a word of a concept when the word is cut out of documents.

Run from the repository root::

    python data/build/build_forms.py           # rebuild the file and its section of data/README.md
    python data/build/build_forms.py --check   # compare the committed file with a fresh build

English and French inflections are the words of the corpus that a lemmatizer, or the regular endings, lead back to an accepted
translation; parts of speech are not told apart. Japanese inflections are made by rule. Chinese does not inflect.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections import defaultdict
from pathlib import Path

import fetch
import pyarrow as pa
import pyarrow.parquet as pq
import simplemma

from semantic_pivots.matching import fold, surface_forms
from semantic_pivots.task import read_lexicon

HERE = Path(__file__).resolve().parent
DATA = HERE.parent
PARQUET = DATA / "forms.parquet"
TEMPLATE = HERE / "forms.section.md"
LANGUAGES = ("en", "fr", "zh", "ja")
SCHEMA = pa.schema([("concept_id", pa.string()), ("lang", pa.string()), ("forms", pa.list_(pa.string()))])
WORD = re.compile(r"[^\W\d_]+")

# Regular endings, put in the place of an ending of the dictionary form ("" of any): (parts of speech, dictionary ending, endings).
ENDINGS = {
    "en": [
        ("nva", "", "s es ed ing er est"),
        ("nva", "e", "ed ing er est"),
        ("nva", "y", "ies ied ier iest"),
        ("n", "f", "ves"),
        ("n", "fe", "ves"),
    ],
    "fr": [
        ("na", "", "s x e es"),
        ("na", "al", "aux"),
        ("na", "el", "elle elles"),
        ("na", "en", "enne ennes"),
        ("na", "on", "onne onnes"),
        ("na", "er", "ère ères"),
        ("na", "if", "ive ives"),
        ("na", "eux", "euse euses"),
        ("na", "eur", "euse euses rice rices"),
        ("v", "er", "e es ons ez ent é ée és ées ant ais ait ions iez aient ai as a èrent"),
        ("v", "er", "erai eras era erons erez eront erais erait erions eriez eraient"),
        ("v", "ir", "is it i ie ies issons issez issent issant issait issaient ira iront irait iraient irent"),
        ("v", "re", "s ons ez ent u ue us ues ant ait aient ra ront rait raient it irent"),
        ("v", "ire", "it its ite ites is ises"),
        ("v", "indre", "int ints inte intes"),
    ],
}
# Japanese: the last kana of a godan verb, and what stands in its place before other endings (with its euphonic change).
GODAN = {
    "う": "わいうえおっ",
    "く": "かきくけこい",
    "ぐ": "がぎぐげごい",
    "す": "さしすせそ",
    "つ": "たちつてとっ",
    "ぬ": "なにぬねのん",
    "ぶ": "ばびぶべぼん",
    "む": "まみむめもん",
    "る": "らりるれろっ",
}
AFTER_STEM = "たてなまられろよさずちそすに"  # kana that follow the stem of an ichidan verb
BEFORE_RU = "いきぎしじちにひびみりえけげせぜてでねへべめれ"  # ends of ichidan stems: the i- and e-rows (or a kanji)


def spaced_words(texts: list[str]) -> set[str]:
    """Return the distinct lower-case words of some texts."""
    return {word for text in texts for word in set(WORD.findall(text.replace("\u2019", "'").lower()))}


def corpus_words(folder: Path, language: str) -> list[str]:
    """Return the distinct words of a language's segments in the corpus, sorted."""
    words: set[str] = set()
    for path in sorted(folder.glob("*.parquet")):
        table = pq.read_table(path, columns=["text", "segments"])
        for text, segments in zip(table["text"].to_pylist(), table["segments"].to_pylist()):
            at, parts = 0, []
            for segment in segments:
                if segment["lang"] == language:
                    parts.append(text[at : at + segment["n_chars"]])
                at += segment["n_chars"] + 1
            words |= spaced_words(parts)
    return sorted(words)


def inflections(words: list[str], language: str) -> dict[str, set[str]]:
    """Return the inflected forms of each lemma, both folded; a word counts for its lemma and for that lemma's own lemma."""
    found: dict[str, set[str]] = defaultdict(set)
    for word in words:
        lemma = simplemma.lemmatize(word, lang=language)
        for one in {lemma, simplemma.lemmatize(lemma, lang=language)}:
            found[fold(one)].add(fold(word))
    return found


def regular(word: str, pos: str, language: str) -> set[str]:
    """Return a word with the regular endings of its part of speech, whether or not they exist."""
    made = set()
    for kinds, ending, endings in ENDINGS[language]:
        if pos in kinds and word.endswith(ending) and len(word) > len(ending) + 1:
            made |= {word[: len(word) - len(ending)] + other for other in endings.split()}
    if language == "en" and re.search(r"[aeiou][bdgklmnprtvz]$", word):
        made |= {word + word[-1] + other for other in ("ed", "ing", "er", "est")}
    return made


def japanese(word: str, pos: str) -> set[str]:
    """Return the conjugated beginnings of a Japanese verb or i-adjective; nothing for other words.

    Hiragana alone must be three characters or more, since shorter ones stand in every sentence. Whether a verb in る is godan or
    ichidan is not asked: both are made.
    """
    word = fold(word)
    stem, last = word[:-1], word[-1:]
    made: set[str] = set()
    if pos == "a" and last == "い" and stem:
        made = {stem + kana for kana in "くかけさい"}
    elif pos == "v" and last in GODAN and stem and not word.endswith("する"):
        made = {stem + kana for kana in GODAN[last]}
        if last == "る" and (not hiragana(stem[-1]) or stem[-1] in BEFORE_RU):
            short = len(stem) < 2 or (hiragana(stem) and len(stem) < 3)
            made |= {stem + kana for kana in AFTER_STEM} if short else {stem}
        if word.endswith(("行く", "いく")):
            made.add(stem + "っ")
        if word.endswith("来る"):
            made.add(stem + "い")
    return {form for form in made if not hiragana(form) or len(form) >= 3}


def hiragana(text: str) -> bool:
    """Whether a text is hiragana alone."""
    return all("\u3041" <= character <= "\u309f" for character in text)


def build(lexicon_path: Path, corpus: Path) -> pa.Table:
    """Return the table: a row for each concept and language, forms sorted, the words of the lexicon themselves included."""
    lexicon = read_lexicon(lexicon_path)
    words = {language: corpus_words(corpus, language) for language in ("en", "fr")}
    known = {language: {fold(word) for word in words[language]} for language in words}
    lemmas = {language: inflections(words[language], language) for language in words}
    rows = []
    for concept in lexicon.to_dict("records"):
        for language in LANGUAGES:
            forms: set[str] = set()
            for word in concept[f"valid_{language}"]:
                own = surface_forms(word, language, concept["pos"])
                forms |= set(own)
                if language in words and WORD.fullmatch(own[0]):
                    forms |= lemmas[language].get(own[0], set()) | (regular(own[0], concept["pos"], language) & known[language])
                    if language == "fr":  # plurals of participles that the lemmatizer calls adjectives or nouns
                        forms |= {form + "s" for form in forms if form[-1] in "eéiut"} & known[language]
                elif language == "ja":
                    forms |= japanese(word, concept["pos"])
            rows.append((concept["concept_id"], language, sorted(forms)))
    table = pa.table([pa.array(column, field.type) for column, field in zip(zip(*rows), SCHEMA)], schema=SCHEMA)
    return table.replace_schema_metadata({"lexicon_sha256": fetch.sha256_of(lexicon_path), "simplemma": simplemma.__version__})


def section(table: pa.Table, path: Path) -> str:
    """Return the Markdown of the README section ``forms``."""
    lexicon = read_lexicon(DATA / "lexicon.parquet")
    frame = table.to_pandas()
    lines = ["| language | accepted words | forms | forms of a concept: median | largest |", "|---|---|---|---|---|"]
    for language in LANGUAGES:
        sizes = frame[frame.lang == language].forms.map(len)
        accepted = int(lexicon[f"valid_{language}"].map(len).sum())
        lines.append(f"| {language} | {accepted} | {sizes.sum()} | {int(sizes.median())} | {sizes.max()} |")
    values = {"SHA256": fetch.sha256_of(path), "SIZE": f"{path.stat().st_size / 1e6:.2f} MB", "COUNT": str(len(frame)), "COUNTS": "\n".join(lines)}
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="compare the committed file with a fresh build")
    options = parser.parse_args(argv)
    table = build(DATA / "lexicon.parquet", DATA / "corpus")
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", compression_level=19)
    if options.check:
        raise SystemExit(None if PARQUET.read_bytes() == buffer.getvalue() else f"{PARQUET} differs from a fresh build")
    fetch.write_atomic(PARQUET, buffer.getvalue())
    fetch.write_section(DATA / "README.md", "forms", section(table, PARQUET))


if __name__ == "__main__":
    main(sys.argv[1:])
