"""Statistics: bootstrap intervals over concepts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["bootstrap_interval", "mean_intervals"]


def bootstrap_interval(
    values: np.ndarray,
    statistic: Callable[..., np.ndarray] = np.mean,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float, float]:
    """A statistic with its percentile bootstrap interval; rows (concepts) are the unit that is resampled.

    Args:
        values: one value a concept, [n] or [n, k].
        statistic: called as ``statistic(resamples, axis=1)`` on [n_resamples, n(, k)].
        n_resamples: bootstrap resamples.
        level: coverage of the interval.
        seed: seed of the resampling.

    Returns:
        (estimate, low, high); the interval is (nan, nan) for fewer than two concepts.

    Raises:
        ValueError: if there are no values, or one is not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if not len(values):
        raise ValueError("no values to summarise")
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} of {values.size} values are not finite")
    estimate = float(statistic(values[None], axis=1)[0])
    if len(values) < 2:
        return estimate, float("nan"), float("nan")
    draws = np.random.default_rng(seed).integers(len(values), size=(n_resamples, len(values)))
    low, high = np.quantile(statistic(values[draws], axis=1), [(1 - level) / 2, (1 + level) / 2])
    return estimate, float(low), float(high)


def mean_intervals(values: np.ndarray, n_resamples: int = 2000, seed: int = 0, level: float = 0.95) -> np.ndarray:
    """Means over concepts with percentile bootstrap intervals.

    Args:
        values: [concepts, k]; nan where a concept has no value.

    Returns:
        [k, 3]: mean, low, high; the interval is nan for fewer than two concepts.
    """
    values = np.asarray(values, dtype=np.float64)
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = filled.sum(0) / known.sum(0)
        if len(values) < 2:
            return np.stack([means, np.full_like(means, np.nan), np.full_like(means, np.nan)], 1)
        weights = np.random.default_rng(seed).multinomial(len(values), np.full(len(values), 1 / len(values)), size=n_resamples).astype(np.float64)
        resampled = (weights @ filled) / (weights @ known)
    low, high = np.full((2, values.shape[1]), np.nan)
    some = known.any(0)
    low[some], high[some] = np.nanquantile(resampled[:, some], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.stack([means, low, high], 1)
