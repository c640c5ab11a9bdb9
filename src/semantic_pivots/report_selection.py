"""Text and tables of notebook 05, the choice of documents: every number in its prose is computed here from an artifact."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .figures_transfer import arm_name
from .task import LANGUAGES

__all__ = ["graph_sentences", "pivot_table", "pos_table", "link_table", "composition_table", "matching_sentences", "exposure_table"]


def graph_sentences(words: pd.DataFrame, pivots: dict[str, np.ndarray], n_blind: int) -> str:
    """How large the graph is and how much the two sets of pivots have in common."""
    paper, ours = pivots["paper"], pivots["npmi"]
    common = (paper & ours).sum()
    by_lang = ", ".join(f"{LANGUAGES[la]} {n}" for la, n in words.lang[paper].value_counts().items())
    correlation = words.loc[words.degree > 0, ["degree", "n_docs"]].corr("spearman").iloc[0, 1]  # words of tested concepts have no links
    return (
        f"The graph has {len(words) - n_blind} words (those of tested concepts, {n_blind} forms, are no part of it) and {int(words.degree.sum() // 2)} links, "
        f"{int(words.cross_degree.sum() // 2)} of them between associated words of two languages. As the paper has it, a pivot is a word with many links; how far that is just a "
        f"frequent word, the Spearman correlation of links and documents tells: {correlation:.2f}. Of its {paper.sum()} pivots ({by_lang}), {common} are also among our {ours.sum()}."
    )


def pivot_table(words: pd.DataFrame, pivots: dict[str, np.ndarray], n: int = 12) -> pd.DataFrame:
    """The strongest pivots of each set and language."""
    rows = []
    for kind, value, name in (("paper", "degree", "the paper's: most links"), ("npmi", "strength", "ours: cross-lingual NPMI")):
        for la, language in LANGUAGES.items():
            own = words[pivots[kind] & (words.lang == la).to_numpy()].sort_values(value, ascending=False)
            rows.append((name, language, len(own), ", ".join(own.word.head(n))))
    return pd.DataFrame(rows, columns=["pivots", "language", "number", "strongest"])


def pos_table(words: pd.DataFrame, pivots: dict[str, np.ndarray], pos: np.ndarray, n: int = 8) -> pd.DataFrame:
    """Parts of speech of the pivots, as far as the lexicon knows the words, with examples of ours."""
    names, rows = {"n": "noun", "v": "verb", "a": "adjective", "": "not in the lexicon"}, []
    kinds = np.array([p if p in names else "several" for p in pos])
    for kind, name in {**names, "several": "several"}.items():
        own = words[pivots["npmi"] & (kinds == kind)].sort_values("strength", ascending=False)
        shares = [(kinds[pivots[k]] == kind).mean() for k in ("paper", "npmi")]
        rows.append((name, *(f"{100 * s:.0f} %" for s in shares), ", ".join(own.word.head(n))))
    return pd.DataFrame(rows, columns=["part of speech", "of the paper's", "of ours", "strongest of ours"])


def link_table(found: dict[str, dict[str, list[str]]]) -> pd.DataFrame:
    """What some pivots are linked with in each other language."""
    return pd.DataFrame([{"pivot": word} | {LANGUAGES[la]: ", ".join(ws) for la, ws in links.items()} for word, links in found.items()]).fillna("")


def composition_table(composition: pd.DataFrame) -> pd.DataFrame:
    """What the arms are made of, an arm a column; shares are of tokens."""
    names = {"documents": "documents", "tokens": "tokens", "tokens_median": "tokens of a document, median"}
    names |= {f"share_{la}": f"share of {name}" for la, name in LANGUAGES.items()}
    names |= {"share_mixed": "in documents of several languages", "n_sources": "sources", "top_source": "largest source", "top_source_share": "its share"}
    names |= {"pivots_npmi": "our pivots among the words", "pivots_paper": "the paper's pivots among the words", "pivots_placebo": "words that are no pivots"}
    shown = composition.set_index(composition.arm.map(arm_name))[[n for n in names if n in composition]].rename(columns=names)
    return shown.map(lambda v: v if isinstance(v, str) else f"{v:.3f}" if 0 < v < 1 else f"{v:.0f}").T.rename_axis(columns=None)


def matching_sentences(composition: pd.DataFrame, shared: pd.DataFrame, distances: pd.DataFrame) -> str:
    """How well matched arms match, and what they and the pivot arms differ in.

    Args:
        composition: of ``arms.composition``.
        shared: of ``arms.overlap``.
        distances: of ``arms.match_distances``.
    """
    rows, lines = composition.set_index("arm"), []
    for gap in distances.itertuples():
        match, pivot, kind = gap.arm, gap.like, {"pivot_paper": "pivots_paper", "pivot_placebo": "pivots_placebo"}.get(gap.like, "pivots_npmi")
        lines.append(
            f"*{arm_name(match)}* differs from *{arm_name(pivot)}* in {100 * gap.langs:.1f} % of its tokens by languages, {100 * gap.source:.1f} % by source and "
            f"{100 * gap.length:.1f} % by length of document; it has {rows.loc[match, 'documents']} documents to {rows.loc[pivot, 'documents']}, and {100 * shared.loc[match, pivot]:.0f} % of "
            f"its text in common. In {'these words' if kind == 'pivots_placebo' else 'pivots'} the two differ: {rows.loc[match, kind]:.2f} to {rows.loc[pivot, kind]:.2f} of a document's words"
            + (f" (random documents: {rows.loc['random', kind]:.2f})." if "random" in rows.index else ".")
        )
    mixed = rows.share_mixed
    here = [a for a in ("pivot_npmi", "pivot_paper") if a in mixed]
    lines.append(f"In documents of several languages stand {', '.join(f'{100 * mixed[a]:.0f} % of the tokens of *{arm_name(a)}*' for a in here)}")
    if "random" in mixed:
        lines[-1] += f" ({100 * mixed['random']:.0f} % of random ones)"
        if max(mixed[here], default=1) < mixed["random"] + 0.15:
            lines[-1] += ": a word that links languages stands mostly in text of one language, and a choice by such words hardly favors mixed documents"
    return " ".join(lines) + "."


def exposure_table(counts: dict[str, pd.DataFrame], splits: pd.Series, occurrences: dict[str, int]) -> pd.DataFrame:
    """In how many of an arm's documents tested words meet their translation, by exact count.

    Args:
        counts: for each arm ``arms.meeting_counts`` over its documents.
        splits: split of each concept.
        occurrences: for each arm, its documents that hold a held-out word, summed over words.
    """
    rows = []
    for arm, table in counts.items():
        of = table.n_both.groupby(table.concept_id.map(splits))
        seen = table[table.concept_id.map(splits) == "seen"]
        met = (seen.n_both > 0).groupby(seen.concept_id).any()
        rows.append((arm_name(arm), int(of.sum().get("heldout", 0)), occurrences[arm], int(of.sum().get("seen", 0)), f"{met.sum()} of {len(met)}"))
    columns = ["arm", "meetings of held-out words", "occurrences of held-out words", "meetings of words that may meet", "concepts of these that meet at all"]
    return pd.DataFrame(rows, columns=columns)
