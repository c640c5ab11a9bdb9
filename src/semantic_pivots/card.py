"""The data card of a selected training set (:mod:`.select`): what was chosen, why, from which sources, under which licences."""

from __future__ import annotations

import pandas as pd

from .task import LANGUAGES

__all__ = ["data_card"]


def _table(frame: pd.DataFrame) -> str:
    """A Markdown table; bars in the values are escaped."""
    rows = [frame.columns.tolist(), ["---"] * frame.shape[1], *frame.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(str(v).replace("|", "\\|").replace("\n", " ") for v in row) + " |" for row in rows)


def _by(chosen: pd.DataFrame, column: str) -> pd.DataFrame:
    """Documents and tokens by the values of a column, most tokens first."""
    table = chosen.groupby(column).n_tokens.agg(["size", "sum"]).sort_values("sum", ascending=False).reset_index()
    table["share"] = (table["sum"] / table["sum"].sum()).map("{:.1%}".format)
    return table.set_axis([column, "documents", "tokens", "share of tokens"], axis=1)


def data_card(ranked: pd.DataFrame, pivots: pd.DataFrame, funnel: pd.DataFrame, facts: dict) -> str:
    """The card as Markdown, with the front matter that model hubs read.

    Args:
        ranked: the ranking with `selected`.
        pivots: pivot words with their degrees.
        funnel: of ``arms.pool_funnel``.
        facts: what ``settings.json`` holds.
    """
    chosen, settings, graph = ranked[ranked.selected], facts["settings"], facts["settings"]["graph"]
    langs = [la for la in LANGUAGES if chosen.langs.str.contains(la).any()]
    front = ["---", "language:", *(f"- {la}" for la in langs), "license: other", "configs:", "- config_name: default", "  data_files: data/*.parquet", "---"]
    kinds = {
        "npmi": f"words with the largest sum of NPMI over links to words of other languages (a link: at least {graph['min_both']} common documents, NPMI of at least "
        f"{graph['min_npmi']}; as many pivots of every language; no stop words: in more than {graph['max_share']:.0%} of their language's documents; no words of one "
        f"source: more than {graph['max_source_share']:.0%} of their documents)",
        "paper": f"words linked with the most other words (at least {graph['min_both']} common documents)",
    }
    ranks = {
        "npmi": "Documents are ranked by how far their share of pivots lies above the mean of documents of their length, in standard deviations.",
        "paper": "Documents are ranked by their share of pivots.",
    }
    tags = ", ".join(f"{name.removeprefix('tagged ')} {n}" for name, n in sorted(facts["numbers"].items(), key=lambda x: -x[1]) if name.startswith("tagged "))
    kind, missing = settings["pivots"], facts["numbers"].get("without licence", 0)
    examples = pivots.groupby("lang", sort=False).word.agg(lambda w: ", ".join(w.head(20))).reset_index().set_axis(["language", "strongest pivots"], axis=1)
    lines = [
        *front, "", "# A pivot-aware training set", "",
        f"{len(chosen)} documents with {int(chosen.n_tokens.sum())} tokens (budget {settings['budget']}), chosen from {len(ranked)} that could be chosen and "
        f"{facts['numbers']['documents']} that were read."
        + (f" {left_out} of these have no text in {', '.join(LANGUAGES.values())} and were left out." if (left_out := facts["numbers"].get("without text", 0)) else "")
        + (f" By their tags others are in another language and were left out too: {tags}." if tags else "")
        + f" {facts['held_out']} concepts of the lexicon were held out.", "",
        "## What was chosen, and why", "",
        f"Pivots are {kinds[kind]}. {ranks[kind]} A word that is repeated in a document counts once. The idea is that of He et al. (arXiv 2505.16385); whether it helps a "
        "given model is for its user to test against documents drawn at random from the same languages and sources.", "",
        _table(funnel), "",
        f"{facts['without_a_pivot']} of the documents that could be chosen hold no pivot. Mean share of pivots: {chosen.pivot_share.mean():.3f} in the chosen documents, "
        f"{ranked.pivot_share.mean():.3f} in all.", "",
        _table(examples), "",
        "## Languages", "", "Of a document; `en+fr` holds both.", "", _table(_by(chosen, "langs")), "",
        "## Sources", "", _table(_by(chosen, "source")), "",
        "## Licences", "",
        "As the documents state them. This set has no licence of its own: each document keeps its own."
        + (f" **{missing} documents of the corpus state none; ask their source before you use or share them.**" if missing else ""), "",
        _table(_by(chosen, "license")), "",
        "## Files", "",
        _table(pd.DataFrame(
            [("data/*.parquet", 'documents: `datasets.load_dataset("parquet", data_files="data/*.parquet")`'), ("dolma/*.jsonl.gz", "the same in Dolma's layout"),
             ("ranking.parquet", "all documents that could be chosen, best first"), ("pivots.csv", "pivots and their degrees"),
             ("settings.json", "settings, and checksums of corpus, lexicon and tokenizer")],
            columns=["file", "holds"],
        )), "",
    ]  # fmt: skip
    return "\n".join(lines)
