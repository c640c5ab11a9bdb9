import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import auc as trapezoid
from sklearn.metrics import roc_auc_score

from semantic_pivots import association, attribution, replication

PAIRS = [("fr", "zh"), ("zh", "fr"), ("fr", "ja")]
QUICK = {"n_resamples": 200, "n_permutations": 99}


def world(effect, n=250, seed=0, pairs=PAIRS, confounding=1.5):
    """A toy corpus and model: words of known frequency, pair counts that follow it, and labels that follow frequency.

    ``effect`` is what the pair's own deviation from frequency adds to the log-odds of co-occurrence behavior.
    """
    random = np.random.default_rng(seed)
    common = random.normal(size=n)
    counts = {la: random.poisson(np.exp(3 + common + random.normal(size=n))) for la in ("fr", "ja", "zh")}
    own = {frozenset(p): random.normal(size=n) for p in (("fr", "zh"), ("fr", "ja"))}
    ids, pos = [f"c{i:03}" for i in range(n)], random.choice(["n", "v", "a"], n)
    behaviors, table, covariates, scores = [], [], [], []
    for source, target in pairs:
        keys = {"source_lang": source, "target_lang": target, "concept_id": ids}
        frequency, deviation = (np.log1p(counts[source]) + np.log1p(counts[target])) / 2 - 3, own[frozenset((source, target))]
        n_both = np.floor(np.exp(frequency + 1 + deviation)).astype(int)
        logit = confounding * frequency + effect * deviation
        label = np.where(random.random(n) < 1 / (1 + np.exp(-logit)), "cooccurrence", "pivot").astype(object)
        label[::10], label[1::10] = "wrong", "excluded"
        npmi = np.where(n_both > 0, np.clip(deviation / 5, -0.9, 0.9), np.nan)
        behaviors.append(pd.DataFrame({"model": "m", **keys, "rule": "robust", "label": label}))
        table.append(
            pd.DataFrame({"corpus": "toy", **keys, "n_docs": 10**5, "n_source": counts[source], "n_target": counts[target], "n_both": n_both, "npmi": npmi})
        )
        covariates.append(pd.DataFrame({**keys, "pos": pos, "n_target_tokens": random.integers(1, 4, n)}))
        score = logit + random.normal(size=n)
        scores.append(pd.DataFrame({"model": "m", **keys, "score": score, "p_target": np.exp(score)}))
    behaviors, table, covariates, scores = (pd.concat(t, ignore_index=True) for t in (behaviors, table, covariates, scores))
    return behaviors, table.assign(identical=False), covariates, scores


@pytest.fixture(scope="module")
def null_world():
    return world(0.0)


@pytest.fixture(scope="module")
def real_world():
    return world(1.5)


def row(table, pair=("all", "all"), **values):
    chosen = table[(table.source_lang == pair[0]) & (table.target_lang == pair[1])]
    for name, value in values.items():
        chosen = chosen[chosen[name] == value]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_table_has_its_columns_and_rows(real_world):
    table = attribution.attribute(*real_world[:3], **QUICK)
    columns = "model corpus source_lang target_lang rule predictor n_pos n_neg auc ci_low ci_high p_perm p_holm note".split()
    assert set(columns) <= set(table)
    assert len(table) == (len(PAIRS) + 1) * len(attribution.PREDICTORS)
    assert (table.ci_low <= table.auc).all() and (table.auc <= table.ci_high).all()
    first = row(table, PAIRS[0], predictor="log_both")
    assert (first.n_wrong, first.n_excluded, first.n_pos + first.n_neg) == (25, 25, 200)
    pd.testing.assert_frame_equal(table, attribution.attribute(*real_world[:3], **QUICK))  # seeded


def test_auc_is_that_of_the_counts(real_world):
    behaviors, counts, covariates, _ = real_world
    table = attribution.attribute(behaviors, counts, covariates, **QUICK)
    both = behaviors.merge(counts).query("label in ('cooccurrence', 'pivot')")
    for pair in PAIRS:
        part = both[(both.source_lang == pair[0]) & (both.target_lang == pair[1])]
        for predictor, scores in {"log_both": part.n_both, "npmi": part.npmi.fillna(-1), "log_target": part.n_target}.items():
            assert row(table, pair, predictor=predictor).auc == pytest.approx(roc_auc_score(part.label == "cooccurrence", scores))


def test_frequency_alone_is_not_taken_for_co_occurrence(null_world):
    table, delta = attribution.attribute(*null_world[:3], **QUICK), attribution.delta_auc(*null_world[:3], **QUICK)
    for pair in [*PAIRS, ("all", "all")]:
        raw = row(table, pair, predictor="log_both")
        assert raw.ci_low > 0.55 and raw.p_perm > 0.05
        assert row(delta, pair).ci_low <= 0.001 and row(delta, pair).p_holm > 0.05
    odds = attribution.regression(*null_world[:3]).set_index("term").loc["log_both"]
    assert odds.ci_low < 1 < odds.ci_high


def test_a_planted_effect_is_found(real_world):
    table, delta = attribution.attribute(*real_world[:3], **QUICK), attribution.delta_auc(*real_world[:3], **QUICK)
    for pair in [*PAIRS, ("all", "all")]:
        assert row(table, pair, predictor="log_both").p_perm == 0.01
        found = row(delta, pair)
        assert found.ci_low > 0 and found.p_perm == 0.01
        assert found.delta == pytest.approx(found.auc_both - found.auc_unigram)
        assert found.auc_both == row(table, pair, predictor="unigram+both").auc
    assert row(delta, PAIRS[0]).p_holm == pytest.approx(0.03)
    odds = attribution.regression(*real_world[:3]).set_index("term")
    assert odds.odds_ratio["log_both"] > odds.ci_low["log_both"] > 1.5
    assert odds.ci_low["n_target_tokens"] < 1 < odds.ci_high["n_target_tokens"]
    assert {"log_source", "log_target", "pos_n", "pos_v"} < set(odds.index)


def test_out_of_fold_predictions_are_not_optimistic():
    """Predictors that say nothing: a model judged on its own items finds something all the same."""
    on_itself, out_of_fold = [], []
    for seed in range(20):
        random = np.random.default_rng(seed)
        rows = pd.DataFrame({"source_lang": "fr", "target_lang": "zh", "concept_id": [f"c{i}" for i in range(60)], "positive": random.random(60) < 0.5})
        rows = rows.assign(**{k: random.normal(size=60) for k in ("log_both", "npmi", "log_source", "log_target", "n_source_tokens", "n_target_tokens")})
        x = attribution.design(rows).to_numpy()
        on_itself.append(association.auc(x @ association.ridge_logistic(x, rows.positive.to_numpy(float))[1:], rows.positive))
        out_of_fold.append(association.auc(attribution.predictors(rows).unigram, rows.positive))
    assert np.mean(out_of_fold) < 0.53 and np.mean(on_itself) > 0.6


def test_a_concept_is_never_in_two_folds(real_world):
    rows = attribution.labelled(*real_world[:3]).query("used").reset_index(drop=True)
    folds = pd.Series(attribution._folds(rows, seed=0))
    assert folds.groupby(rows.concept_id).nunique().eq(1).all()
    assert rows.positive.groupby(folds).mean().between(0.3, 0.7).all()


def test_zero_counts_are_kept_and_rank_lowest(real_world):
    rows = attribution.labelled(*real_world[:3])
    zero = rows[rows.n_both == 0]
    assert len(zero) and (zero.log_both == 0).all() and (zero.npmi == -1).all()
    assert (rows[rows.n_both > 0].npmi > -1).all() and (rows[rows.n_both == 1].log_both > 0).all()


def test_words_written_alike_are_left_out(real_world):
    behaviors, counts, covariates, _ = real_world
    counts = counts.assign(identical=counts.concept_id.isin(["c002", "c003"]))
    found = row(replication.replication_table(behaviors, counts, covariates, **QUICK), PAIRS[0], predictor="n_both")
    assert (found.n_identical, found.n_pos + found.n_neg) == (2, 198)


def test_one_class_gives_a_note_and_no_crash(real_world):
    behaviors, counts, covariates, scores = real_world
    only = (behaviors.source_lang == "zh") & (behaviors.label == "cooccurrence")
    behaviors = behaviors.assign(label=behaviors.label.mask(only, "pivot"))
    for table in (f(behaviors, counts, covariates, **QUICK) for f in (attribution.attribute, attribution.delta_auc, replication.replication_table)):
        part = table[table.source_lang == "zh"]
        assert (part.note == "one class only: AUC undefined").all() and (part.n_pos == 0).all()
        assert part[[c for c in ("auc", "ci_low", "delta", "p_perm", "p_holm") if c in part]].isna().all(axis=None)
        assert (table[table.source_lang == "fr"].note == "").all()
    assert "1 pairs of one class left out" in attribution.regression(behaviors, counts, covariates).note.iloc[0]
    nothing = behaviors.assign(label="wrong")
    empty = attribution.attribute(nothing, counts, covariates, **QUICK)
    assert empty.auc.isna().all() and (empty.note == attribution.NO_CLASS).all()
    assert "no pair with both classes" in attribution.regression(nothing, counts, covariates).note.iloc[0]


def test_a_single_positive_is_not_cross_validated(real_world):
    behaviors, counts, covariates, _ = real_world
    one = behaviors[behaviors.source_lang == "zh"].reset_index(drop=True)
    one = one.assign(label=["cooccurrence" if i == 5 else "pivot" for i in range(len(one))])
    table = attribution.attribute(one, counts, covariates, **QUICK)
    assert row(table, ("zh", "fr"), predictor="unigram").note == "one class in a single concept: no cross-validation"
    assert row(table, ("zh", "fr"), predictor="log_both").note == "fewer than 10 items of one class"
    assert attribution.delta_auc(one, counts, covariates, **QUICK).delta.isna().all()


def test_separated_classes_have_no_odds_ratio(real_world):
    behaviors, counts, covariates, _ = real_world
    merged = behaviors.merge(counts)
    separated = behaviors.assign(label=np.where(merged.n_both > merged.n_both.median(), "cooccurrence", "pivot"))
    table = attribution.regression(separated, counts, covariates)
    assert table.note.str.contains("separat").all() and table.odds_ratio.isna().all()


def test_missing_and_repeated_rows_are_refused(real_world):
    behaviors, counts, covariates, _ = real_world
    with pytest.raises(ValueError, match="behaviors: 750 rows repeat.*choose one lens"):
        attribution.labelled(pd.concat([behaviors, behaviors]), counts, covariates)
    with pytest.raises(ValueError, match="no counts for 1 of 750 items"):
        attribution.labelled(behaviors, counts.iloc[1:], covariates)
    with pytest.raises(ValueError, match="covariates: 1 of 750 items lack one of pos, n_target_tokens"):
        attribution.labelled(behaviors, counts, covariates.iloc[1:])
    with pytest.raises(ValueError, match="behaviors: no column rule"):
        attribution.labelled(behaviors.drop(columns="rule"), counts)
    with pytest.raises(ValueError, match="cooccurrence: no column npmi"):
        attribution.labelled(behaviors, counts.drop(columns="npmi"))


def test_each_corpus_stands_for_itself(real_world):
    behaviors, counts, _, _ = real_world
    two = pd.concat([counts, counts.assign(corpus="empty", n_both=0, npmi=np.nan)])
    table = attribution.attribute(behaviors, two, n_resamples=50, n_permutations=19)
    empty = table[(table.corpus == "empty") & table.predictor.isin(["log_both", "npmi"])]
    assert len(table) == 2 * (len(PAIRS) + 1) * 6 and (empty.auc == 0.5).all() and (empty.p_perm > 0.5).all()


def test_correlation_with_frequency_taken_out(null_world, real_world):
    for (*_, scores), effect in ((null_world, False), (real_world, True)):
        _, counts, covariates, _ = null_world if not effect else real_world
        table = replication.correlation(scores, counts, covariates, **QUICK)
        assert len(table) == len(PAIRS) * 5
        for pair in PAIRS:
            paper, raw = (row(table, pair, outcome="score", statistic=s) for s in ("pearson", "spearman"))
            given = row(table, pair, given="log_source+log_target")
            tokens = row(table, pair, given="log_source+log_target+n_target_tokens")
            assert paper.ci_low > 0.2 and raw.value == row(table, pair, outcome="p_target", given="").value  # the exponential keeps ranks
            assert (given.ci_low > 0.2) == (tokens.ci_low > 0.2) == (given.p_holm < 0.05) == (paper.value > paper.null_high) == effect
            assert effect or (paper.null_low < paper.value and paper.null_mean > 0.2 and given.ci_low < 0.1)


def test_released_auc_depends_on_the_order_of_ties():
    counts, labels = np.array([0, 1, 1, 0, 7]), np.array([True, False, True, False, True])
    assert replication.released_auc(counts, labels) == {"given": pytest.approx(5 / 6), "worst": pytest.approx(2 / 6), "best": 1.0}
    # 0 and 1 are one value there: the first true item is not below the false one with count 1
    turned = replication.released_auc(counts[::-1], labels[::-1])
    assert turned["given"] == pytest.approx(3 / 6) and turned["worst"] == pytest.approx(2 / 6)
    assert association.auc(np.log1p(counts), labels) == pytest.approx(4 / 6)
    assert np.isnan(list(replication.released_auc(counts, np.ones(5)).values())).all()


def test_released_auc_in_any_order_lies_between_worst_and_best():
    random = np.random.default_rng(0)
    counts, labels = random.poisson(1, 60), random.random(60) < 0.5
    given = []
    for _ in range(30):
        order = random.permutation(60)
        areas = replication.released_auc(counts[order], labels[order])
        assert areas["worst"] <= areas["given"] <= areas["best"]
        given.append(areas["given"])
    assert np.ptp(given) > 0.05
    assert (areas["worst"] + areas["best"]) / 2 == pytest.approx(roc_auc_score(labels, np.maximum(counts, 1)))


def test_replication_stands_beside_the_correction(null_world):
    table = replication.replication_table(*null_world[:3], **QUICK)
    assert len(table) == (len(PAIRS) + 1) * 2
    assert (table.auc_worst <= table.auc_released).all() and (table.auc_released <= table.auc_best).all()
    assert (table.ci_low < table.auc).all() and table.null_mean.between(0.45, 0.55).all() and (table.null_low < 0.5).all()
    both = row(table, PAIRS[0], predictor="n_both")
    assert both.auc_best - both.auc_worst > 0.02 and both.n_zero and both.n_one
    used = attribution.labelled(*null_world[:3]).query("used and source_lang == 'fr' and target_lang == 'zh'")
    assert both.auc_released == replication.released_auc(used.n_both, used.positive)["given"]


def test_roc_curve_has_the_area_and_a_band():
    random = np.random.default_rng(0)
    labels, concepts = random.random(400) < 0.4, np.arange(400) // 2
    scores = random.normal(labels * 1.0).round(1)
    curve = attribution.roc_curve(scores, labels, concepts, n_points=1001, n_resamples=200)
    assert trapezoid(curve.fpr, curve.tpr) == pytest.approx(association.auc(scores, labels), abs=0.003)
    assert (curve.ci_low <= curve.tpr + 0.02).all() and (curve.tpr <= curve.ci_high + 0.02).all() and curve.tpr.is_monotonic_increasing
    assert curve.tpr.iloc[-1] == 1
    assert attribution.roc_curve(scores, np.ones(400), concepts).tpr.isna().all()
    with pytest.raises(ValueError, match="400 scores, 0 of them NaN, for 3 labels"):
        attribution.roc_curve(scores, labels[:3], concepts)
