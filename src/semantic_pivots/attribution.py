"""Does the co-occurrence of a word pair predict how the model translates it, beyond the frequency of its two words?

He et al. 2025, §4, take the AUC of log n_both as a classifier of co-occurrence against pivot behavior, and Pearson's r
with the Score. Frequent words co-occur more, and are translated better, whatever the corpus holds of the pair; so both
are set here beside what word frequency alone gives, in three ways: nulls within frequency cells, ΔAUC over a model of
word frequency, and partial correlations. In the artifact ``attribution`` the positive class is `cooccurrence`, the
negative `pivot`. `wrong` and `excluded` items are left out and counted, and so are pairs written alike (`identical`):
a word always co-occurs with itself. Pairs never seen together (n_both = 0) stay in.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from statsmodels.discrete.discrete_model import Logit
from statsmodels.tools.sm_exceptions import PerfectSeparationError

from . import association

__all__ = ["PREDICTORS", "labelled", "frequency_cells", "predictors", "attribute", "delta_auc", "regression", "roc_curve", "roc_curves"]

PAIR = ["source_lang", "target_lang"]
ITEM = [*PAIR, "concept_id"]
COUNTS = ["corpus", *ITEM, "n_source", "n_target", "n_both", "npmi"]
TOKENS = ("n_source_tokens", "n_target_tokens")
PREDICTORS = ("log_both", "npmi", "log_source", "log_target", "unigram", "unigram+both")
# What the permutation test of each predictor holds fixed: pair counts must beat word frequency, word frequency only its pair's base rate.
NULLS = {p: ("frequency cells", "greater") if p in ("log_both", "npmi") else ("pair", "greater" if "unigram" in p else "two-sided") for p in PREDICTORS}
BEHAVIORS = ("cooccurrence", "pivot")  # the positive class and the negative
NULL_NAMES = {False: "scores shuffled", True: "signs of deviations flipped by concept"}  # all directions together have concepts in common
N_FOLDS = 5
FEW = 10  # items of a class below which a row carries a warning
ONE_CLASS, NO_CLASS = "one class only: AUC undefined", "no item of either behavior: AUC undefined"


def require_unique(table: pd.DataFrame, keys: list[str], name: str, others: list[str] | None = None) -> None:
    if missing := [k for k in [*keys, *(others or [])] if k not in table]:
        raise ValueError(f"{name}: no column {', '.join(missing)}")
    if twice := int(table.duplicated(keys).sum()):
        raise ValueError(f"{name}: {twice} rows repeat {' × '.join(keys)}; choose one lens, prompt set and model run")


def with_counts(items: pd.DataFrame, counts: pd.DataFrame) -> pd.DataFrame:
    """Items once for each corpus, with counts and their logs; the order of the items is kept.

    log1p keeps 0 and 1 apart. NPMI is null where n_both = 0 and gets −1, its limit for n_both → 0 and the lowest rank.
    """
    require_unique(counts, ["corpus", *ITEM], "cooccurrence", COUNTS)
    counts = counts.reindex(columns=[*COUNTS, "identical"])
    parts = [items.merge(one, on=ITEM, how="left") for _, one in counts.groupby("corpus", sort=False)]
    table = pd.concat(parts, ignore_index=True)
    if lost := int(table.n_both.isna().sum()):
        raise ValueError(f"cooccurrence: no counts for {lost} of {len(table)} items, the first {table[table.n_both.isna()][ITEM].iloc[0].tolist()}")
    logs = {f"log_{k}": np.log1p(table[f"n_{k}"].astype(float)) for k in ("both", "source", "target")}
    return table.assign(**logs, npmi=table.npmi.astype(float).fillna(-1.0), identical=table.identical.eq(True))


def with_covariates(items: pd.DataFrame, covariates: pd.DataFrame | None) -> pd.DataFrame:
    """Items with pos and token counts, from a table keyed by concept_id and any of model, source_lang and target_lang."""
    if covariates is None:
        return items
    keys = [k for k in ("model", *ITEM) if k in covariates]
    named = [c for c in ("pos", *TOKENS) if c in covariates]
    require_unique(covariates, keys, "covariates")
    table = items.drop(columns=named, errors="ignore").merge(covariates[[*keys, *named]], on=keys, how="left")
    if table[named].isna().any(axis=None):
        raise ValueError(f"covariates: {int(table[named].isna().any(axis=1).sum())} of {len(table)} items lack one of {', '.join(named)}")
    return table


def labelled(behaviors: pd.DataFrame, counts: pd.DataFrame, covariates: pd.DataFrame | None = None) -> pd.DataFrame:
    """Every labelled item with its counts and covariates; `used` marks those with one of the two behaviors.

    Args:
        behaviors: model, source_lang, target_lang, concept_id, rule, label.
        counts: the artifact ``cooccurrence``, of one or more corpora.
        covariates: concept_id, any of model, source_lang, target_lang, and any of pos, n_source_tokens, n_target_tokens.

    Returns:
        One row a corpus × row of ``behaviors``, in their order.

    Raises:
        ValueError: if items repeat, or counts or covariates of an item are missing.
    """
    require_unique(behaviors, ["model", *ITEM, "rule"], "behaviors", ["label"])
    table = with_covariates(with_counts(behaviors[["model", *ITEM, "rule", "label"]], counts), covariates)
    return table.assign(positive=table.label == BEHAVIORS[0], used=table.label.isin(BEHAVIORS) & ~table.identical)


def groups(table: pd.DataFrame) -> Iterator[tuple[dict, pd.DataFrame]]:
    """The used rows of each model × corpus × rule × pair and of all pairs together, with the first columns of their result."""
    for (model, corpus, rule), whole in table.groupby(["model", "corpus", "rule"], sort=False):
        for (source, target), rows in [*whole.groupby(PAIR, sort=False), (("all", "all"), whole)]:
            used = rows[rows.used].reset_index(drop=True)
            n_pos = int(used.positive.sum())
            head = {"model": model, "corpus": corpus, "source_lang": source, "target_lang": target, "rule": rule, "n_pos": n_pos, "n_neg": len(used) - n_pos}
            left_out = {f"n_{k}": int((rows.label == k).sum()) for k in ("wrong", "excluded")}
            yield head | left_out | {"n_identical": int((rows.identical & rows.label.isin(BEHAVIORS)).sum())}, used


def class_note(head: dict, scores: np.ndarray) -> str:
    least = min(head["n_pos"], head["n_neg"])
    if not least:
        return ONE_CLASS if max(head["n_pos"], head["n_neg"]) else NO_CLASS
    if np.isnan(scores).any():
        return "one class in a single concept: no cross-validation"
    return f"fewer than {FEW} items of one class" if least < FEW else ""


def with_holm(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Holm over the pairs of each group; the row of all pairs is a family of its own."""
    if not len(table):
        return table
    whole = table.source_lang == "all"
    return table.assign(p_holm=table.p_perm.astype(float).where(whole, table[~whole].groupby(by, sort=False).p_perm.transform(association.holm)))


def frequency_cells(rows: pd.DataFrame) -> np.ndarray:
    """Cells of items of one pair with words of like frequency (:func:`association.frequency_cells` within each pair), [n]."""
    cells = np.zeros(len(rows), dtype=int)
    for index in rows.groupby(PAIR, sort=False).indices.values():
        part = rows.iloc[index]
        cells[index] = cells.max() + 1 + association.frequency_cells(part.log_source, part.log_target)
    return np.unique(cells, return_inverse=True)[1]


def frequency_drift(rows: pd.DataFrame) -> np.ndarray:
    """What may still move a count inside a frequency cell: both frequencies and the lower one, with slopes of each pair, [n, 3 · pairs]."""
    columns = np.column_stack([rows.log_source, rows.log_target, np.minimum(rows.log_source, rows.log_target)]).astype(float)
    pairs = rows.groupby(PAIR, sort=False).ngroup().to_numpy()
    return np.concatenate([columns * (pairs == k)[:, None] for k in np.unique(pairs)], axis=1) if len(rows) else columns


def _standard(x: np.ndarray) -> np.ndarray:
    spread = x.std(0)
    return (x - x.mean(0)) / np.where(spread > 1e-12, spread, 1)


def design(rows: pd.DataFrame, terms: Sequence[str] = ()) -> pd.DataFrame:
    """Standardised predictors, frequencies and token counts, indicators of part of speech and, with several pairs, of the pair.

    Args:
        rows: of :func:`labelled`, or items with such columns.
        terms: columns of predictors, which come first. A column without variance is left out.
    """
    numeric = rows[[c for c in (*terms, "log_source", "log_target", *TOKENS) if c in rows]].astype(float)
    factors = {"pair": rows.source_lang + "-" + rows.target_lang} | ({"pos": rows.pos.astype(str)} if "pos" in rows else {})
    dummies = [pd.get_dummies(values, prefix=name, drop_first=True, dtype=float) for name, values in factors.items()]
    table = pd.concat([(numeric - numeric.mean()) / numeric.std(ddof=0), *dummies], axis=1)
    return table.loc[:, numeric.nunique().gt(1).reindex(table.columns, fill_value=True)]


def _folds(rows: pd.DataFrame, seed: int) -> np.ndarray | None:
    """Folds that keep a concept together and spread both classes, [n]; None where one class is in a single concept."""
    share = rows.positive.astype(float).groupby(rows.concept_id).mean()
    n_folds = min(N_FOLDS, int((share > 0).sum()), int((share < 1).sum()))
    if n_folds < 2:
        return None
    dealt = share.sample(frac=1, random_state=seed).sort_values(kind="stable").index
    return rows.concept_id.map(dict(zip(dealt, np.arange(len(dealt)) % n_folds))).to_numpy()


def _out_of_fold(x: np.ndarray, rows: pd.DataFrame, folds: np.ndarray, starts: dict[int, np.ndarray]) -> np.ndarray:
    """Log-odds of each row from a model that saw no row of its concept, [n]; ``starts`` keeps the first fit of each fold."""
    y, scores = rows.positive.to_numpy(float), np.empty(len(rows))
    for fold in range(folds.max() + 1):
        test = folds == fold
        beta = association.ridge_logistic(x[~test], y[~test], start=starts.get(fold))
        # without the fold's intercept: it mirrors the base rate of the other folds, and would order the folds the wrong way round
        scores[test] = x[test] @ beta[1:]
        starts.setdefault(fold, beta)
    return scores


def predictors(rows: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The scores of every predictor for the used rows of one group.

    `unigram` is a ridge-logistic model of log_source, log_target, token counts, part of speech and, with several pairs,
    the pair; `unigram+both` has log_both too. Both are predicted out of fold, a concept's rows in one fold, so
    that their AUC is not that of a model on its own training items.

    Returns:
        Columns PREDICTORS, [n]; the two models are nan where they cannot be cross-validated.
    """
    table = rows[["log_both", "npmi", "log_source", "log_target"]].astype(float)
    folds = _folds(rows, seed)
    if folds is None:
        return table.assign(**{"unigram": np.nan, "unigram+both": np.nan})
    x = design(rows).to_numpy()
    both = np.column_stack([x, _standard(rows.log_both.to_numpy())])
    return table.assign(**{"unigram": _out_of_fold(x, rows, folds, {}), "unigram+both": _out_of_fold(both, rows, folds, {})})


def attribute(
    behaviors: pd.DataFrame, counts: pd.DataFrame, covariates: pd.DataFrame | None = None, n_resamples: int = 2000, n_permutations: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """AUC of every predictor of the behavior (table ``attribution``; He et al. 2025, §4), by pair and over all pairs.

    Intervals resample concepts; for the two models they hold for the models as fitted. Labels are shuffled within
    frequency cells for the pair counts (log_both, npmi; what frequency explains inside a cell is taken out), within
    pairs for the others; `null` says which. Over all pairs (`all`) counts are compared across pairs as they are, and the
    test flips whole concepts (:func:`association.shuffle_within`).

    Args:
        behaviors: see :func:`labelled`, as the other two tables.

    Returns:
        model, corpus, source_lang, target_lang (or `all`), rule, n_pos, n_neg, n_wrong, n_excluded, n_identical,
        predictor, auc, ci_low, ci_high, p_perm, null_mean (AUC that the shuffles have on average), p_holm (over the pairs of
        model × corpus × rule × predictor), null, note.

    Raises:
        ValueError: as :func:`labelled`.
    """
    result = []
    for head, rows in groups(labelled(behaviors, counts, covariates)):
        scores, concepts = predictors(rows, seed), rows.concept_id.to_numpy()
        nulls = {"frequency cells": (frequency_cells(rows), frequency_drift(rows)), "pair": (rows.groupby(PAIR, sort=False).ngroup().to_numpy(), None)}
        for name in PREDICTORS:
            null, alternative = NULLS[name]
            values, note = scores[name].to_numpy(), class_note(head, scores[name])
            if np.isnan(values).any() or note in (ONE_CLASS, NO_CLASS):
                estimate, p, centre = (np.nan,) * 3, np.nan, np.nan
            else:
                estimate = association.auc_interval(values, rows.positive, concepts, n_resamples=n_resamples, seed=seed)
                cells, drift = nulls[null]
                p, centre = association.permutation_within(values, rows.positive, cells, n_permutations, alternative, seed, concepts, drift)
            row = dict(zip(("auc", "ci_low", "ci_high"), estimate)) | {
                "p_perm": p,
                "null_mean": centre,
                "null": f"{NULL_NAMES[head['source_lang'] == 'all']} within {null}, {alternative}",
                "note": note,
            }
            result.append(head | {"predictor": name} | row)
    return with_holm(pd.DataFrame(result), ["model", "corpus", "rule", "predictor"])


def delta_auc(
    behaviors: pd.DataFrame, counts: pd.DataFrame, covariates: pd.DataFrame | None = None, n_resamples: int = 2000, n_permutations: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """What the pair count adds to word frequency: AUC of `unigram+both` minus that of `unigram`.

    The interval resamples concepts. For p_perm, log_both is permuted within frequency cells, the model refitted and
    predicted out of fold again: (1 + permutations with at least this ΔAUC) / (1 + all). Arguments as :func:`attribute`.

    Returns:
        The first ten columns of :func:`attribute`, auc_unigram, auc_both, delta, ci_low, ci_high, p_perm, p_holm, note.
    """
    result = []
    for head, rows in groups(labelled(behaviors, counts, covariates)):
        scores, folds, concepts = predictors(rows, seed), _folds(rows, seed), rows.concept_id.to_numpy()
        row = dict.fromkeys(("auc_unigram", "auc_both", "delta", "ci_low", "ci_high", "p_perm"), np.nan) | {"note": class_note(head, scores.unigram)}
        if folds is not None:
            without, full = (association.auc(scores[k], rows.positive) for k in ("unigram", "unigram+both"))
            difference = association.auc_interval(scores["unigram+both"], rows.positive, concepts, scores.unigram, n_resamples, seed=seed)
            x, starts, null = design(rows).to_numpy(), {}, []
            for shuffled in association.shuffle_within(rows.log_both, frequency_cells(rows), n_permutations, seed, concepts, frequency_drift(rows)):
                null.append(association.auc(_out_of_fold(np.column_stack([x, _standard(shuffled)]), rows, folds, starts), rows.positive))
            p = (1 + (np.array(null) >= full - 1e-12).sum()) / (1 + n_permutations)
            row |= dict(zip(row, (without, full, *difference, p)))
        result.append(head | row)
    return with_holm(pd.DataFrame(result), ["model", "corpus", "rule"])


def regression(behaviors: pd.DataFrame, counts: pd.DataFrame, covariates: pd.DataFrame | None = None, level: float = 0.95) -> pd.DataFrame:
    """Logistic model of the behavior over all pairs: odds ratios per standard deviation, errors clustered by concept.

    Predictors: log_both, log_source, log_target, token counts (standardised), part of speech and pair (indicators; the
    pairs' are fitted, not listed). Pairs with one class only tell nothing within the pair and are left out.

    Returns:
        model, corpus, rule, n, n_concepts, term, coefficient (log-odds), odds_ratio, ci_low, ci_high, p, note; values
        are nan where the classes are separated, with a note that says so.
    """
    result = []
    for head, rows in groups(labelled(behaviors, counts, covariates)):
        if head["source_lang"] != "all":
            continue
        mixed = rows.groupby(PAIR).positive.transform("nunique") > 1 if len(rows) else rows.used
        notes = [f"{rows.groupby(PAIR).ngroups - rows[mixed].groupby(PAIR).ngroups} pairs of one class left out"] if not mixed.all() else []
        rows = rows[mixed].reset_index(drop=True)
        base = {k: head[k] for k in ("model", "corpus", "rule")} | {"n": len(rows), "n_concepts": rows.concept_id.nunique()}
        if not len(rows):
            result.append(base | {"term": "log_both", "note": "; ".join([*notes, "no pair with both classes"])})
            continue
        x = pd.concat([pd.Series(_standard(rows.log_both.to_numpy()), name="log_both"), design(rows)], axis=1).assign(intercept=1.0)
        fit, problem = _clustered_logit(x, rows)
        for term in [c for c in x if not c.startswith("pair_") and c != "intercept"]:
            row = dict.fromkeys(("coefficient", "odds_ratio", "ci_low", "ci_high", "p"), np.nan)
            separated = problem or ("separated: no finite odds ratio" if abs(fit.params[term]) > 10 else "")
            if not separated:
                low, high = fit.conf_int(1 - level).loc[term]
                values = (fit.params[term], *np.exp([fit.params[term], low, high]), fit.pvalues[term])
                row = dict(zip(row, map(float, values)))
            result.append(base | {"term": term} | row | {"note": "; ".join([*notes, *([separated] if separated else [])])})
    columns = ["model", "corpus", "rule", "n", "n_concepts", "term", "coefficient", "odds_ratio", "ci_low", "ci_high", "p", "note"]
    return pd.DataFrame(result, columns=columns)


def _clustered_logit(x: pd.DataFrame, rows: pd.DataFrame) -> tuple:
    """The fitted model, and what is wrong with it."""
    y = rows.positive.to_numpy(float)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # separation is told in the note
            fit = Logit(y, x).fit(disp=0, maxiter=200, cov_type="cluster", cov_kwds={"groups": rows.concept_id.factorize()[0]})
            if np.abs(fit.predict() - y).max() < 1e-3:
                return None, "perfect separation: no finite odds ratio"
            return (fit, "") if np.isfinite(fit.bse).all() else (None, "predictors are collinear: no standard errors")
    except (PerfectSeparationError, np.linalg.LinAlgError):
        return None, "perfect separation or collinear predictors: not fitted"


def roc_curve(
    scores: np.ndarray, labels: np.ndarray, clusters: np.ndarray, n_points: int = 101, n_resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """ROC curve on a fixed grid of false-positive rates, with a pointwise bootstrap band; clusters are resampled.

    Equal scores are one slanted step, so that the area is the AUC with half-ties.

    Returns:
        fpr (0…1, ``n_points``), tpr, ci_low, ci_high; nan where a class is empty.

    Raises:
        ValueError: if lengths differ or a score is NaN.
    """
    scores, labels, grid = np.asarray(scores, dtype=float), np.asarray(labels, dtype=bool), np.linspace(0, 1, n_points)
    if len(scores) != len(labels) or np.isnan(scores).any():
        raise ValueError(f"{len(scores)} scores, {int(np.isnan(scores).sum())} of them NaN, for {len(labels)} labels")
    if labels.all() or not labels.any():
        return pd.DataFrame({"fpr": grid, "tpr": np.nan, "ci_low": np.nan, "ci_high": np.nan})
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.r_[scores[order][1:] != scores[order][:-1], True])

    def rates(weights: np.ndarray) -> np.ndarray:
        hits, alarms = (np.r_[0, np.cumsum((weights * of)[order])[ends]] for of in (labels, ~labels))
        return np.interp(grid, alarms / alarms[-1], hits / hits[-1]) if alarms[-1] and hits[-1] else np.full(n_points, np.nan)

    draws = np.array([rates(w) for block in association.cluster_weights(clusters, n_resamples, seed) for w in block])
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return pd.DataFrame({"fpr": grid, "tpr": rates(np.ones(len(labels))), "ci_low": low, "ci_high": high})


def roc_curves(behaviors: pd.DataFrame, counts: pd.DataFrame, covariates: pd.DataFrame | None = None, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """ROC curves over all directions, for log_both and the two models of word frequency; arguments as :func:`attribute`.

    Returns:
        model, corpus, rule, predictor, auc, and the columns of :func:`roc_curve`.
    """
    result = []
    for head, rows in groups(labelled(behaviors, counts, covariates)):
        if head["source_lang"] != "all":
            continue
        scores = predictors(rows, seed)
        for name in ("log_both", "unigram", "unigram+both"):
            values = scores[name].to_numpy()
            if np.isnan(values).any() or not len(values):
                continue
            key = {k: head[k] for k in ("model", "corpus", "rule")} | {"predictor": name, "auc": association.auc(values, rows.positive)}
            result.append(roc_curve(values, rows.positive, rows.concept_id.to_numpy(), n_resamples=n_resamples, seed=seed).assign(**key))
    return pd.concat(result, ignore_index=True) if result else pd.DataFrame(columns=["rule", "predictor", "fpr", "tpr", "ci_low", "ci_high", "auc"])
