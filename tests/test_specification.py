"""The way from traces to the sentences of notebook 03, on made-up traces in which the truth is known."""

import numpy as np
import pandas as pd
import pytest

from semantic_pivots import attribution, behavior, replication, report_behavior, specification
from tests.test_behavior import item

SETTINGS = {"n_resamples": 50, "n_permutations": 50, "seed": 0}
N = 80


def made_up(effect: float):
    """Traces and counts of N concepts in two directions; with an effect, pairs that meet often go straight."""
    random = np.random.default_rng(0)
    rows, counts = [], []
    for number in range(N):
        n_both = int(random.integers(0, 40))
        straight = random.random() < 0.5 + effect * (n_both / 40 - 0.5)
        steps = [(9, 0.2, 0.0), (1, 0.3, 2.0), (1 if straight else 3, 0.8, 2.0), (2, 0.5, 2.0), (2, 0.9, 2.0)]
        for a, b in (("zh", "fr"), ("fr", "zh")):
            rows += [r | {"source_lang": a, "target_lang": b} for r in item(f"c{number}", steps)]
            count = {"corpus": "corpus", "source_lang": a, "target_lang": b, "concept_id": f"c{number}", "n_docs": 1000}
            counts.append(
                count | {"n_source": 100 + number % 7, "n_target": 90 + number % 5, "n_both": n_both, "npmi": None if n_both == 0 else 0.1, "identical": False}
            )
    return pd.DataFrame(rows), pd.DataFrame(counts)


@pytest.fixture(scope="module")
def planted():
    return made_up(1.0)


def test_a_planted_effect_shows_under_the_robust_rule(planted):
    table = specification.curve(*planted, 50, 50)
    default = table[(table.rule == "robust") & (table.exclude_last == 2) & (table.min_information == 1.0) & (table.check == True)].iloc[0]  # noqa: E712
    assert default.auc > 0.7 and default.low > 0.5 and default.p_perm < 0.05
    # words are all about as frequent here: frequency alone gives nothing
    assert default.null == pytest.approx(0.5, abs=0.1)
    assert table.auc.dropna().is_monotonic_increasing


def test_without_an_effect_there_is_none():
    table = specification.curve(*made_up(0.0), 50, 50)
    default = table[(table.rule == "robust") & (table.exclude_last == 2) & (table.min_information == 1.0)].iloc[0]
    assert default.low < 0.5 < default.high


def test_one_class_only_is_said_and_does_not_crash(planted):
    traces, counts = planted
    never = traces.assign(info_is_source=False, info_is_accepted=False)
    table = specification.curve(never, counts, 20, 20)
    assert table[table.rule == "robust"].auc.isna().all() and (table[table.rule == "robust"].n_pos == 0).all()
    labels = behavior.label_models(never)
    auc = attribution.attribute(labels, counts, None, **SETTINGS)
    delta = attribution.delta_auc(labels, counts, None, **SETTINGS)
    assert "one class only" in report_behavior.auc_sentences(auc, delta)


def test_shares_and_agreement(planted):
    labels = behavior.label_models(planted[0])
    shares = behavior.shares(labels, 50).set_index(["rule", "source_lang"])
    robust = labels[labels.rule == "robust"]
    assert shares.n_pivot["robust", "all"] == (robust.label == "pivot").sum()
    assert shares.pivot_share["robust", "all"] == pytest.approx((robust.label == "pivot").mean())
    table = behavior.agreement(labels, 50).set_index(["rule_a", "rule_b"])
    assert (table.n == 2 * N).all()
    # a rule that gives one label only cannot agree or disagree
    assert table.kappa.isna().tolist() == [True, True, False] and table.kappa["paper", "robust"] <= table.largest["paper", "robust"] <= 1


def test_kappa_stands_beside_the_largest_that_the_shares_allow():
    rules = {"released": "ppppppppcc", "robust": "ppcccccccc"}
    rows = [
        {"model": "m", "rule": r, "source_lang": "fr", "target_lang": "ja", "concept_id": f"c{i}", "label": "pivot" if x == "p" else "cooccurrence"}
        for r, labels in rules.items()
        for i, x in enumerate(labels)
    ]
    row = behavior.agreement(pd.DataFrame(rows), 20).iloc[0]
    # nested labels agree as far as the shares .8 and .2 allow
    assert row.pivot_too == 1 and row.kappa == pytest.approx(row.largest) == pytest.approx((0.4 - 0.32) / (1 - 0.32))


def test_examples_are_of_the_label_asked_for(planted):
    traces, _ = planted
    labels = behavior.label_models(traces)
    labels = labels[labels.rule == "robust"]
    words = labels[["source_lang", "target_lang", "concept_id"]].assign(source_word="x", target_word="y")
    table = behavior.examples(labels, traces, words, "pivot", 2)
    assert len(table) == 2 and table["layers say"].str.contains("t3").all()
    assert not behavior.examples(labels, traces, words, "cooccurrence", 2)["layers say"].str.contains("t3").any()


def test_every_sentence_of_the_notebook_can_be_written(planted):
    traces, counts = planted
    labels = behavior.label_models(traces)
    scores = labels[labels.rule == "robust"][["model", "source_lang", "target_lang", "concept_id"]]
    scores = scores.assign(score=np.arange(len(scores)) / 100, p_target=np.arange(len(scores)) / 100, n_target_tokens=1 + np.arange(len(scores)) % 3)
    shares = behavior.shares(labels, 50)
    auc, delta = (f(labels, counts, None, **SETTINGS) for f in (attribution.attribute, attribution.delta_auc))
    correlation = replication.correlation(scores, counts, None, **SETTINGS)
    released = replication.replication_table(labels, counts, None, **SETTINGS)
    curve = specification.curve(traces, counts, 20, 20)
    mass = behavior.mass_by_direction(behavior.pivot_mass(traces), 50)
    meetings = report_behavior.meetings(counts)
    assert len(report_behavior.delta_table(delta)) == 3 and len(report_behavior.ablation_table(auc)) == 3
    assert len(report_behavior.regression_table(attribution.regression(labels, counts))) >= 3
    for text in (
        report_behavior.share_sentences(shares),
        report_behavior.mass_sentence(mass),
        report_behavior.meeting_sentence(meetings, counts),
        report_behavior.correlation_sentences(correlation),
        report_behavior.auc_sentences(auc, delta),
        report_behavior.replication_sentences(released),
        report_behavior.curve_sentences(curve),
        report_behavior.conclusion(shares, auc, delta, correlation, curve, labels, "m"),
    ):
        assert text and "nan" not in text


def test_an_incomplete_count_is_said_aloud():
    assert report_behavior.incomplete(()) == ""
    assert "`part-3.parquet` (truncated)" in report_behavior.incomplete((("part-3.parquet", "truncated"),))
