"""The corpus section of data/README.md."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path

import fetch
import pandas as pd
import pyarrow.parquet as pq

LANGUAGES = ("en", "fr", "zh", "ja")
TEMPLATE = Path(__file__).resolve().parent / "corpus.section.md"


def read_corpus(folder: Path) -> pd.DataFrame:
    """Read all files of the corpus in the order of their names."""
    return pd.concat([pq.read_table(path).to_pandas() for path in sorted(folder.glob("*.parquet"))], ignore_index=True)


def characters(frame: pd.DataFrame) -> pd.DataFrame:
    """Count characters by source and language; line ends between segments count for no language."""
    counts: dict[str, Counter] = {}
    for source, segments in zip(frame.source, frame.segments):
        counter = counts.setdefault(source, Counter())
        for segment in segments:
            counter[segment["lang"]] += segment["n_chars"]
    return pd.DataFrame(counts).T.reindex(columns=list(LANGUAGES)).fillna(0).astype(int)


def millions(number: float) -> str:
    """Format a number of characters in millions."""
    return "–" if number == 0 else f"{number / 1e6:.2f}"


def source_table(frame: pd.DataFrame) -> str:
    """One line a source: documents, mixed documents, millions of characters by language, licence."""
    counts = characters(frame)
    total = frame.text.str.len().groupby(frame.source).sum()
    lines = ["| source | documents | mixed | en | fr | zh | ja | share | licence |", "|---|---|---|---|---|---|---|---|---|"]
    for source in total.sort_values(ascending=False).index:
        own = frame[frame.source == source]
        cells = " | ".join(millions(counts.loc[source, language]) for language in LANGUAGES)
        licences = "; ".join(sorted(own.license.unique()))
        lines.append(f"| {source} | {len(own)} | {(own.lang == 'mixed').sum()} | {cells} | {total[source] / total.sum():.1%} | {licences} |")
    return "\n".join(lines)


def pair_counts(frame: pd.DataFrame) -> dict[str, int]:
    """Count mixed documents by the pairs of languages they hold."""
    counts: Counter = Counter()
    for segments in frame[frame.lang == "mixed"].segments:
        present = {segment["lang"] for segment in segments}
        counts.update(f"{a}-{b}" for a, b in combinations(LANGUAGES, 2) if {a, b} <= present)
    return {f"{a}-{b}": counts[f"{a}-{b}"] for a, b in combinations(LANGUAGES, 2)}


def file_table(paths: list[Path], root: Path) -> str:
    """One line a file: rows, characters, size, checksum."""
    lines = ["| file | rows | characters | MB | sha256 |", "|---|---|---|---|---|"]
    for path in paths:
        table = pq.read_table(path)
        size = f"{sum(map(len, table['text'].to_pylist()))}" if "text" in table.column_names else "–"
        lines.append(f"| `{path.relative_to(root)}` | {table.num_rows} | {size} | {path.stat().st_size / 1e6:.1f} | `{fetch.sha256_of(path)}` |")
    return "\n".join(lines)


def section(data: Path, sources: Path, dropped: Counter, caps: dict[str, int]) -> str:
    """Return the Markdown of the section."""
    frame = read_corpus(data / "corpus")
    heldout = pq.read_table(data / "heldout" / "parallel.parquet").to_pandas()
    lengths = frame.text.str.len()
    share = lengths.groupby(frame.source).sum() / lengths.sum()
    by_language = characters(frame).sum()
    paths = [*sorted((data / "corpus").glob("*.parquet")), data / "corpus_dictionary.parquet", data / "heldout" / "parallel.parquet"]
    values = {
        "DOCUMENTS": str(len(frame)),
        "CHARACTERS": str(lengths.sum()),
        "MEGABYTES": f"{sum(path.stat().st_size for path in paths[:-2]) / 1e6:.1f}",
        "BY_LANGUAGE": ", ".join(f"{x} {by_language[x] / 1e6:.1f}" for x in LANGUAGES),
        "BY_KIND": ", ".join(f"{x} {n}" for x, n in frame.lang.value_counts().sort_index().items()),
        "LARGEST": f"{share.idxmax()}, {share.max():.1%}",
        "PAIRS": ", ".join(f"{pair} {n}" for pair, n in pair_counts(frame).items()),
        "DROPPED": ", ".join(f"{reason} {n}" for reason, n in dropped.items()),
        "CAPS": ", ".join(f"{source} {limit / 1e6:g}" for source, limit in caps.items()),
        "HELDOUT": str(len(heldout)),
        "HELDOUT_BY_SOURCE": ", ".join(f"{x} {n}" for x, n in heldout.source.value_counts().sort_index().items()),
        "SOURCE_TABLE": source_table(frame),
        "FILE_TABLE": file_table(paths, data),
        "PACKAGES": fetch.sources_table(sources),
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text
