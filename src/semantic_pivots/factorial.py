"""The two-by-two analysis of randomised severance: effects of direct co-occurrence, of a pivot path, and their interaction.

The four groups (:mod:`.severance`) are the cells of a factorial: `full` has both ways, `direct_only` and `pivot_only` one each,
`none` neither. Groups were drawn by lot within blocks of four concepts, and the same lot is what the tests repeat: group
labels are permuted within blocks, and no distribution is assumed. Intervals resample blocks, which are what was drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from .association import holm, partial_spearman, sign_flip
from .comparison import detectable
from .severance import GROUPS
from .stats import bootstrap_interval, mean_intervals

__all__ = ["CONTRASTS", "blocked", "group_means", "randomisation_test", "contrasts", "dose_response", "detectable_effect"]

OUTCOMES = ("score", "log_ratio", "reciprocal_rank")
# Weights of full, pivot_only, direct_only, none.
CONTRASTS = {
    "direct": (0.5, -0.5, 0.5, -0.5),
    "pivot": (0.5, 0.5, -0.5, -0.5),
    "interaction": (1.0, -1.0, -1.0, 1.0),
    "pivot_only - none": (0.0, 1.0, 0.0, -1.0),
    "direct_only - none": (0.0, 0.0, 1.0, -1.0),
    "full - pivot_only": (1.0, -1.0, 0.0, 0.0),
    "full - direct_only": (1.0, 0.0, -1.0, 0.0),
}
CHUNK = 1000  # permutations held in memory at a time
COLUMNS = ["triple", "direction", "outcome", "contrast", "estimate", "ci_low", "ci_high", "p", "p_holm", "n"]


def blocked(values: pd.DataFrame, outcome: str) -> np.ndarray:
    """One outcome as a matrix, [block × group], groups in the order of ``GROUPS``.

    Blocks that lack a value are left out whole, or the groups would no longer be alike.

    Args:
        values: block, group and the outcome, one row a concept.

    Raises:
        ValueError: if a group is unknown, or a block has two concepts in one group.
    """
    if unknown := set(values.group) - set(GROUPS):
        raise ValueError(f"unknown group {min(unknown, key=str)!r}; known: {', '.join(GROUPS)}")
    if (twice := values.duplicated(["block", "group"])).any():
        raise ValueError(f"block {values.block[twice].iloc[0]} has two concepts in group {values.group[twice].iloc[0]!r}")
    wide = values.pivot(index="block", columns="group", values=outcome).reindex(columns=list(GROUPS)).to_numpy(dtype=np.float64)
    return wide[np.isfinite(wide).all(axis=1)]


def _joined(outcomes: pd.DataFrame, assignment: pd.DataFrame) -> pd.DataFrame:
    if twice := outcomes.duplicated(["concept_id", "direction"]).sum():
        raise ValueError(f"{twice} rows are a second outcome of one concept in one direction")
    joined = outcomes.merge(assignment[["concept_id", "triple", "block", "group"]], on="concept_id", validate="many_to_one")
    if joined.empty:
        raise ValueError("no concept with an outcome is assigned to a group")
    return joined


def _parts(outcomes: pd.DataFrame, assignment: pd.DataFrame, names: Sequence[str]) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    if missing := [name for name in names if name not in outcomes]:
        raise ValueError(f"there is no outcome {missing[0]!r}; columns: {', '.join(outcomes.columns)}")
    for (triple, direction), part in _joined(outcomes, assignment).groupby(["triple", "direction"], sort=False):
        for name in names:
            yield triple, direction, name, part


def group_means(
    outcomes: pd.DataFrame, assignment: pd.DataFrame, names: Sequence[str] = OUTCOMES, n_resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Means of the four groups with bootstrap intervals over concepts.

    Args:
        outcomes: concept_id, direction (such as `fr-ja`) and the outcomes, one row a concept and direction.
        assignment: of :func:`.severance.assign`.
        names: columns that are outcomes.

    Returns:
        triple, direction, outcome, group, mean, ci_low, ci_high, n.
    """
    rows = []
    for triple, direction, name, part in _parts(outcomes, assignment, names):
        for group in GROUPS:
            own = part.loc[part.group == group, name].dropna().to_numpy()
            interval = bootstrap_interval(own, n_resamples=n_resamples, level=level, seed=seed) if len(own) else (np.nan,) * 3
            rows.append((triple, direction, name, group, *interval, len(own)))
    return pd.DataFrame(rows, columns=["triple", "direction", "outcome", "group", "mean", "ci_low", "ci_high", "n"])


def randomisation_test(values: np.ndarray, weights: np.ndarray, n_permutations: int = 9999, seed: int = 0) -> np.ndarray:
    """Two-sided p-values of contrasts when groups are drawn anew within blocks.

    A contrast of two groups alone (a simple effect) exchanges only these two: under its null the other groups may differ.
    Main effects and the interaction are tested against the null of no effect at all, under which all four are alike.

    Args:
        values: [block × group].
        weights: [contrast × group].

    Returns:
        (b + 1) / (m + 1) for each contrast, with b of the m permutations at least as far from zero; nan without blocks.
    """
    values, weights = np.asarray(values, np.float64), np.atleast_2d(np.asarray(weights, np.float64))
    if not len(values):
        return np.full(len(weights), np.nan)
    observed = np.abs(values.mean(0) @ weights.T)
    generator = np.random.default_rng(seed)
    involved = weights != 0
    extreme = np.zeros(len(weights), np.int64)
    tolerance = 1e-12 * np.abs(values).max(initial=0)
    for start in range(0, n_permutations, CHUNK):
        keys = generator.random((min(CHUNK, n_permutations - start), *values.shape))
        for of in np.unique(involved, axis=0):
            which = (involved == of).all(axis=1)
            order = np.argsort(keys[..., of], axis=-1)
            shuffled = np.take_along_axis(np.broadcast_to(values[:, of], order.shape), order, axis=-1)
            drawn = np.abs(shuffled.mean(1) @ weights[which][:, of].T)
            extreme[which] += (drawn >= observed[which] - tolerance).sum(0)
    return (extreme + 1) / (n_permutations + 1)


def contrasts(
    outcomes: pd.DataFrame,
    assignment: pd.DataFrame,
    names: Sequence[str] = OUTCOMES,
    chance: dict[str, float] | None = None,
    n_permutations: int = 9999,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Main effects, interaction and simple effects, for each triple, direction and outcome.

    Args:
        outcomes: as in :func:`group_means`.
        assignment: of :func:`.severance.assign`.
        names: columns that are outcomes.
        chance: value of an outcome without knowledge (reciprocal rank among ten: 0.2929); adds the contrasts
            `pivot_only - chance` and `none - chance`, tested by flipping signs of the concepts' differences from it.

    Returns:
        triple, direction, outcome, contrast, estimate, ci_low, ci_high, p (randomisation within blocks), p_holm (Holm over the
        outcomes of a triple, direction and contrast) and n (concepts in complete blocks that the contrast weighs).

    Raises:
        ValueError: if an outcome is missing, or a concept has two outcomes in a direction.
    """
    weights = np.array(list(CONTRASTS.values()))
    rows = []
    for triple, direction, name, part in _parts(outcomes, assignment, names):
        values = blocked(part, name)
        p = randomisation_test(values, weights, n_permutations, seed)
        bounds = mean_intervals(values @ weights.T, n_resamples, seed, level)[:, 1:]
        estimates = values.mean(0) @ weights.T if len(values) else np.full(len(weights), np.nan)
        for i, contrast in enumerate(CONTRASTS):
            rows.append((triple, direction, name, contrast, estimates[i], *bounds[i], p[i], np.nan, int(np.count_nonzero(weights[i])) * len(values)))
        for group in ("pivot_only", "none") if chance and name in chance else ():
            above = part.loc[part.group == group, name].dropna().to_numpy() - chance[name]
            interval = bootstrap_interval(above, n_resamples=n_resamples, level=level, seed=seed) if len(above) else (np.nan,) * 3
            rows.append((triple, direction, name, f"{group} - chance", *interval, sign_flip(above, n_permutations, seed), np.nan, len(above)))
    table = pd.DataFrame(rows, columns=COLUMNS)
    table["p_holm"] = table.groupby(["triple", "direction", "contrast"]).p.transform(holm)
    return table


def dose_response(
    outcomes: pd.DataFrame,
    assignment: pd.DataFrame,
    severance: pd.DataFrame,
    names: Sequence[str] = OUTCOMES,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Does an outcome rise with the number of meetings that were left on an uncut edge?

    Spearman correlation of the outcome with log(1 + n_both after the cuts), given the log counts of the edge's words. It is observational, unlike
    the contrasts: concepts were not drawn to have many meetings.

    Args:
        outcomes: as in :func:`group_means`.
        severance: of :func:`.severance.severance_table`.

    Returns:
        As :func:`contrasts`; `contrast` is the edge, followed by `in` and the group or `all`; `estimate` is the correlation. p
        is from Fisher's z over its bootstrap standard error, Holm over the outcomes.
    """
    rows = []
    uncut = severance[~severance.cut]
    for triple, direction, name, part in _parts(outcomes, assignment, names):
        for edge in dict.fromkeys(uncut.edge[uncut.triple == triple]):
            counts = uncut[(uncut.triple == triple) & (uncut.edge == edge)]
            joined = part.dropna(subset=[name]).merge(counts[["concept_id", "n_both_after", "n_first_after", "n_second_after"]], on="concept_id")
            for label, own in (("all", joined), *((g, joined[joined.group == g]) for g in GROUPS if (joined.group == g).any())):
                covariates = np.log1p(own[["n_first_after", "n_second_after"]].to_numpy())
                x = np.log1p(own.n_both_after.to_numpy())
                rho = partial_spearman(x, own[name].to_numpy(), covariates, own.concept_id.to_numpy(), n_resamples, level, seed)
                rows.append((triple, direction, name, f"{edge} in {label}", *rho, np.nan, len(own)))
    table = pd.DataFrame(rows, columns=COLUMNS)
    table["p_holm"] = table.groupby(["triple", "direction", "contrast"]).p.transform(holm)
    return table


def detectable_effect(values: np.ndarray, power: float = 0.8, alpha: float = 0.05) -> pd.DataFrame:
    """The smallest effect that would be found with a given power, by contrast.

    From the residual standard deviation of a randomised block design (blocks and groups taken out) and Student's t, which randomisation
    tests follow closely for means of dozens of blocks. The power is found by the noncentral t, not by its normal limit.

    Args:
        values: outcome, [block × group].
        alpha: two-sided level of the test.

    Returns:
        contrast, sd_residual, standard_error, detectable, n_blocks.

    Raises:
        ValueError: if there are fewer than three blocks.
    """
    values = np.asarray(values, np.float64)
    n, k = values.shape
    if n < 3:
        raise ValueError(f"{n} blocks: at least three are needed to tell what varies within them")
    rest = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    freedom = (n - 1) * (k - 1)
    sd = float(np.sqrt((rest**2).sum() / freedom))
    rows = []
    for contrast, weights in CONTRASTS.items():
        error = sd * float(np.sqrt(np.square(weights).sum() / n))
        rows.append((contrast, sd, error, detectable(error, freedom, power, alpha), n))
    return pd.DataFrame(rows, columns=["contrast", "sd_residual", "standard_error", "detectable", "n_blocks"])
