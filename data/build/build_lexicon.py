"""Build data/lexicon.parquet, a four-way English-French-Chinese-Japanese word lexicon.

Run from the repository root::

    python data/build/build_lexicon.py           # rebuild everything
    python data/build/build_lexicon.py --check   # verify the committed file and print its counts
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import unicodedata
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path

import choose
import fetch
import links
import pyarrow as pa
import pyarrow.parquet as pq
import relations
import report
from choose import Concept
from links import LANGUAGES, zipf

HERE = Path(__file__).resolve().parent
DATA = HERE.parent
PARQUET = DATA / "lexicon.parquet"
SOURCES = HERE / "lexicon.sources.toml"
REVIEW = HERE / "review"
SEED = 20250523
SIZE = 4400  # rows kept by confidence before review
FLOOR = 1.5  # lowest Zipf frequency of a main word
DEMO_COUNT = 120
HELDOUT_SHARE = 0.17
# WordNet files of concrete nouns: animal, artifact, body, food, object, person, phenomenon, plant, substance.
CONCRETE = {"05", "06", "08", "13", "17", "18", "19", "20", "27"}

SCHEMA = pa.schema(
    [("concept_id", pa.string()), ("pos", pa.string())]
    + [(language, pa.string()) for language in LANGUAGES]
    + [(f"zipf_{language}", pa.float32()) for language in LANGUAGES]
    + [(f"valid_{language}", pa.list_(pa.string())) for language in LANGUAGES]
    + [
        ("sources", pa.list_(pa.string())),
        ("split", pa.string()),
        ("bijective", pa.bool_()),
        ("identical", pa.list_(pa.string())),
        ("conflicts", pa.list_(pa.string())),
    ]
)


def read_tsv(path: Path) -> list[dict[str, str]]:
    """Read a tab-separated file with a header line; lines that start with # are comments."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def read_rules() -> tuple[set[str], set[tuple[str, str]], set[str], dict[str, dict[str, str]]]:
    """Read the reviewed rules.

    Returns:
        Excluded concept ids, excluded (language, word) pairs, concept ids not to be demonstrations,
        and replaced main words by concept id and language.
    """
    concepts, words, not_demo = set(), set(), set()
    for row in read_tsv(HERE / "exclusions.tsv"):
        if row["scope"] == "concept":
            concepts.add(row["item"])
        elif row["scope"] == "demo":
            not_demo.add(row["item"])
        else:
            words.add((row["scope"], row["item"]))
    overrides: dict[str, dict[str, str]] = defaultdict(dict)
    for row in read_tsv(HERE / "overrides.tsv"):
        overrides[row["concept_id"]][row["language"]] = row["word"]
    return concepts, words, not_demo, dict(overrides)


def apply_override(d: links.Dictionaries, concept: Concept, words: dict[str, str]) -> None:
    """Replace main words of a concept by the reviewed ones; ``review`` joins its sources."""
    concept.words.update(words)
    if "ja" in words:
        # Of several entries with this spelling take the one with the English word among its glosses.
        numbers = d.find_japanese(words["ja"]) or d.forms.get(words["ja"], [])
        numbers = sorted(numbers, key=lambda n: (concept.words["en"] not in d.ja_glosses[n], not d.entries[n].common, n))
        concept.entry = numbers[0] if numbers else -1
    concept.sources = choose.attesting(d, concept) | {"review"}


def choose_concepts(d: links.Dictionaries) -> list[Concept]:
    """Choose the words of every concept, apply the reviewed rules and drop near-duplicates."""
    excluded, bad_words, _, overrides = read_rules()
    best: dict[str, Concept] = {}
    for english, pos in choose.english_lemmas(d):
        name = f"{english}.{pos}"
        if name in excluded or ("en", english) in bad_words:
            continue
        concept = choose.choose(d, english, pos, bad_words)
        if concept is None:
            continue
        if name in overrides:
            apply_override(d, concept, overrides[name])
        # One part of speech a word: a bare word in a prompt cannot show another one.
        other = best.get(english)
        if other is None or concept.confidence > other.confidence:
            best[english] = concept
    ranked = sorted(best.values(), key=lambda c: (-c.confidence, c.concept_id))[:SIZE]
    taken: dict[tuple[str, str], list[Concept]] = defaultdict(list)
    scanned = {row["concept_id"] for row in read_tsv(HERE / "scanned.tsv")}
    kept = []
    for concept in ranked:
        # Only rows that a reviewer has read enter the lexicon.
        if concept.concept_id not in scanned or min(zipf(w, x) for x, w in concept.words.items()) < FLOOR:
            continue
        shared = Counter(other.concept_id for item in concept.words.items() for other in taken[item])
        if shared and max(shared.values()) >= 2:
            continue  # a synonym of a better row: it would only be its copy
        kept.append(concept)
        for item in concept.words.items():
            taken[item].append(concept)
    for concept in kept:
        concept.valid = relations.valid_words(d, concept, bad_words)
    return sorted(kept, key=lambda c: c.concept_id)


def identical_pairs(words: dict[str, str]) -> list[str]:
    """Return the language pairs whose main strings are equal after NFKC and casefold."""
    folded = {language: unicodedata.normalize("NFKC", word).casefold() for language, word in words.items()}
    return [f"{a}-{b}" for a, b in combinations(LANGUAGES, 2) if folded[a] == folded[b]]


def demo_pool(d: links.Dictionaries, concepts: list[Concept], bijective: set[str], barred: set[str]) -> list[Concept]:
    """Return the concepts fit to be demonstrations: frequent, concrete, and sharing no string with any other."""
    uses: Counter = Counter()
    for concept in concepts:
        uses.update({word for language in LANGUAGES for word in concept.valid[language]})
    pool = []
    for concept in concepts:
        synset = d.wordnet.synsets[concept.words["en"], concept.pos][0]
        frequent = all(zipf(word, language) >= 3.3 for language, word in concept.words.items())
        alone = all(uses[word] == 1 for language in LANGUAGES for word in concept.valid[language])
        fits = concept.pos == "n" and d.wordnet.lexfile[synset] in CONCRETE and frequent and alone
        if fits and concept.concept_id in bijective - barred and not identical_pairs(concept.words):
            pool.append(concept)
    return pool


def assign_splits(concepts: list[Concept], pool: list[Concept]) -> dict[str, str]:
    """Split at random: demonstrations from the pool, the rest stratified by part of speech and frequency."""
    generator = random.Random(SEED)
    demo = {concept.concept_id for concept in generator.sample(pool, min(DEMO_COUNT, len(pool)))}
    split = {name: "demo" for name in demo}
    strata: dict[tuple[str, int], list[str]] = defaultdict(list)
    for concept in concepts:
        if concept.concept_id not in demo:
            strata[concept.pos, int(2 * zipf(concept.words["en"], "en"))].append(concept.concept_id)
    for key in sorted(strata):
        names = strata[key]
        generator.shuffle(names)
        count = round(HELDOUT_SHARE * len(names))
        split.update({name: "heldout" if place < count else "test" for place, name in enumerate(names)})
    return split


def to_table(concepts: list[Concept], split: dict, bijective: set[str], conflicts: dict) -> pa.Table:
    """Put the concepts into the table of the artifact's schema."""
    rows = []
    for concept in concepts:
        row = {"concept_id": concept.concept_id, "pos": concept.pos, **concept.words}
        row.update({f"zipf_{language}": zipf(word, language) for language, word in concept.words.items()})
        row.update({f"valid_{language}": concept.valid[language] for language in LANGUAGES})
        row["sources"] = sorted(concept.sources)
        row["split"] = split[concept.concept_id]
        row["bijective"] = concept.concept_id in bijective
        row["identical"] = identical_pairs(concept.words)
        row["conflicts"] = conflicts[concept.concept_id]
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def write_table(table: pa.Table) -> None:
    """Write the parquet file (zstd), to a temporary name first."""
    buffer = io.BytesIO()
    metadata = {"seed": str(SEED), "sources_sha256": fetch.sha256_of(SOURCES)}
    pq.write_table(table.replace_schema_metadata(metadata), buffer, compression="zstd", compression_level=12)
    fetch.write_atomic(PARQUET, buffer.getvalue())


def build() -> None:
    """Rebuild the parquet file and its section of data/README.md."""
    print("fetching sources", flush=True)
    d = links.load(fetch.fetch_all(SOURCES))
    print("choosing words", flush=True)
    concepts = choose_concepts(d)
    print(f"{len(concepts)} concepts; finding conflicts", flush=True)
    conflicts = relations.find_conflicts(d, concepts)
    bijective = relations.mark_bijective(concepts)
    pool = demo_pool(d, concepts, bijective, read_rules()[2])
    print(f"{len(bijective)} bijective; {len(pool)} fit for demonstrations", flush=True)
    write_table(to_table(concepts, assign_splits(concepts, pool), bijective, conflicts))
    fetch.write_section(DATA / "README.md", "lexicon", report.section(PARQUET, REVIEW, SOURCES))
    check()


def check() -> None:
    """Verify the parquet file and print its counts.

    Raises:
        ValueError: The file breaks the schema or one of its promises; the message names the promise.
    """
    table = pq.read_table(PARQUET)
    if not table.schema.equals(SCHEMA):
        raise ValueError(f"{PARQUET.name}: schema differs from the one expected")
    frame = table.to_pandas()
    for problem, holds in report.promises(frame).items():
        if not holds:
            raise ValueError(f"{PARQUET.name}: {problem} does not hold")
    print(report.counts(frame), flush=True)


def main() -> None:
    """Build, or check, by the command line."""
    parser = argparse.ArgumentParser(description="Build data/lexicon.parquet.")
    parser.add_argument("--check", action="store_true", help="verify the committed file only")
    if parser.parse_args().check:
        check()
    else:
        build()


if __name__ == "__main__":
    main()
