"""Randomised severance: which words of a concept may meet in a document is drawn by lot before a model is trained.

For a triple of languages (source, pivot, target) each concept is drawn into one of four groups, two by two:

=============  =============  ==========================
group          source–target  source–pivot, pivot–target
=============  =============  ==========================
`full`         meet           meet
`pivot_only`   cut            meet
`direct_only`  meet           cut
`none`         cut            cut
=============  =============  ==========================

A cut edge means that no document holds a word of either end: a mixed document in which the two meet is taken apart along
its segments into the fewest pieces that keep them apart. No text is lost or doubled, so every word is as frequent as
before. Words are all accepted translations with their inflected forms (data/forms.parquet), each sought in segments of its
own language (:mod:`.cooccurrence`).

A cut has side effects, since an English segment cannot stay with the French and with the Japanese one when those two are
parted. Among the ways to cut, the one is taken that parts the fewest words which may meet. What no choice can avoid is
that `pivot_only` keeps one of two pivot meetings in documents that hold all three words, where `full` keeps both.
``match_dose`` therefore takes the pivot word away from both ends in every second such document of `full`.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .artifacts import METADATA_KEY, atomic_path
from .cooccurrence import Counts, count_documents, list_shards
from .fingerprint import canonical, sha256_file, sha256_text
from .matching import Matcher, Vocabulary
from .parting import bits, separate
from .progress import progress
from .task import LANGUAGES

__all__ = [
    "GROUPS",
    "EDGES",
    "Triple",
    "eligible",
    "assign",
    "assignment_digest",
    "experiment_edges",
    "sever_corpus",
    "severance_table",
    "collateral",
]

EDGES = ("source-target", "source-pivot", "pivot-target")
FOURTH = "source-fourth"
GROUPS = {
    "full": (),
    "pivot_only": ("source-target",),
    "direct_only": ("source-pivot", "pivot-target"),
    "none": EDGES,
}
BATCH = 2048  # documents held in memory at a time
EVEN = 5.0  # how fast the price of an edge that is to lose no more than another rises with what it has lost


@dataclass(frozen=True)
class Triple:
    """Source, pivot and target language of an experiment, written `fr-en-ja`.

    Raises:
        ValueError: if they are not three different languages.
    """

    name: str

    def __post_init__(self):
        langs = self.name.split("-")
        if len(langs) != 3 or len(set(langs)) != 3 or not set(langs) <= set(LANGUAGES):
            raise ValueError(f"{self.name!r} is not a triple of different languages such as 'fr-en-ja'; known: {', '.join(LANGUAGES)}")

    @property
    def languages(self) -> tuple[str, str, str]:
        """Source, pivot, target."""
        return tuple(self.name.split("-"))

    @property
    def fourth(self) -> str:
        """The language that is not in the triple."""
        return next(la for la in LANGUAGES if la not in self.languages)

    def ends(self, edge: str) -> tuple[str, str]:
        """Languages of the first and the second word of an edge."""
        place = dict(zip(("source", "pivot", "target"), self.languages)) | {"fourth": self.fourth}
        first, second = edge.split("-")
        return place[first], place[second]


# Which concepts take part, and in which group


def eligible(
    folder: Path,
    lexicon: pd.DataFrame,
    forms: Vocabulary,
    triple: Triple,
    min_both: int = 4,
    min_both_base: int = 0,
    max_contamination: float = 0.1,
    max_docs: int | None = None,
    close_fourth: bool = True,
    cache: Path | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Concepts of the split `test` that can take part in a triple, and how many are left after each condition.

    Args:
        folder: the corpus.
        lexicon: ``task.read_lexicon``.
        forms: all forms of at least the lexicon's test concepts in four languages (``matching.read_forms``).
        min_both: documents in which the two words of each edge of the triple meet, at least.
        min_both_base: the same by the words of the lexicon alone, which are the ones a model is tested on.
        max_contamination: of the documents that hold a word of the triple as a string, the share in which it stands in
            segments of other languages only, at most.
        max_docs: documents with a word of the triple, at most (None: any number). Words that are everywhere are cut
            out of much that other concepts need.
        close_fourth: whether words of the fourth language must be other strings, too.
        cache: as in :func:`.cooccurrence.count_documents`.

    Returns:
        A table concept_id, pos, triple, n_source, n_pivot, n_target, n_source_target, n_source_pivot, n_pivot_target,
        contamination (the largest of the three words), in the order of the lexicon; and a table condition, n.

    Raises:
        ValueError: if a shard is damaged.
    """
    own, anywhere = (_counted(folder, forms, by_language, cache) for by_language in (True, False))
    langs = (*triple.languages, triple.fourth) if close_fourth else triple.languages
    at = {la: forms.languages.index(la) for la in langs}
    place = {c: i for i, c in enumerate(forms.concept_ids)}
    test = lexicon[lexicon.split == "test"]
    rows = [place[c] for c in test.concept_id]
    i = [at[la] for la in triple.languages]
    table = pd.DataFrame({"concept_id": test.concept_id.to_numpy(), "pos": test.pos.to_numpy(), "triple": triple.name})
    table[["n_source", "n_pivot", "n_target"]] = own.n_word[i][:, rows].T
    for edge in EDGES:
        first, second = triple.ends(edge)
        table["n_" + edge.replace("-", "_")] = own.n_both[at[first], at[second]][rows]
    base = np.zeros(len(test))
    if min_both_base:
        counts = _counted(folder, Vocabulary.from_lexicon(test, languages=forms.languages), True, cache)
        base = np.min([counts.n_both[at[first], at[second]] for first, second in map(triple.ends, EDGES)], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = 1 - own.n_word[i][:, rows] / anywhere.n_word[i][:, rows]
    table["contamination"] = np.where(np.isnan(share), 0.0, share).max(0)
    words = [[set(forms.forms[at[la]][row]) for la in langs] for row in rows]
    conditions = {
        "no string in common": np.array([len(set().union(*w)) == sum(map(len, w)) for w in words], bool),
        f"each edge in {min_both} documents": (table[["n_source_target", "n_source_pivot", "n_pivot_target"]] >= min_both).all(axis=1),
        f"at most {max_contamination:.0%} in other languages": table.contamination <= max_contamination,
    }
    if min_both_base:
        conditions[f"each edge in {min_both_base} documents by the lexicon's words"] = base >= min_both_base
    if max_docs is not None:
        conditions[f"at most {max_docs} documents a word"] = (table[["n_source", "n_pivot", "n_target"]] <= max_docs).all(axis=1)
    kept = np.ones(len(table), bool)
    funnel = [("test split", len(table))]
    for condition, holds in conditions.items():
        kept &= np.asarray(holds)
        funnel.append((condition, int(kept.sum())))
    return table[kept].reset_index(drop=True), pd.DataFrame(funnel, columns=["condition", "n"])


def assign(concepts: pd.DataFrame, seed: int, n_blocks: int | None = None) -> pd.DataFrame:
    """Draw concepts into the four groups: blocks of four alike in part of speech and counts, one of each block to each group.

    A concept that is eligible for several triples takes part in one of them, drawn by lot. Concepts that fill no block,
    drawn by lot, take no part.

    Args:
        concepts: the table of :func:`eligible`, or several below one another.
        n_blocks: blocks that take part, drawn by lot (None: all).

    Returns:
        The concepts that take part, with `block` (0, 1, …) and `group`, sorted by block and group.

    Raises:
        ValueError: if there is no full block, or there are fewer than ``n_blocks``.
    """
    generator = np.random.default_rng(seed)
    drawn = concepts.sort_values(["triple", "concept_id"], ignore_index=True)
    drawn = drawn.iloc[generator.permutation(len(drawn))].drop_duplicates("concept_id").sort_values(["triple", "pos", "concept_id"])
    blocks = []
    for _, alike in drawn.groupby(["triple", "pos"]):
        size = len(alike) // len(GROUPS) * len(GROUPS)
        alike = alike.iloc[np.sort(generator.permutation(len(alike))[:size])]
        score = np.log1p(alike[["n_source", "n_pivot", "n_target", "n_source_target"]]).mean(axis=1)
        order = np.lexsort([alike.concept_id, score])
        blocks += [alike.iloc[order[start : start + len(GROUPS)]] for start in range(0, size, len(GROUPS))]
    if n_blocks is not None:
        if n_blocks > len(blocks):
            raise ValueError(f"{n_blocks} blocks are asked for, the eligible concepts fill {len(blocks)}")
        blocks = [blocks[i] for i in np.sort(generator.permutation(len(blocks))[:n_blocks])]
    if not blocks:
        raise ValueError(f"{len(concepts)} concepts fill no block of {len(GROUPS)} of one part of speech")
    names = np.array(list(GROUPS))
    parts = [block.assign(block=number, group=names[generator.permutation(len(names))]) for number, block in enumerate(blocks)]
    table = pd.concat(parts)
    return table.iloc[np.lexsort([table.group.map(list(GROUPS).index), table.block])].reset_index(drop=True)


def assignment_digest(assignment: pd.DataFrame) -> str:
    """sha256 of who is in which group of which block."""
    return sha256_text(canonical(sorted(map(list, assignment[["concept_id", "triple", "block", "group"]].astype(str).to_numpy()))))


def experiment_edges(assignment: pd.DataFrame, close_fourth: bool = True) -> pd.DataFrame:
    """The edges of the experiment: concept_id, triple, block, group, edge, first_lang, second_lang, cut (bool).

    Args:
        close_fourth: also cut the source language from the fourth, in all groups alike.
    """
    rows = []
    for concept in assignment.itertuples():
        triple = Triple(concept.triple)
        for edge in (*EDGES, FOURTH) if close_fourth else EDGES:
            cut = edge == FOURTH or edge in GROUPS[concept.group]
            rows.append((concept.concept_id, concept.triple, concept.block, concept.group, edge, *triple.ends(edge), cut))
    return pd.DataFrame(rows, columns=["concept_id", "triple", "block", "group", "edge", "first_lang", "second_lang", "cut"])


# Cutting the documents


class _Plan:
    """What is cut and what is kept, by column of the incidence, and how many meetings each kept edge has left."""

    def __init__(self, vocabulary: Vocabulary, edges: pd.DataFrame, match_dose: bool):
        n, place = len(vocabulary.concept_ids), {c: i for i, c in enumerate(vocabulary.concept_ids)}
        index = {la: i for i, la in enumerate(vocabulary.languages)}
        self.n_concepts, self.match_dose, self.languages = n, match_dose, vocabulary.languages
        self.edges: dict[int, list[tuple[str, int, int, bool]]] = {}
        self.group: dict[int, str] = {}
        for e in edges.itertuples():
            c = place[e.concept_id]
            self.group[c] = e.group
            self.edges.setdefault(c, []).append((e.edge, index[e.first_lang] * n + c, index[e.second_lang] * n + c, bool(e.cut)))
        self.left: dict[tuple[int, int], int] = {}
        self.lost: dict[tuple[int, int], int] = {}
        self.turn: dict[int, bool] = {}

    def count(self, masks: dict[int, int]) -> None:
        """Count the meetings of one document."""
        for c in {w % self.n_concepts for w in masks}:
            for _, a, b, _ in self.edges.get(c, ()):
                if a in masks and b in masks:
                    self.left[a, b] = self.left.get((a, b), 0) + 1

    def pairs(self, masks: dict[int, int], lot: random.Random) -> tuple[list[tuple[int, int]], list[tuple[int, int, float]], list[str]]:
        """Pairs of words (columns) that a document must part, pairs it may keep with their prices, and the groups of the concepts that are cut."""
        cut, kept, groups = [], [], set()
        for c in sorted({w % self.n_concepts for w in masks}):
            meeting = [(edge, a, b, is_cut) for edge, a, b, is_cut in self.edges.get(c, ()) if a in masks and b in masks]
            all_three = {edge for edge, *_ in meeting} >= set(EDGES)
            apart = False
            if self.match_dose and self.group.get(c) == "full" and all_three:
                apart = self.turn[c] = not self.turn.get(c, lot.random() < 0.5)
            for edge, a, b, is_cut in meeting:
                if is_cut or (apart and edge in GROUPS["direct_only"]):
                    cut.append((a, b))
                    if edge != FOURTH:
                        groups.add(self.group[c])
                else:
                    kept.append((a, b, self.price(a, b, even=self.match_dose and all_three and self.group[c] == "pivot_only")))
        return cut, kept, sorted(groups)

    def price(self, a: int, b: int, even: bool) -> float:
        """Price of parting two words.

        Higher for a pair that has few meetings left, so that the stronger of two edges gives way; or, if both edges are to lose
        evenly, for the one that has lost more.
        """
        lost, left = self.lost.get((a, b), 0), self.left.get((a, b), 0)
        return 1 + lost / (1 + lost + EVEN) if even else 1 + 4 / (3 + left)

    def note(self, masks: dict[int, int], pieces: list[int]) -> None:
        """Take the meetings that a cut document has lost off the count."""
        for c in {w % self.n_concepts for w in masks}:
            meeting = [(edge, a, b) for edge, a, b, _ in self.edges.get(c, ()) if a in masks and b in masks]
            all_three = {edge for edge, *_ in meeting} >= set(EDGES)
            for _, a, b in meeting:
                if not any(masks[a] & p and masks[b] & p for p in pieces):
                    self.left[a, b] -= 1
                    self.lost[a, b] = self.lost.get((a, b), 0) + all_three


def _documents(batch: pa.RecordBatch, path: Path) -> list[tuple[list[str], list[str]] | None]:
    """Segments and their languages of each document with several languages; None for others, which cannot be cut."""
    names = batch.schema.names
    texts = batch.column("text").to_pylist()
    segments = batch.column("segments").to_pylist() if "segments" in names else [None] * len(texts)
    found: list[tuple[list[str], list[str]] | None] = []
    for row, (text, parts) in enumerate(zip(texts, segments)):
        if not parts or len({p["lang"] for p in parts}) < 2:
            found.append(None)
            continue
        lengths = [p["n_chars"] for p in parts]
        if sum(lengths) + len(lengths) - 1 != len(text):
            name = batch.column("doc_id")[row].as_py() if "doc_id" in names else row
            raise ValueError(f"{path}: the segments of {name} have {sum(lengths) + len(lengths) - 1} characters, its text has {len(text)}")
        starts = np.cumsum([0, *(n + 1 for n in lengths[:-1])])
        found.append(([text[s : s + n] for s, n in zip(starts.tolist(), lengths)], [p["lang"] for p in parts]))
    return found


def _masks(documents: list[tuple[list[str], list[str]] | None], matcher: Matcher) -> list[dict[int, int]]:
    """Of each document, the words (columns) it holds by language, with the mask of the segments that hold them."""
    texts = [t for d in documents if d for t in d[0]]
    langs = [la for d in documents if d for la in d[1]]
    rows = [i for i, d in enumerate(documents) if d for _ in d[0]]
    places = [s for d in documents if d for s in range(len(d[0]))]
    masks: list[dict[int, int]] = [{} for _ in documents]
    if not texts:
        return masks
    segments, columns = matcher.incidence(texts, langs).nonzero()
    for segment, column in zip(segments.tolist(), columns.tolist()):
        own = masks[rows[segment]]
        own[column] = own.get(column, 0) | 1 << places[segment]
    return masks


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(BATCH, use_threads=False)


def _vocabulary(forms: Vocabulary, concept_ids: Iterable[str]) -> Vocabulary:
    """The part of a vocabulary that belongs to some concepts."""
    place = {c: i for i, c in enumerate(forms.concept_ids)}
    ids = tuple(concept_ids)
    return Vocabulary(ids, forms.languages, tuple(tuple(own[place[c]] for c in ids) for own in forms.forms))


def _sever_document(doc_id: str, masks: dict[int, int], langs: list[str], plan: _Plan, seed: int) -> tuple[list[int], list[str], int]:
    """Pieces of one document.

    Args:
        doc_id: ties are broken by it and the seed, whatever the place of the document in its shard.
        masks: its words (:func:`_masks`).
        langs: languages of its segments.

    Returns:
        Masks of the pieces, the largest first; groups of the concepts that are cut in it; number of pairs of words cut.
    """
    lot = random.Random(int.from_bytes(hashlib.sha256(f"{seed}\x1f{doc_id}".encode()).digest()[:8], "big"))
    cut, kept, groups = plan.pairs(masks, lot)
    if not cut:
        return [(1 << len(langs)) - 1], [], 0
    by_language = [sum(1 << s for s, own in enumerate(langs) if own == la) for la in plan.languages]
    priced = [(masks[a], masks[b], price) for a, b, price in kept]
    pieces = separate(len(langs), [(masks[a], masks[b]) for a, b in cut], priced, list(masks.values()), by_language, lot)
    plan.note(masks, pieces)
    return pieces, groups, len(cut)


def _piece(row: dict, texts: list[str], langs: list[str], mask: int, number: int) -> dict:
    own = list(bits(mask))
    tags = {langs[s] for s in own}
    return row | {
        "doc_id": f"{row['doc_id']}#{number}",
        "lang": tags.pop() if len(tags) == 1 else "mixed",
        "text": "\n".join(texts[s] for s in own),
        "segments": [{"lang": langs[s], "n_chars": len(texts[s])} for s in own],
    }


def sever_corpus(
    source: Path, destination: Path, forms: Vocabulary, assignment: pd.DataFrame, seed: int, close_fourth: bool = True, match_dose: bool = True
) -> pd.DataFrame:
    """Write a corpus in which the words of every cut edge never meet; one shard for each shard of the source.

    Documents that need no cut stay as they are. A cut one is replaced by its pieces, ``<doc_id>#1`` (the largest),
    ``#2`` …, each with its segments in their order; a piece of one language is tagged with it. The same arguments give the
    same bytes. Two readings: the first counts meetings, so that the second can spare the pairs that have few.

    Args:
        source: folder of shards (data/corpus).
        destination: another folder; shards of other names in it are left alone.
        forms: forms of at least the assigned concepts (``matching.read_forms``).
        assignment: of :func:`assign`.
        seed: breaks ties together with each document's id.
        close_fourth: as in :func:`experiment_edges`.
        match_dose: in every second document of a `full` concept that holds all three words, part the pivot word from both
            others, as many pivot meetings as `pivot_only` loses by its own cut.

    Returns:
        One row a cut document: shard, doc_id, n_pieces, n_segments, n_moved (segments outside the largest piece), moved_en
        … moved_ja, n_cut (pairs of words), groups (those of the concepts that were cut, `source-fourth` apart).

    Raises:
        ValueError: if source and destination are one folder, or segments do not add up to a document's text.
    """
    shards, assignment = list_shards(source), assignment.sort_values("concept_id")  # so that the order of its rows does not matter
    if Path(destination).resolve() == Path(source).resolve():
        raise ValueError(f"{source} cannot be cut in place: give another destination")
    edges = experiment_edges(assignment, close_fourth)
    vocabulary = _vocabulary(forms, assignment.concept_id)
    plan, matcher = _Plan(vocabulary, edges, match_dose), Matcher(vocabulary)
    found: dict[tuple[int, int], list[dict[int, int]]] = {}
    for number, path in enumerate(progress(shards, "looking for meetings")):
        for part, batch in enumerate(_batches(path)):
            found[number, part] = _masks(_documents(batch, path), matcher)
            for masks in found[number, part]:
                plan.count(masks)
    facts = {"seed": seed, "assignment": assignment_digest(assignment), "close_fourth": close_fourth, "match_dose": match_dose}
    facts |= {"forms": vocabulary.digest, "triples": sorted(set(assignment.triple))}
    log = []
    for number, path in enumerate(progress(shards, "cutting documents")):
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow.with_metadata({METADATA_KEY: canonical(facts | {"source": sha256_file(path)}).encode()})
        with atomic_path(Path(destination) / path.name) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for part, batch in enumerate(_batches(path)):
                documents, all_masks = _documents(batch, path), found[number, part]
                tables, start = [], 0
                ids = batch.column("doc_id").to_pylist()
                for row, (document, masks) in enumerate(zip(documents, all_masks)):
                    if document is None or len(masks) < 2:
                        continue
                    texts, langs = document
                    pieces, groups, n_cut = _sever_document(ids[row], masks, langs, plan, seed)
                    if len(pieces) == 1:
                        continue
                    values = batch.slice(row, 1).to_pylist()[0]
                    new = [_piece(values, texts, langs, mask, k) for k, mask in enumerate(pieces, 1)]
                    tables += [batch.slice(start, row - start), pa.RecordBatch.from_pylist(new, schema=batch.schema)]
                    start = row + 1
                    away = [langs[s] for mask in pieces[1:] for s in bits(mask)]
                    moved = {f"moved_{la}": away.count(la) for la in vocabulary.languages}
                    sizes = {"n_pieces": len(pieces), "n_segments": len(langs), "n_moved": len(away)}
                    log.append({"shard": path.stem, "doc_id": ids[row]} | sizes | moved | {"n_cut": n_cut, "groups": groups})
                tables.append(batch.slice(start))
                writer.write_table(pa.Table.from_batches(tables).replace_schema_metadata(schema.metadata))
    columns = ["shard", "doc_id", "n_pieces", "n_segments", "n_moved", *(f"moved_{la}" for la in vocabulary.languages), "n_cut", "groups"]
    return pd.DataFrame(log, columns=columns)


# What the cuts did


def _counted(folder: Path, vocabulary: Vocabulary, by_language: bool, cache: Path | None = None) -> Counts:
    counts = count_documents(folder, vocabulary, by_language, cache)
    if not counts.complete:
        raise ValueError(f"{counts.failed[0][1]}: a corpus with damaged shards proves nothing")
    return counts


def severance_table(
    before: Path,
    after: Path,
    lexicon: pd.DataFrame,
    forms: Vocabulary,
    assignment: pd.DataFrame,
    close_fourth: bool = True,
    cache: Path | None = None,
) -> pd.DataFrame:
    """Exact counts before and after the cuts, one row a concept and edge; the proof that every cut edge is cut.

    Args:
        before: folder of the corpus.
        after: folder of :func:`sever_corpus`.
        lexicon: ``task.read_lexicon``.
        forms: as in :func:`sever_corpus`.

    Returns:
        concept_id, group, block, triple, edge, first_lang, second_lang, cut; then, each with `_before` and `_after`:
        n_both, n_first, n_second (documents by all forms, in segments of their language), n_both_base, n_first_base,
        n_second_base (the same by the words of the lexicon alone), n_both_anywhere (all forms as strings in any segment:
        what is left of it on cut edges are equal strings in other languages).

    Raises:
        ValueError: if a shard is damaged.
    """
    edges = experiment_edges(assignment, close_fourth)
    vocabulary = _vocabulary(forms, assignment.concept_id)
    base = Vocabulary.from_lexicon(lexicon.loc[list(vocabulary.concept_ids)], languages=vocabulary.languages)
    n, names = len(vocabulary.concept_ids), (*vocabulary.concept_ids, *(f"{c} alone" for c in vocabulary.concept_ids))
    both = Vocabulary(names, vocabulary.languages, tuple(a + b for a, b in zip(vocabulary.forms, base.forms)))  # found in one pass
    place = {c: i for i, c in enumerate(vocabulary.concept_ids)}
    index = {la: i for i, la in enumerate(vocabulary.languages)}
    c, i, j = (column.map(names).to_numpy() for column, names in ((edges.concept_id, place), (edges.first_lang, index), (edges.second_lang, index)))
    table = edges[["concept_id", "group", "block", "triple", "edge", "first_lang", "second_lang", "cut"]].copy()
    counted = {time: _counted(folder, both, True, cache) for time, folder in (("before", before), ("after", after))}
    for suffix, first in (("", 0), ("_base", n)):
        for time, counts in counted.items():
            table[f"n_both{suffix}_{time}"] = counts.n_both[i, j, first + c]
            table[f"n_first{suffix}_{time}"], table[f"n_second{suffix}_{time}"] = counts.n_word[i, first + c], counts.n_word[j, first + c]
    for time, folder in (("before", before), ("after", after)):
        table[f"n_both_anywhere_{time}"] = _counted(folder, vocabulary, False, cache).n_both[i, j, c]
    return table


def collateral(severance: pd.DataFrame) -> pd.DataFrame:
    """What edges that are not cut have lost to the cuts of others, by group and edge.

    Args:
        severance: of :func:`severance_table`.

    Returns:
        triple, group, edge, n, before and after (median n_both), kept (share of all meetings kept), kept_q10, kept_median, kept_q90 (over
        concepts), n_lost (concepts that kept no meeting).
    """
    rows = []
    for (triple, group, edge), part in severance[~severance.cut].groupby(["triple", "group", "edge"], sort=False):
        ratio = part.n_both_after / part.n_both_before.clip(lower=1)
        low, middle, high = np.quantile(ratio, [0.1, 0.5, 0.9])
        kept = part.n_both_after.sum() / max(1, part.n_both_before.sum())
        medians = part.n_both_before.median(), part.n_both_after.median()
        rows.append((triple, group, edge, len(part), *medians, kept, low, middle, high, (part.n_both_after == 0).sum()))
    columns = ["triple", "group", "edge", "n", "before", "after", "kept", "kept_q10", "kept_median", "kept_q90", "n_lost"]
    return pd.DataFrame(rows, columns=columns)
