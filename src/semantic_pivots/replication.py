"""What the paper and its released code measure, beside what we do: correlation of ability and counts, and the AUC.

He et al. 2025, §4, give Pearson's r of log n_both with the Score, and the AUC of log n_both for the two behaviors.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from . import association
from .attribution import (
    ITEM,
    PAIR,
    TOKENS,
    class_note,
    frequency_cells,
    frequency_drift,
    groups,
    labelled,
    require_unique,
    with_counts,
    with_covariates,
    with_holm,
)

__all__ = ["correlation", "released_auc", "replication_table"]

MEASURES = [
    ("pearson", "score", ()),  # the paper's
    ("spearman", "score", ()),
    ("spearman", "p_target", ()),
    ("spearman", "p_target", ("log_source", "log_target")),
    ("spearman", "p_target", ("log_source", "log_target", *TOKENS)),
]


def correlation(
    scores: pd.DataFrame, counts: pd.DataFrame, covariates: pd.DataFrame | None = None, n_resamples: int = 2000, n_permutations: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Correlation of log_both with Score and P(y|w), by pair: as the paper takes it, and given word frequency.

    The null permutes log_both (or its ranks) within frequency cells, so its mean is what word frequency alone gives.

    Args:
        scores: the artifact ``scores``: model, source_lang, target_lang, concept_id, score, p_target (a rank correlation
            with it is one with its log), and token counts unless in ``covariates``.

    Returns:
        model, corpus, source_lang, target_lang, n, statistic (`pearson`, `spearman`), outcome (`score`, `p_target`),
        given (what is partialled out), value, ci_low, ci_high, p (two-sided, from the bootstrap), null_mean, null_low,
        null_high (95 % of the shuffles), p_perm (one-sided), p_holm (of p_perm, over pairs).
    """
    require_unique(scores, ["model", *ITEM], "scores", ["score", "p_target"])
    columns = [c for c in ("model", *ITEM, "score", "p_target", *TOKENS) if c in scores]
    table = with_covariates(with_counts(scores[columns], counts), covariates)
    result = []
    for key, rows in table[~table.identical].groupby(["model", "corpus", *PAIR], sort=False):
        head = dict(zip(("model", "corpus", *PAIR), key)) | {"n": len(rows)}
        x, cells, drift = rows.log_both.to_numpy(), frequency_cells(rows), frequency_drift(rows)
        for statistic, outcome, given in MEASURES:
            given = [c for c in given if c in rows]
            y, z = rows[outcome].to_numpy(float), rows[given].to_numpy(float)
            settings = {"clusters": rows.concept_id.to_numpy(), "n_resamples": n_resamples, "seed": seed}
            values = association.pearson(x, y, **settings) if statistic == "pearson" else association.partial_spearman(x, y, z, **settings)
            ranks = rankdata if statistic == "spearman" else (lambda v, axis: v)
            shuffled = np.array(list(association.shuffle_within(ranks(x, axis=0), cells, n_permutations, seed, drift=drift)))
            null = association.residualise(shuffled, ranks(z, axis=0)) @ association.residualise(ranks(y, axis=0), ranks(z, axis=0))
            row = {"statistic": statistic, "outcome": outcome, "given": "+".join(given)} | dict(zip(("value", "ci_low", "ci_high", "p"), values))
            row |= _null_columns(null) | {"p_perm": (1 + (null >= values[0] - 1e-9).sum()) / (1 + n_permutations) if np.isfinite(values[0]) else np.nan}
            result.append(head | row)
    return with_holm(pd.DataFrame(result), ["model", "corpus", "statistic", "outcome", "given"])


def _null_columns(null: np.ndarray) -> dict[str, float]:
    return dict(zip(("null_mean", "null_low", "null_high"), map(float, (null.mean(), *np.quantile(null, [0.025, 0.975])))))


def released_auc(counts: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The AUC of log count as the released scripts take it.

    There log(0) is set to 0, so that counts of 0 and 1 are one value; and the ROC curve steps item by item, so that
    equal values are ordered as they stand in the input.

    Args:
        counts: documents, [n].
        labels: true for co-occurrence behavior, [n].

    Returns:
        The AUC in the `given` order of the input, and in the `worst` and `best` order of equal values; nan where a
        class is empty.
    """
    labels, scores = np.asarray(labels, dtype=bool), _released_scores(counts)
    ties = {"given": np.arange(len(labels)), "worst": labels, "best": ~labels}
    areas = {}
    for name, key in ties.items():
        steps = labels[np.lexsort((key, -scores))]
        areas[name] = float(steps.cumsum()[~steps].sum() / (steps.sum() * (~steps).sum())) if steps.any() and not steps.all() else float("nan")
    return areas


def _released_scores(counts: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(np.asarray(counts, dtype=float), 1))


def replication_table(
    behaviors: pd.DataFrame, counts: pd.DataFrame, covariates: pd.DataFrame | None = None, n_resamples: int = 2000, n_permutations: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """The released scripts' AUC beside the corrected one, for the pair count and for the target word's count.

    The text of He et al. 2025, §4, names the pair count; the predictor active in the newest commit of their scripts is
    the target's. Arguments as :func:`attribute`; the given order is that of ``behaviors``.

    Returns:
        The first ten columns of :func:`attribute`, predictor (`n_both`, `n_target`), n_zero, n_one (items with a count
        of 0 and 1), auc_released, auc_worst, auc_best, auc (half-ties), ci_low, ci_high, null_mean, null_low, null_high
        (auc_released with labels shuffled within pairs, mean and 95 %), note.
    """
    result = []
    for head, rows in groups(labelled(behaviors, counts, covariates)):
        concepts, pairs = rows.concept_id.to_numpy(), rows.groupby(PAIR, sort=False).ngroup().to_numpy()
        for name in ("n_both", "n_target"):
            n, y = rows[name].to_numpy(float), rows.positive.to_numpy(bool)
            strict = np.empty(len(n))
            strict[np.argsort(-_released_scores(n), kind="stable")] = -np.arange(len(n))  # the order in which the curve steps
            null, _ = association.null_aucs(strict, y, pairs, n_permutations, seed, concepts)
            areas = dict(zip(("auc_released", "auc_worst", "auc_best"), released_auc(n, y).values()))
            interval = dict(zip(("auc", "ci_low", "ci_high"), association.auc_interval(np.log1p(n), y, concepts, n_resamples=n_resamples, seed=seed)))
            row = {"predictor": name, "n_zero": int((n == 0).sum()), "n_one": int((n == 1).sum())} | areas | interval
            result.append(head | row | _null_columns(null) | {"note": class_note(head, n)})
    return pd.DataFrame(result)
