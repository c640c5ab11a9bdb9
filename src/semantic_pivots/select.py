"""A pivot-aware training set from any corpus: ranked documents, Parquet shards, Dolma's JSON lines, a data card (``make select``).

    make select CORPUS=my/corpus OUT=my/set BUDGET=2000000
    python -m semantic_pivots.select --corpus a.jsonl.gz b.parquet --out my/set --lexicon words.csv

A corpus is one or more files, or folders of files: JSON lines (``.jsonl``, ``.ndjson``, ``.json``; also packed, ``.gz``, ``.zst``, ``.bz2``) or Parquet. A
document has a text (``text``), and may have an id (``id``, ``doc_id``), a source, a licence (``license``, ``licence``), a language (``lang``, ``language``) and
segments (a list of {lang, text} or {lang, n_chars}); all but the text also inside ``metadata``, as Dolma has it. Languages are en, fr, zh and ja, and documents tagged
otherwise are left out. Without segments or a tag that names a language, each line's language is told by its script and its function words
(:func:`.ingest.line_languages`). Pivots link words of two languages that stand in one document, so some documents must hold two.

A lexicon (Parquet, CSV, TSV) has ``concept_id``, a column of words for two or more languages, and may have ``valid_en`` … (further words, `|` between them),
``pos`` and ``split``: concepts of the split that is held out are blind to the selection, and never meet their translation in a chosen document.

What was read is kept in a folder beside the set until that is complete, so that a killed run, or one with another budget, goes on from there. A
document without a pivot is ranked, but never chosen. Written, all at once when everything is done:

- ``data/*.parquet``: the chosen documents, as ``datasets.load_dataset("parquet", data_dir=…)`` reads them;
- ``dolma/*.jsonl.gz``: the same with Dolma's fields id, text, source, added, metadata;
- ``ranking.parquet``: every document that could have been chosen, best first, with its score;
- ``pivots.csv``: the pivots; ``settings.json``: settings, inputs and their checksums; ``README.md``: the data card.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from . import reconstruction
from .arms import meeting_documents, meetings, of_concepts, pool_funnel, take
from .artifacts import ROOT, atomic_path
from .card import data_card
from .experiment import HOME
from .fingerprint import canonical, module_code, sha256_file, sha256_text
from .ingest import SHARD, SelectError, read_corpus, read_words
from .matching import Vocabulary
from .progress import progress
from .readers import corpus_files
from .reconstruction import GraphSettings
from .task import LANGUAGES
from .words import index_corpus

__all__ = ["Selection", "rank_documents", "select", "main"]

CODES = tuple(LANGUAGES)
READ = "read.json"  # says that all of a corpus was read, and what it holds
TRACE = 0.01  # a language in a smaller share of the documents is none of the corpus: its words are no pivots
FEW_SOURCES = 3  # with fewer, that a word is of one source says nothing
RULES = {  # of GraphSettings, which a small corpus may want otherwise
    "min_both": "documents two words must share to be linked",
    "min_npmi": "least NPMI of a link between two languages",
    "min_docs": "documents a pivot must stand in",
    "max_share": "a word in a larger share of its language's documents is a stop word",
    "max_source_share": "a word with a larger share of its documents from one source is boilerplate; 1 for a corpus of few sources",
}


@dataclass(frozen=True)
class Selection:
    """What is chosen, and how.

    Attributes:
        budget: tokens of the training set.
        pivots: `npmi` (cross-lingual degree; documents among those of their length) or `paper` (number of links; the share itself).
        min_words: distinct words a document must have.
        hold_out: split of the lexicon whose words are blind to the selection, and never meet their translation in a chosen document ("" for none).
    """

    budget: int = 1_000_000
    pivots: str = "npmi"
    min_words: int = 12
    hold_out: str = "heldout"
    graph: GraphSettings = GraphSettings()


# --- the selection ----------------------------------------------------------------------------------------------------


def count_tokens(folder: Path, tokenizer: Tokenizer, cache: Path) -> np.ndarray:
    """Tokens of every document, int64 [document].

    Args:
        cache: folder where the counts of each shard are kept.
    """
    counts = []
    for path in progress(sorted(folder.glob("*.parquet")), "counting tokens"):
        kept = cache / f"{path.stem}.npy"
        if not kept.is_file():
            own: list[int] = []
            for batch in pq.ParquetFile(path).iter_batches(512, columns=["text"]):
                own += [len(c.ids) for c in tokenizer.encode_batch_fast(batch.column("text").to_pylist(), add_special_tokens=False)]
            with atomic_path(kept) as temporary:
                np.save(temporary, np.array(own, np.int64), allow_pickle=False)
        counts.append(np.load(kept, allow_pickle=False))
    return np.concatenate(counts)


def rank_documents(folder: Path, settings: Selection, forms: Vocabulary, held: list[str], n_tokens: np.ndarray, cache: Path | None = None):
    """Score all documents of a corpus.

    Args:
        cache: folder where the index of each shard is kept.

    Returns:
        The documents that can be chosen, best first (row, doc_id, score, pivot_share, n_words, n_tokens, langs, source, license); the words with their degrees and
        whether they are pivots; the funnel of the pool; and how many of its documents hold no pivot.

    Raises:
        SelectError: if the corpus has one language only, or no pivots.
    """
    documents = reconstruction.read_documents_table(folder)
    shares = documents.langs.str.get_dummies("+").mean().sort_values(ascending=False)
    langs = sorted(shares.index[shares >= TRACE])
    if len(langs) < 2:
        only = (
            f"all text is {LANGUAGES[langs[0]]}"
            if len(shares) == 1
            else f"{shares.iloc[0]:.2%} of the documents hold {LANGUAGES[langs[0]]} and {shares.iloc[1]:.2%} another language"
        )
        raise SelectError(f"{only}: pivots link words of different languages, so a corpus needs at least two of {', '.join(CODES)}")
    if not documents.langs.str.contains("+", regex=False).any():
        raise SelectError(
            "no document holds text of two languages, so no word has a link to a word of another language. If each has one tag for all its text, leave the tags out: then languages are told "
            "line by line"
        )
    if (have := int(n_tokens.sum())) < settings.budget:
        raise SelectError(f"a budget of {settings.budget} tokens is more than the {have} tokens of the {len(documents)} documents that were read")
    if settings.graph.n_pivots < len(langs):
        raise SelectError(f"{settings.graph.n_pivots} pivots for {len(langs)} languages: at least one of each is needed")
    index = index_corpus(folder, min_docs=min(5, max(1, len(documents) // 10)), cache=cache)
    incidence = meetings(folder, forms, cache)
    part, words = of_concepts(incidence, forms, held)
    blind = reconstruction.blind_words(index, words) if held else np.zeros(len(index.words), bool)
    table = reconstruction.centrality(index, settings.graph, blind, reconstruction.eligible(index, documents.source.to_numpy(), settings.graph))
    pivots, main = np.zeros(len(table), bool), table.lang.isin(langs).to_numpy()
    try:
        pivots[main] = reconstruction.pivot_words(table[main].reset_index(drop=True), settings.pivots, settings.graph.n_pivots)
    except ValueError as error:
        rules = ", ".join(f"{name} {getattr(settings.graph, name)}" for name in RULES)
        raise SelectError(
            f"{error}: it is too small for these rules, or its languages hardly ever stand in one document"
            f" ({len(documents)} documents; {rules}; see --help for what they mean)"
        ) from error
    share, count = reconstruction.pivot_share(index, pivots, blind)
    conditions = [
        (f"at least {settings.min_words} distinct words", count >= settings.min_words),
        ("no near-duplicate", reconstruction.near_duplicates(index.incidence) < 0),
    ]
    if held:
        conditions.append(("no held-out word beside its translation", meeting_documents(part, words) == 0))
    pool, funnel = pool_funnel(conditions, n_tokens)
    score = share if settings.pivots == "paper" else reconstruction.by_length(share, count, pool)
    rows = np.flatnonzero(pool & np.isfinite(score))
    rows = rows[np.argsort(-score[rows], kind="stable")]
    ranked = documents.iloc[rows].assign(row=rows, score=score[rows], pivot_share=share[rows], n_words=count[rows], n_tokens=n_tokens[rows])
    return ranked.drop(columns="n_chars").reset_index(drop=True), table.assign(pivot=pivots), funnel, int((share[rows] == 0).sum())


def select(
    corpus: Sequence[Path], out: Path, lexicon: Path | None = None, settings: Selection = Selection(), tokenizer: Path | None = None, added: str = ""
) -> pd.DataFrame:  # noqa: B008
    """Make a training set.

    Args:
        corpus: files or folders.
        out: folder to write; it must not be there, or be empty.
        lexicon: lexicon (default: data/lexicon.parquet).
        tokenizer: folder or file of a tokenizer.json in whose tokens the budget counts (default: that of the known-corpus model).
        added: date for Dolma's field ``added`` (default: today's).

    Returns:
        The ranking, with the column ``selected``.

    Raises:
        SelectError: if an input is wrong, the folder is not empty, or the budget is more than the corpus has. What was read by then is kept in a hidden folder beside ``out``.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SelectError(f"{out} is not an empty folder; nothing was written. Name another folder, or empty it")
    files = corpus_files(corpus)
    inputs = {str(p): sha256_file(p) for p in files}
    lexicon = ROOT / "data" / "lexicon.parquet" if lexicon is None else Path(lexicon)
    place = sorted(HOME.glob("tokens-*"))[0] if tokenizer is None else Path(tokenizer)
    place = place / "tokenizer.json" if place.is_dir() else place
    if not place.is_file():
        raise SelectError(f"{place} is not there")
    forms, held = read_words(lexicon, settings.hold_out)
    work = _work_folder(out, files, inputs)
    corpus_folder, numbers = work / "corpus", json.loads((work / READ).read_text())
    if numbers["sources"] < FEW_SOURCES:
        settings = replace(settings, graph=replace(settings.graph, max_source_share=1.0))
    n_tokens = count_tokens(corpus_folder, Tokenizer.from_file(str(place)), work / f"tokens-{sha256_file(place)[:16]}")
    ranked, words, funnel, n_without = rank_documents(corpus_folder, settings, forms, held, n_tokens, work / "index")
    try:
        chosen = take(np.flatnonzero(ranked.pivot_share > 0), ranked.n_tokens.to_numpy(), settings.budget, str(out))
    except ValueError as error:
        left = "; ".join(f"{r.condition}: {r.documents} documents with {r.tokens} tokens" for r in funnel.itertuples())
        raise SelectError(f"{error}. Left after each condition: {left}; {n_without} of the last hold no pivot") from error
    if not len(chosen):
        raise SelectError(f"a budget of {settings.budget} tokens is less than the {ranked.n_tokens.min()} of the shortest document that can be chosen")
    ranked["selected"] = False
    ranked.loc[chosen, "selected"] = True
    ranked.insert(0, "rank", np.arange(1, len(ranked) + 1))
    facts = {
        "settings": asdict(settings),
        "inputs": inputs,
        "lexicon_sha256": sha256_file(lexicon),
        "tokenizer_sha256": sha256_file(place),
        "held_out": len(held),
    }
    facts |= {"numbers": numbers, "without_a_pivot": n_without, "added": added or datetime.datetime.now(datetime.UTC).date().isoformat()}
    made = work / "set"
    shutil.rmtree(made, ignore_errors=True)
    _write(made, corpus_folder, ranked, words, funnel, facts)
    try:
        if out.exists():
            out.rmdir()
        os.replace(made, out)
    except OSError as error:
        raise SelectError(f"{out} cannot be put in its place ({error.strerror}); the complete set is in {made}") from error
    shutil.rmtree(work.parent)
    return ranked


def _work_folder(out: Path, files: list[Path], inputs: dict[str, str]) -> Path:
    """The folder beside the set that holds the corpus as it was read, in an earlier call or now; another corpus, or other code, has another one."""
    work = out.parent / f".{out.name}.work" / sha256_text(canonical([inputs, module_code("ingest"), module_code("words")]))[:16]
    if not (work / READ).is_file():
        shutil.rmtree(work, ignore_errors=True)
        numbers = read_corpus(files, work / "corpus")
        with atomic_path(work / READ) as temporary:
            temporary.write_text(json.dumps(numbers))
    return work


def _write(folder: Path, corpus: Path, ranked: pd.DataFrame, words: pd.DataFrame, funnel: pd.DataFrame, facts: dict) -> None:
    for part in ("data", "dolma"):
        (folder / part).mkdir(parents=True)
    chosen = ranked[ranked.selected].sort_values("row")
    shards = max(1, -(-len(chosen) // SHARD))
    texts = _chosen_texts(corpus, chosen.row.to_numpy())
    for shard, rows in enumerate(np.array_split(np.arange(len(chosen)), shards)):
        part = chosen.iloc[rows]
        documents = [next(texts) for _ in rows]
        columns = {
            "id": part.doc_id,
            "text": [d["text"] for d in documents],
            "source": part.source,
            "license": part.license,
            "languages": part.langs.str.split("+"),
        }
        columns |= {
            "segments": [d["segments"] for d in documents],
            "original": [d["original"] for d in documents],
            "rank": part["rank"],
            "score": part.score,
            "pivot_share": part.pivot_share,
            "n_tokens": part.n_tokens,
        }
        table = pa.Table.from_pandas(pd.DataFrame(columns), preserve_index=False).replace_schema_metadata(None)
        pq.write_table(table, folder / "data" / f"train-{shard:05d}-of-{shards:05d}.parquet", compression="zstd")
        # no time and no name in the file: the same set gives the same bytes
        with (folder / "dolma" / f"part-{shard:05d}.jsonl.gz").open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as stream:
            for row in table.to_pylist():
                stream.write((json.dumps(_dolma(row, facts["added"]), ensure_ascii=False) + "\n").encode())
    ranked.drop(columns="row").to_parquet(folder / "ranking.parquet", index=False)
    pivots = words[words["pivot"]].drop(columns="pivot").sort_values(["lang", "strength"], ascending=[True, False])
    pivots.to_csv(folder / "pivots.csv", index=False, float_format="%.4g")
    (folder / "settings.json").write_text(json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    (folder / "README.md").write_text(data_card(ranked, pivots, funnel, facts), encoding="utf-8")


def _dolma(row: dict, added: str) -> dict:
    """A chosen document with Dolma's fields: what the corpus said of it, and beside that what the selection says."""
    original = json.loads(row.pop("original"))
    said = original.pop("metadata", None)
    kept = {k: original.pop(k) for k in ("added", "created") if original.get(k)}
    metadata = (said if isinstance(said, dict) else {"metadata": said} if said else {}) | {k: v for k, v in original.items() if k not in ("id", "source")}
    line = {k: row.pop(k) for k in ("id", "text", "source")} | {"added": added} | kept
    return line | {"metadata": metadata | {"license": row.pop("license"), "semantic_pivots": row}}


def _chosen_texts(corpus: Path, rows: np.ndarray) -> Iterator[dict]:
    """Texts, segments and all else that the corpus says of some rows, ascending."""
    start = 0
    for path in sorted(corpus.glob("*.parquet")):
        table = pq.read_table(path, columns=["text", "segments", "original"])
        own = rows[(rows >= start) & (rows < start + len(table))] - start
        yield from table.take(pa.array(own)).to_pylist()
        start += len(table)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m semantic_pivots.select", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", nargs="+", required=True, type=Path, help="JSON lines or Parquet files, or folders of them")
    parser.add_argument("--out", required=True, type=Path, help="folder to write; it must be empty or not be there")
    parser.add_argument("--lexicon", type=Path, help="Parquet, CSV or TSV (default: data/lexicon.parquet)")
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json or its folder (default: the known-corpus model's)")
    parser.add_argument("--budget", type=int, default=Selection.budget, help="tokens of the training set (default: %(default)s)")
    parser.add_argument("--pivots", choices=("npmi", "paper"), default=Selection.pivots, help="kind of pivots (default: %(default)s)")
    parser.add_argument("--min-words", type=int, default=Selection.min_words, help="distinct words a document must have (default: %(default)s)")
    parser.add_argument("--n-pivots", type=int, default=GraphSettings.n_pivots, help="(default: %(default)s)")
    for name, meaning in RULES.items():
        default = getattr(GraphSettings, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default, help=f"{meaning} (default: %(default)s)")
    parser.add_argument("--hold-out", default=Selection.hold_out, help="split of the lexicon that is held out (default: %(default)s)")
    parser.add_argument("--added", default="", help="date for Dolma's field 'added' (default: today)")
    given = parser.parse_args(arguments)
    try:
        graph = GraphSettings(n_pivots=given.n_pivots, **{name: getattr(given, name) for name in RULES})
        settings = Selection(given.budget, given.pivots, given.min_words, given.hold_out, graph)
        ranked = select(given.corpus, given.out, given.lexicon, settings, given.tokenizer, given.added)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        if list(given.out.parent.glob(f".{given.out.name}.work/*/{READ}")):
            print(f"what was read is kept in {given.out.parent / f'.{given.out.name}.work'}, and used when the same corpus is given again", file=sys.stderr)
        return 1
    chosen = ranked[ranked.selected]
    print(f"{len(chosen)} of {len(ranked)} documents chosen, {chosen.n_tokens.sum()} tokens; {given.out / 'README.md'} tells what they are")
    return 0


if __name__ == "__main__":
    sys.exit(main())
