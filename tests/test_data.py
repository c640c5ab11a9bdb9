"""The committed data set is what the notebooks take it for."""

import csv
import re

import numpy as np
import pandas as pd
import pytest

from semantic_pivots import task
from semantic_pivots.artifacts import ROOT
from semantic_pivots.task import LANGUAGES

HAN, KANA = re.compile(r"[\u3400-\u9fff々]"), re.compile(r"[\u3040-\u30ff]")


@pytest.fixture(scope="module")
def lexicon():
    return task.read_lexicon(ROOT / "data" / "lexicon.parquet")


def test_it_is_large_enough(lexicon):
    counts = lexicon.split.value_counts()
    assert len(lexicon) >= 2600 and counts["test"] >= 2000 and counts["demo"] >= 100 and counts["heldout"] >= 400
    assert set(counts.index) == {"test", "demo", "heldout"}
    assert set(lexicon.pos) == {"n", "v", "a"}


def test_words_are_words_of_their_language(lexicon):
    assert lexicon[list(LANGUAGES)].notna().all(axis=None)
    for la in ("en", "fr"):
        assert not lexicon[la].str.contains(r"\s|[()\[\]/;,0-9]").any()
    assert lexicon.zh.str.contains(HAN).all() and not lexicon.zh.str.contains(KANA).any()
    assert (lexicon.ja.str.contains(HAN) | lexicon.ja.str.contains(KANA)).all()


def test_accepted_words_hold_the_main_word_first(lexicon):
    for la in LANGUAGES:
        assert all(valid[0] == word for valid, word in zip(lexicon[f"valid_{la}"], lexicon[la]))


def test_bijective_concepts_share_no_word(lexicon):
    chosen = lexicon[lexicon.bijective]
    for la in LANGUAGES:
        assert chosen[la].is_unique
        owner = dict(zip(chosen[la], chosen.concept_id))
        for concept, valid in zip(chosen.concept_id, chosen[f"valid_{la}"]):
            assert all(owner.get(word, concept) == concept for word in valid)


def test_demonstrations_share_no_word_with_other_splits(lexicon):
    demo = lexicon.split == "demo"
    assert lexicon[demo].bijective.all()
    for la in LANGUAGES:
        words = [{w for valid in lexicon[rows][f"valid_{la}"] for w in valid} for rows in (demo, ~demo)]
        assert not words[0] & words[1]


def test_conflicts_are_mutual_and_known(lexicon):
    conflicts = {c: set(others) for c, others in zip(lexicon.concept_id, lexicon.conflicts)}
    for concept, others in conflicts.items():
        assert concept not in others
        assert all(concept in conflicts[o] for o in others)


def test_words_that_are_written_alike_are_flagged(lexicon):
    from semantic_pivots.report import _alike

    for a, b in (("en", "fr"), ("zh", "ja")):
        flagged = np.array([f"{a}-{b}" in flags for flags in lexicon.identical])
        assert (flagged == _alike(lexicon[a], lexicon[b]).to_numpy()).all()


def verdicts(path):
    """Verdicts of a reviewed sample; its first line is a comment that names the seed."""
    return pd.read_csv(path, sep="\t", comment="#", quoting=csv.QUOTE_NONE, keep_default_na=False).verdict


def test_precision_was_reviewed():
    """The last reviewed sample holds at least 200 concepts of which 95 % are right; so do the drawn distractors."""
    review = ROOT / "data" / "build" / "review"
    for path, least in ((sorted(review.glob("sample_*.tsv"))[-1], 200), (review / "distractors.tsv", 100)):
        found = verdicts(path)
        assert len(found) >= least and set(found) <= {"ok", "wrong"}
        assert (found == "ok").mean() >= 0.95
