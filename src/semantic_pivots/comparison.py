"""Arms compared: differences over concepts and seeds, what was fixed before the runs, and the smallest effect the design could see.

Every arm is scored on the same concepts, and seed *s* gives the documents of every arm their order in the same way. So for two arms there is a matrix of
differences, [concept × seed]. Two intervals are given:

- the *paired bootstrap* resamples concepts, seeds averaged. It says what other words would have shown with these very runs;
- the *mixed model* has random effects of concept and of seed, crossed (:func:`mixed_difference`). It says what other words and other runs would
  have shown. A run's chance is its order of documents and, for arms that are drawn, its draw. With three seeds one contrast knows little of the
  variance of runs, and taking it as zero where it seems so makes small p-values too frequent; so it is estimated from all arms at once
  (:func:`run_square`), as if it were the same in all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import optimize
from scipy import stats as distributions

from .association import holm
from .stats import bootstrap_interval, mean_intervals

__all__ = [
    "CONFIRMATORY",
    "PRIMARY_OUTCOME",
    "PRIMARY_SPLIT",
    "OUTCOMES",
    "outcome_table",
    "outcome_by_concept",
    "run_square",
    "mixed_difference",
    "detectable",
    "contrasts",
]
__all__ += ["differences", "transfer_table", "contrast_pairs", "matched_name"]

# Fixed before any pivot arm was trained (notebook 05): these contrasts, this outcome, these words; Holm over the contrasts.
CONFIRMATORY = (("pivot_npmi", "matched"), ("pivot_paper", "matched_paper"), ("pivot_npmi", "bilingual"), ("pivot_paper", "bilingual"))
PRIMARY_OUTCOME, PRIMARY_SPLIT = "log_ratio", "heldout"
OUTCOMES = ("log_ratio", "score", "mrr", "top1", "sentence_gain", "chrf")
BASE = "none"


def outcome_table(scores: pd.DataFrame, counts: pd.DataFrame, gains: pd.DataFrame | None = None, translations: pd.DataFrame | None = None) -> pd.DataFrame:
    """All outcomes of all runs, one row a concept or sentence and direction.

    Args:
        scores: rows of ``evaluation.score_words`` with arm, seed, tokens.
        counts: concept_id, first, second, n_both: documents of the whole corpus in which two words meet, in any form.
        gains: of ``evaluation.sentence_gains``, the same.
        translations: of ``evaluation.TranslationTask``, the same.

    Returns:
        arm, seed, tokens, split, source_lang, target_lang, concept_id and the outcomes, null where there is none. Beside the splits of the scores there is `never`, the
        `heldout` items whose two words meet in no document at all, and `parallel`, where a concept is a sentence.
    """
    scores = scores.assign(mrr=1 / scores["rank"], top1=(scores["rank"] == 1).astype(float))
    never = counts[counts.n_both == 0]
    known = set(zip(never.concept_id, never["first"], never.second)) | set(zip(never.concept_id, never.second, never["first"]))
    held = scores[scores.split == "heldout"]
    apart = np.array([key in known for key in zip(held.concept_id, held.source_lang, held.target_lang)], bool)
    parts = [scores, held[apart].assign(split="never")]
    if gains is not None:
        parts.append(gains.rename(columns={"sentence_id": "concept_id", "gain": "sentence_gain"}).assign(split="parallel"))
    if translations is not None and len(translations):
        parts.append(translations.rename(columns={"sentence_id": "concept_id"}).assign(split="parallel"))
    columns = ["arm", "seed", "tokens", "split", "source_lang", "target_lang", "concept_id", *OUTCOMES]
    return pd.concat(parts, ignore_index=True).reindex(columns=columns)


def outcome_by_concept(outcomes: pd.DataFrame, split: str, outcome: str) -> pd.DataFrame:
    """An outcome averaged over directions: rows are concepts, columns (arm, seed)."""
    part = outcomes[(outcomes.split == split) & outcomes[outcome].notna()]
    return part.pivot_table(index="concept_id", columns=["arm", "seed"], values=outcome, aggfunc="mean", sort=True)


def differences(wide: pd.DataFrame, arm: str, reference: str) -> np.ndarray:
    """Differences of two arms, [concept × seed]; the base, which has no seeds, stands against every seed.

    Raises:
        ValueError: if an arm is not there, or the two have no seed in common.
    """
    for name in (arm, reference):
        if name not in wide.columns.get_level_values(0):
            raise ValueError(f"there is no arm {name!r}; there are {', '.join(dict.fromkeys(wide.columns.get_level_values(0)))}")
    a, b = wide[arm], wide[reference]
    if reference == BASE:
        b = pd.DataFrame(np.repeat(b.to_numpy()[:, :1], a.shape[1], axis=1), a.index, a.columns)
    seeds = [s for s in a.columns if s in b.columns]
    if not seeds:
        raise ValueError(f"{arm} and {reference} have no seed in common")
    return (a[seeds] - b[seeds]).dropna().to_numpy()


def run_square(wide: pd.DataFrame, against_base: bool = False) -> tuple[float, int] | None:
    """The mean square of runs for a difference of two arms, pooled over all trained arms with the same seeds.

    For a difference of arms it is twice the mean square of arm × seed (a seed's effect on all arms alike cancels); for a difference to the base, which
    has one run, that of seeds within arms.

    Args:
        wide: of :func:`outcome_by_concept`.

    Returns:
        The mean square, on the scale of ``mixed_difference``'s, and its degrees of freedom; None for fewer than two arms or two seeds.
    """
    trained = [a for a in dict.fromkeys(wide.columns.get_level_values(0)) if a != BASE]
    seeds = {tuple(wide[a].columns) for a in trained}
    if len(seeds) != 1 or len(trained) < 2 or (k := len(next(iter(seeds)))) < 2:
        return None
    known = wide[trained].dropna()
    means = known.mean().to_numpy().reshape(len(trained), k)  # [arm × seed]
    rest = means - means.mean(1, keepdims=True)
    if against_base:
        return len(known) * np.square(rest).sum() / (freedom := len(trained) * (k - 1)), freedom
    return 2 * len(known) * np.square(rest - rest.mean(0)).sum() / (freedom := (len(trained) - 1) * (k - 1)), freedom


def mixed_difference(values: np.ndarray, level: float = 0.95, runs: tuple[float, int] | None = None) -> dict[str, float]:
    """Mean of differences with crossed random effects of concept (rows) and seed (columns).

    d_cs = δ + u_c + v_s + e_cs. For a full table the variance of the mean is (MS_concept + MS_seed − MS_error) / (C·S), from the mean squares of the
    two-way table; the same as REML where both variances are positive. A negative component is set to zero. Degrees of freedom are Satterthwaite's.

    Args:
        values: [concept × seed].
        runs: mean square of seeds and its degrees of freedom (:func:`run_square`); without, those of ``values``.

    Returns:
        estimate, se, df, low, high, p (two-sided). With one seed the runs' variance is unknown, and the interval is over concepts alone.

    Raises:
        ValueError: for fewer than two concepts.
    """
    values = np.asarray(values, np.float64)
    n, k = values.shape
    if n < 2:
        raise ValueError(f"{n} concepts: at least two are needed")
    mean, rows, columns = values.mean(), values.mean(1), values.mean(0)
    of_concept = k * np.square(rows - mean).sum() / (n - 1)
    parts = [(of_concept, 1.0, n - 1)]
    if k > 1:
        of_seed, freedom = runs or (n * np.square(columns - mean).sum() / (k - 1), k - 1)
        error = np.square(values - rows[:, None] - columns + mean).sum() / ((n - 1) * (k - 1))
        if of_seed > error:
            parts.append((of_seed, 1.0, freedom))
            if of_concept > error:
                parts.append((error, -1.0, (n - 1) * (k - 1)))
            else:
                parts = [(of_seed, 1.0, freedom)]
        elif of_concept <= error:
            parts = [(error, 1.0, (n - 1) * (k - 1))]
    variance = sum(sign * square for square, sign, _ in parts) / (n * k)
    if variance <= 1e-20 * mean**2:  # all values are the same but for rounding
        return {"estimate": mean, "se": 0.0, "df": float(n - 1), "low": mean, "high": mean, "p": float(mean == 0)}
    df = (variance * n * k) ** 2 / sum(square**2 / freedom for square, _, freedom in parts)
    se = float(np.sqrt(variance))
    reach = distributions.t.ppf(0.5 + level / 2, df) * se
    return {"estimate": mean, "se": se, "df": df, "low": mean - reach, "high": mean + reach, "p": 2 * float(distributions.t.sf(abs(mean) / se, df))}


def detectable(se: float, df: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """The smallest true difference that a two-sided t test finds with a given power, from its standard error and degrees of freedom (noncentral t)."""
    if not se > 0:
        return 0.0
    critical = distributions.t.ppf(1 - alpha / 2, df)

    def found(shift: float) -> float:
        # scipy gives nan far out, where the power is 1
        return float(np.nan_to_num(distributions.nct.sf(critical, df, shift), nan=1.0) + np.nan_to_num(distributions.nct.cdf(-critical, df, shift)))

    high = critical + 1
    while found(high) < power:
        high *= 1.2
    return float(optimize.brentq(lambda shift: found(shift) - power, 0, high)) * se


def matched_name(pivot_arm: str) -> str:
    """The arm that is drawn like a pivot arm."""
    return "matched" if pivot_arm == "pivot_npmi" else pivot_arm.replace("pivot_", "matched_")


def contrast_pairs(arms: Sequence[str], exclude: Sequence[tuple[str, str]] = CONFIRMATORY) -> list[tuple[str, str]]:
    """The other comparisons that the arms allow: each pivot arm with its match, what is chosen with what is drawn from all, each with the base."""
    named = [(a, matched_name(a)) for a in arms if a.startswith("pivot_")]
    named += [("pivot_mixed", "bilingual"), ("anti_pivot", "random"), ("pivot_npmi", "anti_pivot"), ("direct", "bilingual"), ("bilingual", "random")]
    named += [(a, "random") for a in ("pivot_npmi", "matched", "pivot_paper", "matched_paper")]
    named += [(a, BASE) for a in arms if a != BASE]
    return [p for p in dict.fromkeys(named) if p not in exclude and set(p) <= set(arms)]


def contrasts(outcomes: pd.DataFrame, n_resamples: int = 2000, seed: int = 0, confirmatory: Sequence[tuple[str, str]] = CONFIRMATORY) -> pd.DataFrame:
    """All contrasts of the arms, for every split and outcome.

    Args:
        outcomes: of :func:`outcome_table`.

    Returns:
        arm, reference, split, outcome, confirmatory, n (concepts), n_seeds, estimate, ci_low and ci_high (bootstrap over concepts), mixed_low and mixed_high, p
        (mixed model), p_holm (over the confirmatory contrasts, for the primary outcome and split), se, df, detectable (with power .8; at .05, for the confirmatory ones at
        Holm's first step).
    """
    arms = list(dict.fromkeys(outcomes.arm))
    fixed = [p for p in confirmatory if set(p) <= set(arms)]
    rows = []
    for split, part in outcomes.groupby("split", sort=False):
        for outcome in part[list(OUTCOMES)].dropna(axis=1, how="all"):
            wide = outcome_by_concept(part, split, outcome)
            squares = {False: run_square(wide), True: run_square(wide, True)}
            for arm, reference in (*fixed, *contrast_pairs(arms, fixed)):
                values = differences(wide, arm, reference)
                if len(values) < 2:
                    continue
                _, low, high = bootstrap_interval(values.mean(1), n_resamples=n_resamples, seed=seed)
                mixed = mixed_difference(values, runs=squares[reference == BASE])
                main = (arm, reference) in fixed and split == PRIMARY_SPLIT and outcome == PRIMARY_OUTCOME
                rows.append(
                    {"arm": arm, "reference": reference, "split": split, "outcome": outcome, "confirmatory": main, "n": len(values)}
                    | {"n_seeds": values.shape[1], "estimate": mixed["estimate"], "ci_low": low, "ci_high": high}
                    | {"mixed_low": mixed["low"], "mixed_high": mixed["high"], "p": mixed["p"], "p_holm": np.nan, "se": mixed["se"], "df": mixed["df"]}
                    | {"detectable": detectable(mixed["se"], mixed["df"], alpha=0.05 / len(fixed) if main else 0.05)}
                )
    table = pd.DataFrame(rows)
    main = table.confirmatory.to_numpy()
    table.loc[main, "p_holm"] = holm(table.p[main].to_numpy())
    return table


def transfer_table(outcomes: pd.DataFrame, losses: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """The table ``transfer``: every arm and seed by metric, direction and split, with bootstrap intervals over concepts or sentences.

    Args:
        outcomes: of :func:`outcome_table`.
        losses: arm, seed, tokens and the validation losses, at the end of each run; the target language is the text's, and there is no interval.
    """
    rows, keys = [], ["arm", "seed", "tokens", "source_lang", "target_lang", "split"]
    for (arm, number, tokens, source, target, split), part in outcomes.groupby(keys, sort=False):
        known = part[list(OUTCOMES)].dropna(axis=1, how="all")
        for metric, n, interval in zip(known, known.count(), mean_intervals(known.to_numpy(float), n_resamples, seed)):
            rows.append((arm, number, tokens, metric, source, target, split, int(n), *interval))
    for row in losses.to_dict("records"):
        for name, value in row.items():
            kind, _, lang = name.partition("_")
            if kind in ("val", "parallel"):
                rows.append((row["arm"], row["seed"], row["tokens"], "loss", "", lang, kind, 1, value, np.nan, np.nan))
    return pd.DataFrame(rows, columns=["arm", "seed", "tokens", "metric", "source_lang", "target_lang", "split", "n", "value", "ci_low", "ci_high"])
