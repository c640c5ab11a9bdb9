"""Dictionary entries as documents: circular with the lexicon, therefore apart from the corpus, for an ablation only."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import dictionaries
from fetch import find_one

ENTRIES = 8  # in a document
GLOSSES = 4  # of an entry
# Documents drawn from each dictionary, so that the file stays small.
LIMITS = {"jmdict": 4000, "cedict": 5000, "freedict-eng-fra": 1500, "freedict-fra-eng": 1500, "wikdict-eng-jpn": 1500, "wikdict-fra-jpn": 1500}
Row = tuple[str, str, str, list[tuple[str, str]], str]
Entry = list[tuple[str, str]]


def jmdict(folder: Path) -> Iterator[Entry]:
    """Common Japanese words with English and French glosses."""
    for entry in dictionaries.read_jmdict(find_one(folder, "jmdict.xml.gz")):
        if not entry.common:
            continue
        reading = f"（{entry.kana[0]}）" if entry.kanji and entry.kana else ""
        head = (entry.kanji or entry.kana)[0] + reading
        glosses = [gloss for sense in entry.senses for gloss in sense["glosses"]][:GLOSSES]
        segments = [("ja", head), ("en", "; ".join(glosses))]
        french = [gloss for sense in entry.french for gloss in sense][:GLOSSES]
        yield segments + ([("fr", "; ".join(french))] if french else [])


def cedict(folder: Path) -> Iterator[Entry]:
    """Chinese words with English glosses."""
    for word, entries in dictionaries.read_cedict(find_one(folder, "cedict_1_0_ts_utf-8_mdbg.txt.gz")).items():
        yield [("zh", word), ("en", "; ".join([gloss for entry in entries for gloss in entry][:GLOSSES]))]


def freedict(folder: Path, source: str, target: str) -> Iterator[Entry]:
    """Words of a FreeDict dictionary with their translations."""
    for word, translations in dictionaries.read_dictd(find_one(folder, "*.dict.dz")).items():
        yield [(source, word), (target, "; ".join(dict.fromkeys(t.word for t in translations[:GLOSSES])))]


def entries(folders: dict[str, Path], seed: int) -> Iterator[Row]:
    """Give the documents: (doc_id, source, language, segments, licence)."""
    readers = {
        "jmdict": (jmdict(folders["jmdict"]), "CC-BY-SA-4.0"),
        "cedict": (cedict(folders["cedict"]), "CC-BY-SA-4.0"),
        "freedict-eng-fra": (freedict(folders["freedict-eng-fra"], "en", "fr"), "GPL-2.0-or-later"),
        "freedict-fra-eng": (freedict(folders["freedict-fra-eng"], "fr", "en"), "GPL-2.0-or-later"),
        "wikdict-eng-jpn": (freedict(folders["wikdict-eng-jpn"], "en", "ja"), "CC-BY-SA-3.0"),
        "wikdict-fra-jpn": (freedict(folders["wikdict-fra-jpn"], "fr", "ja"), "CC-BY-SA-3.0"),
    }
    for name, (reader, licence) in readers.items():
        rows = list(reader)
        random.Random(f"{seed}:{name}").shuffle(rows)
        for number in range(min(LIMITS[name], len(rows) // ENTRIES)):
            part = rows[number * ENTRIES : (number + 1) * ENTRIES]
            segments = [(language, " ".join(text.split())) for entry in part for language, text in entry]
            yield f"dictionary:{name}:{number + 1:05d}", f"dictionary:{name}", "mixed", [s for s in segments if s[1]], licence
