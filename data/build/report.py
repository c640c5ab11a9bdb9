"""Counts, promises and the README section of the lexicon."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from pathlib import Path

import fetch
import pandas as pd

LANGUAGES = ("en", "fr", "zh", "ja")
DISTRACTORS = 9
ZIPF_BAND = 0.75


def distractor_counts(frame: pd.DataFrame, language: str) -> list[int]:
    """Count, for each concept, the distractors the run-time rule leaves for a source language.

    The rule: same part of speech, Zipf frequency within 0.75 in the source language, not in ``conflicts``.
    """
    zipf = dict(zip(frame.concept_id, frame[f"zipf_{language}"]))
    pos_of = dict(zip(frame.concept_id, frame.pos))
    ordered = {pos: sorted(group[f"zipf_{language}"]) for pos, group in frame.groupby("pos")}
    counts = []
    for row in frame.itertuples():
        own, values = zipf[row.concept_id], ordered[row.pos]
        inside = bisect_right(values, own + ZIPF_BAND) - bisect_left(values, own - ZIPF_BAND) - 1
        lost = sum(pos_of[c] == row.pos and abs(zipf[c] - own) <= ZIPF_BAND for c in row.conflicts)
        counts.append(inside - lost)
    return counts


def promises(frame: pd.DataFrame) -> dict[str, bool]:
    """Evaluate what the lexicon promises; returns a truth value by description."""
    conflicts = {row.concept_id: set(row.conflicts) for row in frame.itertuples()}
    demo, rest = frame[frame.split == "demo"], frame[frame.split != "demo"]
    bijective = frame[frame.bijective]
    return {
        "unique concept_id": frame.concept_id.is_unique,
        "pos in n, v, a": set(frame.pos) <= {"n", "v", "a"},
        "main word first in its valid list": all(row[f"valid_{language}"][0] == row[language] for _, row in frame.iterrows() for language in LANGUAGES),
        "symmetric conflicts": all(one in conflicts[other] for one in conflicts for other in conflicts[one]),
        "size of the splits": (frame.split == "test").sum() >= 2000 and (frame.split == "demo").sum() >= 100 and (frame.split == "heldout").sum() >= 400,
        "demonstrations bijective and nowhere identical": demo.bijective.all() and not demo.identical.map(len).any(),
        "demonstrations share no string with other splits": not strings(demo) & strings(rest),
        "bijective main words": all(_bijective(bijective, language) for language in LANGUAGES),
    }


def strings(frame: pd.DataFrame) -> set[str]:
    """Return every main and valid string of some concepts, all languages together."""
    return {word for language in LANGUAGES for words in frame[f"valid_{language}"] for word in words}


def _bijective(frame: pd.DataFrame, language: str) -> bool:
    holders: dict[str, set[str]] = {}
    for name, words in zip(frame.concept_id, frame[f"valid_{language}"]):
        for word in words:
            holders.setdefault(word, set()).add(name)
    return all(len(holders[word]) == 1 for word in frame[language])


def counts(frame: pd.DataFrame) -> str:
    """Return a Markdown table of concepts by split and part of speech, and what follows from the file."""
    table = pd.crosstab(frame.split, frame.pos, margins=True, margins_name="all")[["n", "v", "a", "all"]]
    lines = ["| split | n | v | a | all |", "|---|---|---|---|---|"]
    lines += [f"| {name} | " + " | ".join(str(v) for v in row) + " |" for name, row in zip(table.index, table.values)]
    few = {x: sum(n < DISTRACTORS for n in distractor_counts(frame, x)) for x in LANGUAGES}
    spread = "; ".join(f"{x} {frame[f'zipf_{x}'].min():.2f}–{frame[f'zipf_{x}'].max():.2f} (median {frame[f'zipf_{x}'].median():.2f})" for x in LANGUAGES)
    same = pd.Series([pair for pairs in frame.identical for pair in pairs]).value_counts().sort_index()
    lines += [
        "",
        f"- bijective: {int(frame.bijective.sum())} ({int((frame.bijective & (frame.split == 'test')).sum())} of them test)",
        f"- Zipf frequency: {spread}",
        "- equal strings: " + ", ".join(f"{pair} {count}" for pair, count in same.items()),
        f"- conflicts per concept: median {int(frame.conflicts.map(len).median())}, largest {int(frame.conflicts.map(len).max())}",
        f"- concepts with fewer than {DISTRACTORS} distractors: " + ", ".join(f"{x} {n}" for x, n in few.items()),
    ]
    return "\n".join(lines)


def wilson(successes: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """Return the Wilson score interval of a share."""
    share = successes / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return centre - half, centre + half


def review_lines(folder: Path) -> str:
    """Summarise the reviewed samples, one line a file."""
    lines = []
    for path in sorted(folder.glob("*.tsv")):
        frame = pd.read_csv(path, sep="\t", comment="#", keep_default_na=False, quoting=3)
        judged = frame[frame.verdict != ""]
        if len(judged):
            good = int((judged.verdict == "ok").sum())
            low, high = wilson(good, len(judged))
            lines.append(f"| `review/{path.name}` | {good}/{len(judged)} | {good / len(judged):.1%} | {low:.1%}–{high:.1%} |")
    return "\n".join(["| sample | ok | share | Wilson 95 % |", "|---|---|---|---|", *lines])


def section(parquet: Path, review: Path, sources: Path) -> str:
    """Return the Markdown of the README section ``lexicon``."""
    frame = pd.read_parquet(parquet)
    text = (parquet.parent / "build" / "lexicon.section.md").read_text(encoding="utf-8")
    values = {
        "SHA256": fetch.sha256_of(parquet),
        "SIZE": f"{parquet.stat().st_size / 1e6:.2f} MB",
        "COUNT": str(len(frame)),
        "COUNTS": counts(frame),
        "REVIEW": review_lines(review),
        "SOURCES": fetch.sources_table(sources),
    }
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text
