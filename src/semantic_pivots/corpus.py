"""The corpus: documents in Parquet shards, one language each or mixed (see data/README.md)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .artifacts import ROOT
from .task import LANGUAGES

CHECKSUMS = "SHA256SUMS"  # beside the shards: what belongs to the corpus, as sha256sum writes it

__all__ = ["shards", "sample_texts", "overview"]


def shards(folder: Path | None = None) -> list[Path]:
    """Parquet files of a corpus in order of name (default: data/corpus).

    Files that its ``SHA256SUMS`` names are listed also where they are gone, so that whoever reads them notices.

    Raises:
        FileNotFoundError: if there is none.
    """
    folder = ROOT / "data" / "corpus" if folder is None else Path(folder)
    listed = (folder / CHECKSUMS).read_text().split("\n") if (folder / CHECKSUMS).is_file() else []
    found = sorted({*folder.glob("*.parquet"), *(folder / line.split("  ", 1)[1] for line in listed if line)})
    if not found:
        raise FileNotFoundError(f"{folder} holds no *.parquet file")
    return found


def _readable(folder: Path | None, columns: list[str]) -> Iterator[tuple[int, pd.DataFrame]]:
    """The shards that can be read, with their numbers; a damaged one is named in a warning and left out."""
    for number, path in enumerate(shards(folder)):
        try:
            yield number, pq.read_table(path, columns=columns).to_pandas()
        except (pa.ArrowInvalid, OSError) as error:
            warnings.warn(f"{path} is damaged or lacks the columns {', '.join(columns)}, and left out ({str(error).splitlines()[0]})", stacklevel=3)


def sample_texts(n: int, seed: int, folder: Path | None = None, min_chars: int = 80) -> list[str]:
    """Texts of one language each, as many of every language, in random order.

    Args:
        n: texts altogether; a multiple of the number of languages.
        min_chars: shorter documents are passed over.
    """
    parts = []
    for number, table in _readable(folder, ["doc_id", "lang", "text"]):
        table = table[table.lang.isin(list(LANGUAGES)) & (table.text.str.len() >= min_chars)]
        # at most what could be wanted of each shard: the corpus need not fit into memory
        chosen = np.random.default_rng([seed, number]).permutation(len(table))
        parts.append(table.iloc[chosen].groupby("lang").head(n))
    pool = pd.concat(parts, ignore_index=True)
    pool = pool.iloc[np.random.default_rng(seed).permutation(len(pool))]
    chosen = pool.groupby("lang", sort=True).head(n // len(LANGUAGES))
    return chosen.text.tolist()


def overview(folder: Path | None = None) -> pd.DataFrame:
    """Documents and characters by source and language, largest sources first."""
    parts = []
    for _, table in _readable(folder, ["source", "lang", "text"]):
        parts.append(table.assign(characters=table.text.str.len()).groupby(["source", "lang"]).characters.agg(["size", "sum"]))
    total = pd.concat(parts).groupby(level=[0, 1]).sum().rename(columns={"size": "documents", "sum": "characters"}).reset_index()
    order = total.groupby("source").characters.sum().sort_values(ascending=False).index
    return total.sort_values(["source", "lang"], key=lambda c: c.map({s: i for i, s in enumerate(order)}) if c.name == "source" else c, ignore_index=True)
