"""Draw the samples a reviewer judges; the verdicts are written into the files by hand.

Run from the repository root::

    python data/build/review.py sample sample_3 3        # 200 rows no earlier sample holds
    python data/build/review.py distractors distractors 7   # 100 (concept, distractor) draws
"""

from __future__ import annotations

import argparse
import random
from itertools import permutations
from pathlib import Path

import fetch
import pandas as pd
from report import LANGUAGES, ZIPF_BAND

HERE = Path(__file__).resolve().parent
PARQUET = HERE.parent / "lexicon.parquet"
REVIEW = HERE / "review"


def draw_sample(name: str, seed: int, count: int = 200) -> None:
    """Draw rows no earlier sample holds into review/NAME.tsv, with empty verdicts.

    Raises:
        FileExistsError: The sample exists; a judged one must not be overwritten.
    """
    earlier = [pd.read_csv(path, sep="\t", comment="#", quoting=3) for path in sorted(REVIEW.glob("sample_*.tsv"))]
    seen = {concept for frame in earlier for concept in frame.concept_id}
    frame = pd.read_parquet(PARQUET)
    frame = frame[~frame.concept_id.isin(seen)]
    rows = frame.sample(count, random_state=seed)[["concept_id", "pos", *LANGUAGES]]
    _write(name, seed, rows)


def draw_distractors(name: str, seed: int, count: int = 100) -> None:
    """Draw distractors as the task does, over all ordered language pairs, into review/NAME.tsv.

    The columns are the target concept and, with the prefix ``d_``, the distractor.

    Raises:
        FileExistsError: The sample exists; a judged one must not be overwritten.
    """
    generator = random.Random(seed)
    frame = pd.read_parquet(PARQUET)
    pairs = list(permutations(LANGUAGES, 2))
    rows = []
    for place in range(count):
        source, target = pairs[place % len(pairs)]
        item = frame.iloc[generator.randrange(len(frame))]
        near = (frame[f"zipf_{source}"] - item[f"zipf_{source}"]).abs() <= ZIPF_BAND
        apart = ~frame.concept_id.isin([item.concept_id, *item.conflicts])
        pool = frame[near & apart & (frame.pos == item.pos)]
        other = pool.iloc[generator.randrange(len(pool))]
        row = {"source_lang": source, "target_lang": target, "concept_id": item.concept_id}
        row.update({language: item[language] for language in LANGUAGES})
        row["d_concept_id"] = other.concept_id
        row.update({f"d_{language}": other[language] for language in LANGUAGES})
        rows.append(row)
    _write(name, seed, pd.DataFrame(rows))


def _write(name: str, seed: int, rows: pd.DataFrame) -> None:
    target = REVIEW / f"{name}.tsv"
    if target.exists():
        raise FileExistsError(f"{target.name} exists")
    text = rows.assign(verdict="", reason="").to_csv(sep="\t", index=False)
    fetch.write_atomic(target, f"# seed {seed}\n{text}".encode())


def main() -> None:
    """Draw one sample, by the command line."""
    parser = argparse.ArgumentParser(description="Draw a sample for review.")
    parser.add_argument("kind", choices=("sample", "distractors"))
    parser.add_argument("name")
    parser.add_argument("seed", type=int)
    arguments = parser.parse_args()
    draw = draw_sample if arguments.kind == "sample" else draw_distractors
    draw(arguments.name, arguments.seed)


if __name__ == "__main__":
    main()
