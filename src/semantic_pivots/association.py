"""Association: AUC, agreement and correlation with intervals and nulls that respect concepts and word frequency.

Concepts are the clusters that are resampled: the directions of one concept are not independent of each other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np
from scipy import stats as distributions
from scipy.special import expit
from scipy.stats import rankdata

__all__ = [
    "cluster_weights",
    "auc",
    "auc_interval",
    "frequency_cells",
    "shuffle_within",
    "null_aucs",
    "permutation_within",
    "cohen_kappa",
    "share_interval",
    "partial_spearman",
    "pearson",
    "residualise",
    "ridge_logistic",
    "sign_flip",
    "holm",
]

BLOCK = 128  # resamples held in memory at a time


def cluster_weights(clusters: np.ndarray, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each row counts when whole clusters are drawn with replacement.

    Args:
        clusters: the cluster (concept) of each row, [n].

    Yields:
        Blocks of weights, [≤ BLOCK, n]; ``n_resamples`` rows in all.
    """
    names, codes = np.unique(np.asarray(clusters), return_inverse=True)
    random, k = np.random.default_rng(seed), len(names)
    for start in range(0, n_resamples, BLOCK):
        size = min(BLOCK, n_resamples - start)
        draws = random.integers(k, size=(size, k)) + k * np.arange(size)[:, None]
        yield np.bincount(draws.ravel(), minlength=size * k).reshape(size, k)[:, codes].astype(float)


def _resampled(statistic: Callable[[np.ndarray], np.ndarray], clusters: np.ndarray, n_resamples: int, seed: int) -> np.ndarray:
    """A statistic of row weights on every resample; resamples on which it is undefined are left out."""
    if len(set(clusters)) < 2:
        return np.empty(0)
    values = np.concatenate([statistic(w) for w in cluster_weights(clusters, n_resamples, seed)])
    return values[np.isfinite(values)]


def _percentiles(draws: np.ndarray, level: float) -> tuple[float, float]:
    if len(draws) < 2:
        return float("nan"), float("nan")
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _tie_groups(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The order that sorts values, where each run of equal values starts in it, and the run of each sorted value."""
    order = np.argsort(values, kind="stable")
    new = np.r_[True, values[order][1:] != values[order][:-1]]
    return order, np.flatnonzero(new), np.cumsum(new) - 1


def _weighted_auc(scores: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The AUC as a function of row weights, [b, n] → [b]; the sorting is done once for all resamples."""
    order, starts, _ = _tie_groups(scores)
    positive = labels[order]

    def area(weights: np.ndarray) -> np.ndarray:
        weights = weights[:, order]
        pos = np.add.reduceat(weights * positive, starts, axis=1)
        neg = np.add.reduceat(weights * ~positive, starts, axis=1)
        wins = (pos * (neg.cumsum(1) - neg / 2)).sum(1)
        with np.errstate(invalid="ignore"):
            return wins / (pos.sum(1) * neg.sum(1))

    return area


def _checked(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if scores.shape != labels.shape or scores.ndim != 1:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} must be two vectors of one length")
    if np.isnan(scores).any():
        raise ValueError(f"{int(np.isnan(scores).sum())} of {len(scores)} scores are NaN; give missing values a rank of their own")
    if not np.isin(labels, [0, 1]).all():
        raise ValueError(f"labels must be true or false, not {sorted(set(labels.tolist()), key=str)[:3]}")
    return scores, labels.astype(bool)


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counted half (Mann–Whitney).

    Args:
        scores: [n]; infinite values are ranks like any other.
        labels: true for the positive class, [n].

    Returns:
        A value in 0…1, nan where a class is empty.

    Raises:
        ValueError: if a score is NaN, or the lengths differ.
    """
    scores, labels = _checked(scores, labels)
    if labels.all() or not labels.any():
        return float("nan")
    return float(_weighted_auc(scores, labels)(np.ones((1, len(scores))))[0])


def auc_interval(
    scores: np.ndarray,
    labels: np.ndarray,
    clusters: np.ndarray,
    baseline: np.ndarray | None = None,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float, float]:
    """:func:`auc` with its percentile bootstrap interval; clusters are resampled.

    Args:
        scores: [n].
        labels: [n].
        clusters: the concept of each row, [n].
        baseline: other scores of the same rows, [n]; then the result is auc(scores) − auc(baseline), paired.

    Returns:
        (estimate, low, high), nan where a class is empty.

    Raises:
        ValueError: as :func:`auc`.
    """
    scores, labels = _checked(scores, labels)
    if labels.all() or not labels.any():
        return (float("nan"),) * 3
    areas = [_weighted_auc(s, labels) for s in (scores, *([] if baseline is None else [_checked(baseline, labels)[0]]))]

    def statistic(weights: np.ndarray) -> np.ndarray:
        return areas[0](weights) - (areas[1](weights) if baseline is not None else 0)

    estimate = float(statistic(np.ones((1, len(scores))))[0])
    return estimate, *_percentiles(_resampled(statistic, clusters, n_resamples, seed), level)


def _quantile_bins(values: np.ndarray, n_bins: int, min_size: int) -> np.ndarray:
    """Bins 0, 1, … of about equal size, equal values together, bins under ``min_size`` joined to a neighbor; [n]."""
    bins = np.floor(n_bins * (rankdata(values) - 0.5) / len(values)).astype(int)
    edges, size = [], 0
    for b, count in zip(*np.unique(bins, return_counts=True)):
        size += count
        if size >= min_size:
            edges.append(b)
            size = 0
    # a remainder that is too small goes into the last full bin
    return np.minimum(np.searchsorted(edges, bins), max(len(edges) - 1, 0))


def frequency_cells(log_source: np.ndarray, log_target: np.ndarray, n_bins: int = 20, min_size: int = 5) -> np.ndarray:
    """Cells of items alike in both word frequencies: quantiles of the source, and within each, quantiles of the target.

    Nesting keeps the cells about equally full although the two frequencies are correlated. ``n_bins`` is an upper bound:
    there are never so many that a cell would hold fewer than ``min_size`` items. Frequency still differs a little inside
    a cell, which large samples notice: the ``drift`` of :func:`shuffle_within` takes that out.

    Args:
        log_source: log count of the source word, [n].
        log_target: log count of the target word, [n].
        n_bins: bins a side, at most.
        min_size: items a cell, at least (all items are one cell if there are fewer).

    Returns:
        Cell numbers 0, 1, …, [n].
    """
    log_source, log_target = np.asarray(log_source, dtype=float), np.asarray(log_target, dtype=float)
    n_bins = max(1, min(n_bins, int(np.sqrt(len(log_source) / min_size))))
    outer = _quantile_bins(log_source, n_bins, min_size * n_bins) if len(log_source) else np.zeros(0, dtype=int)
    cells = np.zeros(len(outer), dtype=int)
    for b in np.unique(outer):
        inside = outer == b
        cells[inside] = b * n_bins + _quantile_bins(log_target[inside], n_bins, min_size)
    return np.unique(cells, return_inverse=True)[1]


def _cell_means(values: np.ndarray, cells: np.ndarray) -> np.ndarray:
    return (np.bincount(cells, values) / np.maximum(np.bincount(cells), 1))[cells]


def _without_drift(values: np.ndarray, cells: np.ndarray, drift: np.ndarray | None) -> np.ndarray:
    """What is left of values after cell means and, inside the cells, least squares on the columns of ``drift``, [n]."""
    rest = values - _cell_means(values, cells)
    if drift is None or not len(rest):
        return rest
    slopes = np.column_stack([column - _cell_means(column, cells) for column in np.asarray(drift, dtype=float).T])
    return rest - slopes @ np.linalg.lstsq(slopes, rest, rcond=1e-8)[0]


def shuffle_within(
    values: np.ndarray, cells: np.ndarray, n_permutations: int, seed: int, clusters: np.ndarray | None = None, drift: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Values reassigned at random among the rows of a cell.

    With ``drift``, what its columns explain inside the cells stays with its row, and only the rest is reassigned.

    Where a cluster (concept) has several rows they are not exchangeable one by one: fr–zh and zh–fr share their pair
    count. Then the rest keeps its place and size, and the signs of all rows of a cluster are flipped together, which
    keeps the dependence within concepts.

    Args:
        values: [n].
        cells: cell numbers (integers from 0), [n].
        clusters: the concept of each row, [n]; None if all differ.
        drift: [n, k].

    Yields:
        ``n_permutations`` arrays [n].
    """
    values, cells = np.asarray(values, dtype=float), np.asarray(cells)
    random = np.random.default_rng(seed)
    rest = _without_drift(values, cells, drift)
    kept = values - rest
    codes = np.arange(len(values)) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    if codes.max(initial=-1) + 1 < len(values):
        for _ in range(n_permutations):
            yield kept + rest * random.choice((-1.0, 1.0), codes.max() + 1)[codes]
        return
    base = np.argsort(cells, kind="stable")
    moved, kept = (values, 0.0) if drift is None else (rest, kept)  # without drift, cell means need not be taken out and put back
    for _ in range(n_permutations):
        shuffled = np.empty_like(moved)
        shuffled[base] = moved[np.argsort(cells + random.random(len(cells)))]  # random order within each cell
        yield kept + shuffled


def null_aucs(
    scores: np.ndarray,
    labels: np.ndarray,
    cells: np.ndarray,
    n_permutations: int = 1000,
    seed: int = 0,
    clusters: np.ndarray | None = None,
    drift: np.ndarray | None = None,
) -> tuple[np.ndarray, float]:
    """The AUC when scores are reassigned within cells (see :func:`shuffle_within`), and its mean over all ways to do so.

    Without ``drift`` this is the same as shuffling the labels within cells. The AUC is linear in the ranks, so only the
    sum of the positives' ranks is computed for each shuffle.

    Args:
        scores: [n].
        labels: [n].
        cells: cell numbers (integers from 0), [n]; all zero for a plain permutation.
        clusters: the concept of each row, [n]; None if all differ.
        drift: what predicts ranks inside the cells and is to stay with its row, [n, k].

    Returns:
        AUC of each shuffle, [n_permutations], and their expectation; nan where a class is empty.

    Raises:
        ValueError: as :func:`auc`.
    """
    scores, labels = _checked(scores, labels)
    n_pos, n_neg = int(labels.sum()), int((~labels).sum())
    if not n_pos * n_neg:
        return np.full(n_permutations, np.nan), float("nan")
    ranks, cells = rankdata(scores), np.asarray(cells)
    rest = _without_drift(ranks, cells, drift)
    centre = (labels @ (ranks - rest) - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg)
    weights = (labels - _cell_means(labels.astype(float), cells)) / (n_pos * n_neg)
    return centre + np.array([weights @ v for v in shuffle_within(rest, cells, n_permutations, seed, clusters)]), float(centre)


def permutation_within(
    scores: np.ndarray,
    labels: np.ndarray,
    cells: np.ndarray,
    n_permutations: int = 1000,
    alternative: str = "greater",
    seed: int = 0,
    clusters: np.ndarray | None = None,
    drift: np.ndarray | None = None,
) -> tuple[float, float]:
    """Permutation p-value of the AUC when labels are shuffled within cells; arguments as :func:`null_aucs`.

    Args:
        alternative: `greater` (positives score higher) or `two-sided` (distance from the mean of the shuffles).

    Returns:
        (1 + number of shuffles at least as extreme) / (1 + n_permutations), nan where a class is empty; and the mean of the shuffles.

    Raises:
        ValueError: if the alternative is unknown, and as :func:`auc`.
    """
    if alternative not in ("greater", "two-sided"):
        raise ValueError(f"alternative is {alternative!r}; known: 'greater', 'two-sided'")
    null, centre = null_aucs(scores, labels, cells, n_permutations, seed, clusters, drift)
    observed = auc(scores, labels) - centre
    if np.isnan(observed):
        return float("nan"), float("nan")
    null, observed = (null - centre, observed) if alternative == "greater" else (abs(null - centre), abs(observed))
    return float((1 + (null >= observed - 1e-9).sum()) / (1 + n_permutations)), float(centre)


def cohen_kappa(a: np.ndarray, b: np.ndarray, clusters: np.ndarray, n_resamples: int = 2000, level: float = 0.95, seed: int = 0) -> tuple[float, float, float]:
    """Cohen's kappa of two labellings with its bootstrap interval; clusters are resampled.

    Args:
        a: labels, [n].
        b: labels, [n].
        clusters: the concept of each row, [n].

    Returns:
        (kappa, low, high); nan where both give one and the same label to everything.

    Raises:
        ValueError: if there are no labels or the lengths differ.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or not len(a):
        raise ValueError(f"{len(a)} and {len(b)} labels: two labellings of the same items are needed")
    names, codes = np.unique(np.concatenate([a, b]), return_inverse=True)
    k = len(names)
    table = np.eye(k * k)[codes[: len(a)] * k + codes[len(a) :]]

    def statistic(weights: np.ndarray) -> np.ndarray:
        shares = (weights @ table).reshape(-1, k, k) / weights.sum(1)[:, None, None]
        observed = np.trace(shares, axis1=1, axis2=2)
        expected = (shares.sum(1) * shares.sum(2)).sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return (observed - expected) / (1 - expected)

    estimate = float(statistic(np.ones((1, len(a))))[0])
    return estimate, *_percentiles(_resampled(statistic, clusters, n_resamples, seed), level)


def share_interval(flags: np.ndarray, clusters: np.ndarray, n_resamples: int = 2000, level: float = 0.95, seed: int = 0) -> tuple[float, float, float]:
    """Share of items with a flag, with its bootstrap interval; clusters are resampled.

    Args:
        flags: [n].
        clusters: the concept of each item, [n].

    Returns:
        (share, low, high); nan without items.
    """
    flags = np.asarray(flags, dtype=float)
    if not len(flags):
        return (float("nan"),) * 3
    draws = _resampled(lambda weights: (weights @ flags) / weights.sum(1), np.asarray(clusters), n_resamples, seed)
    return float(flags.mean()), *_percentiles(draws, level)


def _weighted_ranks(values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Mid-ranks as a function of row weights, [b, n] → [b, n]: what ranking the resample itself would give."""
    order, starts, run = _tie_groups(values)

    def ranks(weights: np.ndarray) -> np.ndarray:
        counts = np.add.reduceat(weights[:, order], starts, axis=1)
        result = np.empty(weights.shape)
        result[:, order] = (counts.cumsum(1) - counts / 2 + 0.5)[:, run]
        return result

    return ranks


def _partial(columns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Correlation of the first two columns given the others; [b, k, n] and [b, n] → [b]."""
    total = weights.sum(1)[:, None, None]
    centred = columns - (columns * weights[:, None]).sum(2, keepdims=True) / total
    cov = (centred * weights[:, None]) @ centred.transpose(0, 2, 1) / total
    raw = cov[:, [0, 1], [0, 1]]
    if cov.shape[1] > 2:  # Schur complement: what is left of x and y after regression on the covariates
        cov = cov[:, :2, :2] - cov[:, :2, 2:] @ np.linalg.pinv(cov[:, 2:, 2:], rcond=1e-10, hermitian=True) @ cov[:, 2:, :2]
    left = np.where(cov[:, [0, 1], [0, 1]] > 1e-10 * raw, cov[:, [0, 1], [0, 1]], np.nan)
    return np.clip(cov[:, 0, 1] / np.sqrt(left[:, 0] * left[:, 1]), -1, 1)


def _correlation(columns: list[np.ndarray], clusters: np.ndarray, ranked: bool, n_resamples: int, level: float, seed: int) -> tuple[float, float, float, float]:
    columns = [np.asarray(c, dtype=float) for c in columns]
    if len({len(c) for c in columns} | {len(clusters)}) > 1 or not all(np.isfinite(c).all() for c in columns):
        raise ValueError(f"columns of {[len(c) for c in columns]} rows and {len(clusters)} clusters: lengths differ or a value is not finite")
    if len(columns[0]) < len(columns) + 2:
        return (float("nan"),) * 4
    ranks = [_weighted_ranks(c) for c in columns]

    def statistic(weights: np.ndarray) -> np.ndarray:
        rows = [r(weights) if ranked else np.broadcast_to(c, weights.shape) for r, c in zip(ranks, columns)]
        return _partial(np.stack(rows, axis=1), weights)

    estimate = float(statistic(np.ones((1, len(columns[0]))))[0])
    draws = _resampled(statistic, clusters, n_resamples, seed)
    if not np.isfinite(estimate) or len(draws) < 2:
        return estimate, *(float("nan"),) * 3
    z = np.arctanh(np.clip([estimate, *draws], -1 + 1e-12, 1 - 1e-12))  # Fisher's z, near normal where r is not
    spread = z[1:].std(ddof=1)
    p = float(2 * distributions.norm.sf(abs(z[0]) / spread)) if spread > 0 else float("nan")
    return estimate, *_percentiles(draws, level), p


def partial_spearman(
    x: np.ndarray, y: np.ndarray, covariates: np.ndarray, clusters: np.ndarray, n_resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[float, float, float, float]:
    """Spearman correlation of x and y given covariates: ranks, residuals on the ranked covariates, Pearson.

    Args:
        x: [n].
        y: [n].
        covariates: [n, k]; k = 0 gives the plain Spearman correlation.
        clusters: the concept of each row, [n]; concepts are resampled, and every resample is ranked anew.

    Returns:
        (rho, low, high, p): p is two-sided, from Fisher's z over its bootstrap standard error. nan where x or y is
        constant or wholly given by the covariates, or there are too few rows.

    Raises:
        ValueError: if lengths differ or a value is not finite.
    """
    return _correlation([x, y, *np.asarray(covariates, dtype=float).reshape(len(x), -1).T], clusters, True, n_resamples, level, seed)


def pearson(
    x: np.ndarray, y: np.ndarray, clusters: np.ndarray, n_resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[float, float, float, float]:
    """Pearson correlation with interval and p; arguments, result and errors as :func:`partial_spearman`."""
    return _correlation([x, y], clusters, False, n_resamples, level, seed)


def residualise(values: np.ndarray, covariates: np.ndarray) -> np.ndarray:
    """What least squares on covariates and a constant leaves of values, scaled to length one.

    Args:
        values: [..., n].
        covariates: [n, k].

    Returns:
        [..., n]; the dot product of two results is their partial correlation. All zero where nothing is left.
    """
    values = np.asarray(values, dtype=float)
    design = np.column_stack([np.ones(values.shape[-1]), covariates])
    left, singular, _ = np.linalg.svd(design / np.linalg.norm(design, axis=0).clip(1e-300), full_matrices=False)
    basis = left[:, singular > 1e-8 * singular[0]]
    rest = values - (values @ basis) @ basis.T
    size = np.linalg.norm(rest, axis=-1, keepdims=True)
    negligible = size <= 1e-8 * np.linalg.norm(values, axis=-1, keepdims=True)
    return np.where(negligible, 0.0, rest / np.where(negligible, 1.0, size))


def ridge_logistic(x: np.ndarray, y: np.ndarray, penalty: float = 1.0, start: np.ndarray | None = None, n_steps: int = 50) -> np.ndarray:
    """Coefficients of a logistic model with a ridge penalty, by Newton's method (scikit-learn's with C = 1 / penalty).

    Thousands of small fits are needed for one permutation p; this one takes well under a millisecond.

    Args:
        x: standardised predictors, [n, k].
        y: [n], 0 or 1.
        penalty: of squared slopes; the intercept is all but free.
        start: coefficients to start from, [k + 1].

    Returns:
        Intercept and slopes, [k + 1].
    """
    x = np.column_stack([np.ones(len(x)), x])
    ridge = np.full(x.shape[1], float(penalty))
    ridge[0] = 1e-6
    beta = np.zeros(x.shape[1]) if start is None else start

    def loss(beta: np.ndarray) -> float:
        log_odds = x @ beta
        return np.logaddexp(0, log_odds).sum() - y @ log_odds + ridge @ beta**2 / 2

    current = loss(beta)
    for _ in range(n_steps):
        p = expit(x @ beta)
        gradient = x.T @ (y - p) - ridge * beta
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + np.diag(ridge), gradient)
        while (following := loss(beta + step)) > current + 1e-9 and abs(step).max() > 1e-9:
            step = step / 2  # far from the optimum a full Newton step can overshoot
        beta, current = beta + step, following
        if abs(step).max() < 1e-4:  # convergence is quadratic: what is left is about the square of it
            break
    return beta


@functools.lru_cache(maxsize=64)
def _signs(n: int, n_permutations: int, seed: int) -> np.ndarray:
    """Random signs, [permutations, n]; the same for all tests of as many differences, which are then paired too."""
    return np.random.default_rng(seed).integers(0, 2, (n_permutations, n)).astype(np.float32) * 2 - 1


def sign_flip(differences: np.ndarray, n_permutations: int, seed: int) -> float:
    """Two-sided p-value of a mean difference when each difference may as well have the other sign; nan without any."""
    differences = np.asarray(differences, dtype=np.float32)
    if not len(differences):
        return float("nan")
    sums = np.abs(_signs(len(differences), n_permutations, seed) @ differences)
    return float((1 + (sums >= abs(differences.sum()) * (1 - 1e-5)).sum()) / (1 + n_permutations))


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values of one family; nan (a test that could not be made) stays nan and does not count, [m]."""
    p = np.asarray(p, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1.0)
    return adjusted
