import time

import numpy as np
import pytest
from scipy.stats import kstest, spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from statsmodels.stats.multitest import multipletests

from semantic_pivots import association


def brute_force_auc(scores, labels):
    wins = [(p > n) + 0.5 * (p == n) for p in scores[labels] for n in scores[~labels]]
    return np.mean(wins)


def tied_case(seed, n=80):
    random = np.random.default_rng(seed)
    scores = random.integers(6, size=n).astype(float)
    return scores, random.random(n) < 0.2 + 0.1 * scores


@pytest.mark.parametrize("seed", range(5))
def test_auc_counts_pairs_with_half_ties(seed):
    scores, labels = tied_case(seed)
    assert association.auc(scores, labels) == pytest.approx(brute_force_auc(scores, labels)) == pytest.approx(roc_auc_score(labels, scores))


def test_auc_of_ties_and_infinities():
    labels = np.array([True, False, True, False])
    assert association.auc(np.zeros(4), labels) == 0.5
    assert association.auc(np.array([-np.inf, -np.inf, np.inf, 0]), labels) == (0.5 + 0 + 1 + 1) / 4


def test_auc_of_one_class_is_nan():
    for labels in ([True, True], [False, False], []):
        scores = np.arange(len(labels))
        assert np.isnan(association.auc(scores, np.array(labels, dtype=bool)))
        assert np.isnan(association.auc_interval(scores, np.array(labels, dtype=bool), scores)).all()
        assert np.isnan(association.permutation_within(scores, np.array(labels, dtype=bool), np.zeros(len(labels), int))[0])


@pytest.mark.parametrize(
    ("scores", "labels", "message"), [([1, np.nan], [0, 1], "1 of 2 scores are NaN"), ([1, 2], [1], "one length"), ([1, 2], [1, 2], "true or false")]
)
def test_bad_scores_and_labels_are_refused(scores, labels, message):
    with pytest.raises(ValueError, match=message):
        association.auc(np.array(scores), np.array(labels))


def test_a_resample_gives_the_auc_of_the_rows_drawn():
    scores, labels = tied_case(1)
    clusters = np.arange(len(scores)) // 3
    weights = next(association.cluster_weights(clusters, 4, seed=0))
    rows = [np.repeat(np.arange(len(scores)), w.astype(int)) for w in weights]
    assert association._weighted_auc(scores, labels)(weights) == pytest.approx([roc_auc_score(labels[r], scores[r]) for r in rows])
    assert all(len(set(w[clusters == c])) == 1 for w in weights for c in set(clusters))
    assert weights[:, ::3].sum(1).tolist() == [len(set(clusters))] * 4


def test_auc_interval_covers_the_truth():
    inside = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        labels = np.arange(120) % 2 == 0
        _, low, high = association.auc_interval(random.normal(labels * 0.8), labels, np.arange(120), n_resamples=300, seed=seed)
        inside += low <= 0.7142 <= high  # Φ(0.8 / √2)
    assert 88 <= inside <= 99


def test_duplicated_clusters_do_not_narrow_the_interval():
    scores, labels = tied_case(2, n=100)
    single = association.auc_interval(scores, labels, np.arange(100))
    many = [np.tile(v, 4) for v in (scores, labels, np.arange(100))]
    clustered, naive = association.auc_interval(*many), association.auc_interval(*many[:2], np.arange(400))
    assert clustered == pytest.approx(single)
    assert clustered[2] - clustered[1] == pytest.approx(2 * (naive[2] - naive[1]), rel=0.15)


def test_difference_of_two_predictors_is_paired():
    scores, labels = tied_case(3)
    assert association.auc_interval(scores, labels, np.arange(80), baseline=2 * scores) == (0, 0, 0)
    value, low, high = association.auc_interval(scores, labels, np.arange(80), baseline=-scores)
    assert value == pytest.approx(2 * association.auc(scores, labels) - 1) and low < value < high


def test_large_interval_takes_seconds_at_most():
    random = np.random.default_rng(0)
    start = time.perf_counter()
    association.auc_interval(random.normal(size=4000), random.random(4000) < 0.5, np.arange(4000) % 400, n_resamples=2000)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("kind", ["normal", "counts", "constant", "few"])
def test_frequency_cells_are_never_small(kind):
    random = np.random.default_rng(0)
    a, b = {"normal": random.normal(size=(2, 300)), "counts": random.poisson(1, (2, 300)), "constant": np.ones((2, 300)), "few": random.normal(size=(2, 7))}[
        kind
    ]
    cells = association.frequency_cells(a, b)
    assert np.bincount(cells).min() >= 5
    assert (len(set(cells)) > 40) == (kind == "normal")
    for cell in set(cells) if kind == "normal" else ():
        assert np.ptp(np.searchsorted(np.sort(a), a[cells == cell])) < 60  # a fifth of the items, at most


def test_shuffles_stay_in_their_cells():
    random = np.random.default_rng(0)
    values, cells = random.normal(size=60), np.repeat([0, 1, 2], 20)
    for shuffled in association.shuffle_within(values, cells, 5, seed=1):
        assert all(sorted(shuffled[cells == c]) == sorted(values[cells == c]) for c in range(3))
        assert not np.array_equal(shuffled, values)


def test_what_drifts_inside_cells_stays():
    drift = np.random.default_rng(0).normal(size=(60, 1))
    for clusters in (None, np.arange(60) // 2):
        for shuffled in association.shuffle_within(3 * drift[:, 0], np.repeat([0, 1, 2], 20), 5, seed=1, clusters=clusters, drift=drift):
            assert shuffled == pytest.approx(3 * drift[:, 0])


def test_permutation_p_agrees_with_shuffling_labels():
    random = np.random.default_rng(4)
    scores, cells = random.integers(5, size=40).astype(float), np.repeat([0, 1], 20)
    labels = random.random(40) < 0.2 + 0.08 * scores
    brute = []
    for _ in range(4000):
        shuffled = labels.copy()
        for c in range(2):
            shuffled[cells == c] = random.permutation(shuffled[cells == c])
        brute.append(association.auc(scores, shuffled))
    null, centre = association.null_aucs(scores, labels, cells, 4000)
    assert np.sort(null) == pytest.approx(np.sort(brute), abs=0.05) and centre == pytest.approx(np.mean(brute), abs=0.005)
    expected = np.mean(np.array(brute) >= association.auc(scores, labels) - 1e-12)
    assert association.permutation_within(scores, labels, cells, 4000)[0] == pytest.approx(expected, abs=0.02)
    opposite = np.mean(np.array(brute) <= association.auc(scores, labels) + 1e-12)
    assert association.permutation_within(-scores, labels, cells, 4000)[0] == pytest.approx(opposite, abs=0.02)
    beyond = np.abs(np.array(brute) - centre) >= abs(association.auc(scores, labels) - centre) - 1e-12
    assert association.permutation_within(-scores, labels, cells, 4000, "two-sided")[0] == pytest.approx(beyond.mean(), abs=0.02)


def test_an_unknown_alternative_is_refused():
    with pytest.raises(ValueError, match="'less'"):
        association.permutation_within(np.arange(2), np.array([0, 1]), np.zeros(2, int), alternative="less")


def confounded(seed, n=200, effect=0.0):
    """Both the pair's count and the label depend on frequency; on each other only by ``effect``."""
    random = np.random.default_rng(seed)
    a, b, own = random.normal(size=(3, n))
    return a, b, (a + b) / 2 + own, random.random(n) < 1 / (1 + np.exp(-1.5 * (a + b) - effect * own))


def test_permutation_p_is_uniform_where_only_frequency_matters():
    p, raw = [], []
    for seed in range(150):
        a, b, scores, labels = confounded(seed)
        drift = np.column_stack([a, b, np.minimum(a, b)])
        p.append(association.permutation_within(scores, labels, association.frequency_cells(a, b), 199, seed=seed, drift=drift)[0])
        raw.append(association.permutation_within(scores, labels, np.zeros(len(a), int), 199, seed=seed)[0])
    assert kstest(p, "uniform").pvalue > 0.01 and np.mean(np.array(p) <= 0.05) < 0.1
    assert np.mean(np.array(raw) <= 0.05) > 0.95


def test_permutation_p_is_small_where_the_pair_matters():
    a, b, scores, labels = confounded(0, effect=1.5)
    assert association.permutation_within(scores, labels, association.frequency_cells(a, b), 999)[0] <= 0.005


def test_rows_of_one_concept_are_not_taken_for_many():
    """Four copies of every concept: shuffling rows one by one would find effects everywhere."""
    flipped, shuffled = [], []
    for seed in range(150):
        random = np.random.default_rng(seed)
        scores, labels = np.repeat(random.normal(size=40), 4), np.repeat(random.random(40) < 0.5, 4)
        cells, concepts = np.zeros(160, int), np.repeat(np.arange(40), 4)
        flipped.append(association.permutation_within(scores, labels, cells, 199, seed=seed, clusters=concepts))
        shuffled.append(association.permutation_within(scores, labels, cells, 199, seed=seed))
    assert np.mean(np.array(flipped) <= 0.05) < 0.1 < np.mean(np.array(shuffled) <= 0.05)


def test_kappa():
    random = np.random.default_rng(0)
    a = random.choice(["pivot", "cooccurrence", "wrong"], 200)
    b = np.where(random.random(200) < 0.6, a, random.permutation(a))
    value, low, high = association.cohen_kappa(a, b, np.arange(200))
    assert value == pytest.approx(cohen_kappa_score(a, b)) and low < value < high
    assert association.cohen_kappa(a, a, np.arange(200)) == pytest.approx((1, 1, 1))
    assert np.isnan(association.cohen_kappa(["x"] * 3, ["x"] * 3, np.arange(3))).all()
    with pytest.raises(ValueError, match="2 and 1 labels"):
        association.cohen_kappa(["x", "y"], ["x"], np.arange(2))


def test_spearman_without_covariates():
    random = np.random.default_rng(0)
    x = random.integers(8, size=120)
    y = x + random.normal(0, 4, 120)
    value, low, high, p = association.partial_spearman(x, y, np.empty((120, 0)), np.arange(120))
    assert value == pytest.approx(spearmanr(x, y).statistic) and low < value < high
    assert 0.01 < p / spearmanr(x, y).pvalue < 100


def test_every_resample_is_ranked_anew():
    random = np.random.default_rng(1)
    columns = random.integers(6, size=(3, 50)).astype(float)
    weights = next(association.cluster_weights(np.arange(50), 3, seed=0))
    ranks = np.stack([association._weighted_ranks(c)(weights) for c in columns[:2]], axis=1)
    rows = [np.repeat(np.arange(50), w.astype(int)) for w in weights]
    assert association._partial(ranks, weights) == pytest.approx([spearmanr(columns[0][r], columns[1][r]).statistic for r in rows])


def test_partial_spearman_is_zero_where_the_covariate_explains_all():
    random = np.random.default_rng(2)
    z = random.normal(size=(600, 2))
    x, y = z.sum(1) + random.normal(size=600), z.sum(1) + random.normal(size=600)
    raw, given = (association.partial_spearman(x, y, c, np.arange(600)) for c in (np.empty((600, 0)), z))
    assert raw[1] > 0.5 and raw[3] < 1e-6
    assert given[1] < 0 < given[2] and given[3] > 0.05
    planted = association.partial_spearman(x, y + x, z, np.arange(600))
    assert planted[1] > 0.5
    ranks = [np.argsort(np.argsort(v)).astype(float) for v in (x, y + x, *z.T)]
    assert planted[0] == pytest.approx(association.residualise(ranks[0], np.array(ranks[2:]).T) @ association.residualise(ranks[1], np.array(ranks[2:]).T))


def test_correlations_that_do_not_exist_are_nan():
    x = np.arange(20.0)
    assert np.isnan(association.partial_spearman(np.ones(20), x, np.empty((20, 0)), x)).all()
    assert np.isnan(association.partial_spearman(x, x[::-1] ** 2, x[:, None], x)[0])  # nothing of x is left
    assert np.isnan(association.pearson(x[:3], x[:3], x[:3])).all()
    with pytest.raises(ValueError, match="not finite"):
        association.pearson(x, np.where(x == 3, np.nan, x), x)


def test_pearson():
    random = np.random.default_rng(3)
    x = random.normal(size=100)
    y = x + random.normal(size=100)
    value, low, high, p = association.pearson(x, y, np.arange(100))
    assert value == pytest.approx(np.corrcoef(x, y)[0, 1]) and 0 < low < value < high and p < 1e-6


def test_ridge_logistic_is_scikit_learns():
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 4))
    y = random.random(200) < 1 / (1 + np.exp(-x[:, 0]))
    model = LogisticRegression(C=0.5, tol=1e-8).fit(x, y)
    beta = association.ridge_logistic(x, y.astype(float), penalty=2.0)
    assert beta == pytest.approx([*model.intercept_, *model.coef_[0]], abs=1e-4)
    assert association.ridge_logistic(x, y.astype(float), penalty=2.0, start=beta + 4) == pytest.approx(beta, abs=1e-5)
    separated = association.ridge_logistic(np.array([[-1.0], [-1.0], [1.0]]), np.array([0.0, 0.0, 1.0]))
    assert np.isfinite(separated).all() and separated[1] > 0


def test_holm():
    p = np.random.default_rng(0).random(12) ** 4
    assert association.holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    with_gaps = np.insert(p, [0, 5], np.nan)
    assert association.holm(with_gaps)[~np.isnan(with_gaps)] == pytest.approx(association.holm(p))
    assert np.isnan(association.holm(with_gaps)[[0, 6]]).all()
    assert not len(association.holm([]))
