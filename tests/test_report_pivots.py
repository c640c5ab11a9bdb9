"""Quotes of documents, and sentences that say what the tables say, whichever way they turned out."""

import numpy as np
import pandas as pd
import pytest

from semantic_pivots import quotes, report_pivots, words
from semantic_pivots.matching import Vocabulary
from semantic_pivots.pivot_layers import GROUPS
from semantic_pivots.pivots import word_documents
from tests.test_words import write

DOCUMENTS = [
    ("both", [("fr", "L'ami et la maison."), ("ja", "友達の家。"), ("en", "A friend.")]),
    ("long", [("fr", "Mon ami est venu hier soir avec toute sa famille pour le dîner."), ("en", "The Friend of mine, unfriendly.")]),
    ("short", [("fr", "Un ami."), ("en", "friend")]),
    ("japanese", [("ja", "友達。"), ("en", "My friend")]),
]


@pytest.fixture
def found(tmp_path):
    path = write(tmp_path / "a.parquet", DOCUMENTS)
    table = pd.read_parquet(path).assign(source="toy")
    table.to_parquet(path)
    vocabulary = Vocabulary(("friend.n",), ("en", "fr", "zh", "ja"), ((("friend",),), (("ami",),), (("朋友",),), (("友達",),)))
    pivots = pd.DataFrame({"pivot": ["friend", "maison"], "lang": ["en", "fr"]})
    index = words.index_corpus(tmp_path, 1)
    return tmp_path, quotes.pivot_documents(index, word_documents(tmp_path, vocabulary), vocabulary, "friend.n", ("fr", "ja"), pivots)


def test_documents_are_short_and_know_nothing_of_the_other_word(found):
    _, table = found
    assert table[["pivot", "end", "doc_id", "apart"]].values.tolist() == [
        ["friend", "source", "short", True],
        ["friend", "target", "japanese", True],
        ["maison", "source", "both", False],
        ["maison", "target", "both", False],
    ]


def test_quotes_mark_the_whole_word(found):
    folder, table = found
    lines = report_pivots.quote_lines(quotes.read_quotes(folder, table))
    assert "“Un **ami**.” / “**friend**”" in lines and "“**友達**。” / “My **friend**”" in lines and "holds the other word as well" in lines
    assert quotes.quote([("en", "unfriendly, the Friend of mine")], "friend", "en") == "unfriendly, the **Friend** of mine"
    long = quotes.quote([("fr", "un " * 40 + "ami " + "deux " * 40)], "ami", "fr")
    assert long.startswith("…un ") and long.endswith("deux…") and "**ami**" in long and len(long) < 100
    assert quotes.quote([("ja", "学校へ行く")], "ない", "ja").endswith("…") and quotes.quote([("ja", "学校")], "x", "en") == ""
    empty = table[:0]
    assert report_pivots.quote_lines(quotes.read_quotes(folder, empty)) == "There is no document to quote."


@pytest.mark.parametrize("low, high, said", [(0.01, 0.03, "Ours finds it earlier"), (-0.03, -0.01, "The paper's finds it earlier"), (-0.01, 0.01, "Neither")])
def test_rankings_either_way(low, high, said):
    measures = ["overlap", "common_paper", "common_ours", "translation_paper", "translation_ours", "advantage"]
    table = pd.DataFrame({"source_lang": "all", "target_lang": "all", "measure": measures, "n": 5, "mean": (low + high) / 2, "low": low, "high": high})
    assert said in report_pivots.ranking_sentences(table)


def contrast_rows(low, high, each_low, each_high):
    row = {"source_lang": "all", "target_lang": "all", "contrast": "English translation − third-language translation", "n": 9, "first": 0.2, "second": 0.1}
    row |= {
        "difference": (low + high) / 2,
        "low": low,
        "high": high,
        "difference_each": (each_low + each_high) / 2,
        "each_low": each_low,
        "each_high": each_high,
    }
    return pd.DataFrame([row])


def summary_rows(above_low):
    row = {
        "source_lang": "all",
        "target_lang": "all",
        "n": 9,
        "mass_pivot": 0.1,
        "low": 0.05,
        "high": 0.15,
        "mass_control": 0.01,
        "mass_source": 0.2,
        "mass_target": 0.3,
        "n_cases": 90,
        "q25": 0.001,
        "q50": 0.002,
        "q75": 0.2,
    }
    row |= {f"{k}{e}": above_low + d for k in ("above", "above_shuffled") for e, d in (("", 0.1), ("_low", 0.0), ("_high", 0.2))}
    return pd.DataFrame([row, row | {"source_lang": "fr", "target_lang": "ja"}])


@pytest.mark.parametrize(
    "contrast, above, difference, said",
    [
        ((0.1, 0.2, 0.01, 0.02), 0.5, 0.1, ("stand out", "also by the token", "more than chance")),
        ((0.1, 0.2, -0.01, 0.02), 0.5, 0.1, ("but not by the token",)),
        ((-0.2, -0.1, -0.01, 0.02), 0.0, -0.2, ("do not stand out", "carry more of this probability than English ones", "no more than chance")),
        ((-0.1, 0.1, -0.01, 0.02), 0.5, 0.1, ("not distinguished",)),
    ],
)
def test_conclusions_either_way(contrast, above, difference, said):
    ranks = pd.DataFrame(
        {
            "source_lang": "all",
            "measure": ["translation_ours", "translation_paper", "advantage", "common_paper", "common_ours"],
            "mean": 0.1,
            "low": 0.05,
            "high": 0.2,
            "n": 5,
        }
    )
    hit = {
        "rule": "robust",
        "source_lang": "all",
        "target_lang": "all",
        "n": 9,
        "n_concepts": 5,
        "share": 0.2,
        "low": 0.1,
        "high": 0.3,
        "chance": 0.01,
        "n_called": 12,
    }
    hits = pd.DataFrame([hit | {"difference_low": difference, "difference_high": difference + 0.1} | {f"share: {g}": 0.1 for g in GROUPS}])
    text = report_pivots.conclusion(ranks, summary_rows(above), contrast_rows(*contrast), hits, pd.DataFrame(columns=["model", "outcome", "term"]), "m")
    assert all(s in text for s in said) and "too few items to tell" in text
    without = report_pivots.conclusion(
        ranks, summary_rows(above)[:0], contrast_rows(*contrast)[:0], hits[:0], pd.DataFrame(columns=["model", "outcome", "term"]), "m"
    )
    assert without.count("\n") == 1 and report_pivots.standing_out_sentences(summary_rows(above)[:0]) == report_pivots.NOTHING
    assert ("more than chance" if difference > 0 else "no more than chance" if difference + 0.1 >= 0 else "less than chance") in report_pivots.label_sentences(
        hits
    )


@pytest.mark.parametrize(
    "coefficient, p, said",
    [
        (0.1, 0.02, "and beyond what frequency gives"),
        (0.1, 0.2, "but not distinguished from what"),
        (0.001, 0.02, "not distinguished from zero"),
        (-0.1, 0.02, "negative, the opposite"),
    ],
)
def test_regression_either_way(coefficient, p, said):
    row = {"model": "documents", "outcome": "p_target", "term": "support", "n": 9, "n_concepts": 5, "coefficient": coefficient, "low": coefficient - 0.05}
    row |= {"high": coefficient + 0.05, "p": 0.1, "standardised": 0.1, "null_low": -0.05, "null_high": 0.05, "null_mean": 0.0, "p_perm": p, "p_holm": p}
    row |= {"r2": 0.2, "r2_without": 0.1}
    table = pd.DataFrame([row, row | {"term": "log_both", "model": "apart"}])
    found = report_pivots._score_sentence(table)
    assert ("is found here" in found) == (said == "and beyond what frequency gives") and (
        "go with a lower one" in found or "goes with a lower one" in found
    ) == (coefficient < 0)
    assert said in report_pivots.regression_sentences(table) and len(report_pivots.regression_table(table)) == 2


@pytest.mark.parametrize("height, said", [(0.5, "In 1 of 1 directions"), (0.05, "In no direction")])
def test_layers_either_way(height, said):
    rows = []
    for layer in range(4):
        for measure in ("source", "pivot", "target", "control", "shuffled"):
            mean = height if measure == "pivot" and layer == 2 else 0.1 * (layer == 3) + 0.01
            rows.append(
                {
                    "source_lang": "fr",
                    "target_lang": "ja",
                    "lens": "corrected",
                    "layer": layer,
                    "measure": measure,
                    "mean": mean,
                    "low": mean - 0.1,
                    "high": mean + 0.1,
                    "n": 9,
                }
            )
    assert said in report_pivots.layer_sentences(pd.DataFrame(rows))


def test_coverage_of_nothing():
    head = {"source_lang": "fr", "target_lang": "ja", "status": "too few documents", "n_kept": 0}
    coverage = pd.DataFrame([head | {"concept_id": c} for c in "ab"])
    assert "none has pivots" in report_pivots.coverage_sentences(coverage)
    assert report_pivots.coverage_table(coverage).loc["fr → ja", "too few documents"] == 2
    row = {"n_source": 3, "n_target": 1, "n_both": 0, "status": "too few documents"}
    assert "too few" in report_pivots.word_sentence("a", pd.Series(row), pd.DataFrame()) and "not looked at" in report_pivots.word_sentence(
        "a", None, pd.DataFrame()
    )


def test_types_add_up():
    head = {"source_lang": "fr", "target_lang": "ja", "kept": True}
    pivots = pd.DataFrame(
        [head | {"concept_id": c, "type": t} for c, t in (("a", "English associate"), ("a", "English translation"), ("b", "English associate"))]
    )
    coverage = pd.DataFrame([head | {"concept_id": c, "status": "pivots"} for c in "abc"])
    counts = report_pivots.type_counts(pivots, coverage)
    assert counts.share.sum() == pytest.approx(1) and counts.per_concept.sum() == pytest.approx(1) and np.all(counts.n_concepts == 3)
    assert "English associate 67%" in report_pivots.type_sentences(counts)
