"""The claim's contrast followed up (notebook 05): run again with seeds of its own, and looked at by direction and by spelling."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from .comparison import (
    BASE,
    CONFIRMATORY,
    OUTCOMES,
    PRIMARY_OUTCOME,
    PRIMARY_SPLIT,
    contrasts,
    detectable,
    differences,
    mixed_difference,
    outcome_by_concept,
    run_square,
)
from .orthography import likeness
from .stats import bootstrap_interval

__all__ = [
    "CLAIM",
    "RUNS",
    "BORROWED",
    "PLACEBO",
    "replicated",
    "claim_rows",
    "against_placebo",
    "by_direction",
    "by_spelling",
]

CLAIM = CONFIRMATORY[0]
RUNS = ("first run", "replication", "all runs")
BORROWED = "replication, runs as variable as in the first"
PLACEBO = ("our pivots", "words that are no pivots", "the first less the second")
# How an item's two words are written, and items left out to see what is left
SPELLINGS = {
    "identical": ("identical",),
    "alike": ("alike",),
    "otherwise": ("otherwise",),
    "another script": ("another script",),
    "all but identical": ("alike", "otherwise", "another script"),
    "all but identical and alike": ("otherwise", "another script"),
}


def replicated(
    first: pd.DataFrame, found: pd.DataFrame, again: pd.DataFrame | None = None, n_resamples: int = 2000, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The claim's two arms against each other and against the base: in the first run, in a second with other seeds, and in both together.

    The second run is a test of one hypothesis, so that its p needs no correction. With two arms the variance of runs is theirs alone; one more row (``BORROWED``)
    gives the claim's contrast with the variance that the first run's arms have together.

    Args:
        first: of ``comparison.outcome_table``.
        found: of ``comparison.contrasts``, for the first run.
        again: outcomes of the second run, whose seeds are others; None if there is none.

    Returns:
        run and the columns of ``comparison.contrasts`` but ``confirmatory``; run, seed, difference (the claim's contrast, primary outcome and split, mean over concepts).

    Raises:
        ValueError: if the two have a seed in common.
    """
    runs = {"first run": first[first.arm.isin([*CLAIM, BASE])]}
    if again is not None:
        own = again[again.arm.isin([*CLAIM, BASE])]
        trained = own[own.arm != BASE]
        if common := sorted(set(first[first.arm != BASE].seed) & set(trained.seed)):
            raise ValueError(f"seed {common[0]} is in both runs: a replication needs runs of its own")
        runs |= {"replication": own, "all runs": pd.concat([runs["first run"], trained], ignore_index=True)}
    columns = "run arm reference split outcome n n_seeds estimate ci_low ci_high mixed_low mixed_high p p_holm se df detectable".split()
    tables, singles = [pd.DataFrame(columns=columns)], [pd.DataFrame(columns=["run", "seed", "difference"])]
    for name, outcomes in runs.items():
        if set(CLAIM) <= set(outcomes.arm):
            table = found if name == "first run" else contrasts(outcomes, n_resamples, seed, [CLAIM])
            pairs = list(zip(table.arm, table.reference))
            tables.append(table[[p in (CLAIM, *((a, BASE) for a in CLAIM)) for p in pairs]].assign(run=name)[columns])
            wide = outcome_by_concept(outcomes, PRIMARY_SPLIT, PRIMARY_OUTCOME)
            values = differences(wide, *CLAIM)
            seeds = [s for s in wide[CLAIM[0]] if s in wide[CLAIM[1]]]
            singles.append(pd.DataFrame({"run": name, "seed": seeds, "difference": values.mean(0)}))
            if name == "replication" and (square := run_square(outcome_by_concept(first, PRIMARY_SPLIT, PRIMARY_OUTCOME))) is not None:
                mixed = mixed_difference(values, runs=square)
                changed = {"mixed_low": mixed["low"], "mixed_high": mixed["high"], "p_holm": float("nan"), "detectable": detectable(mixed["se"], mixed["df"])}
                row = claim_rows(tables[-1]).assign(run=BORROWED, **{k: mixed[k] for k in ("p", "se", "df")} | changed)
                tables.append(row)
    return tuple(pd.concat(parts[1:] or parts, ignore_index=True) for parts in (tables, singles))


def claim_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The claim's contrast, primary outcome and split, of each of ``RUNS`` that a table of :func:`replicated` holds."""
    which = (table.arm == CLAIM[0]) & (table.reference == CLAIM[1]) & (table.split == PRIMARY_SPLIT) & (table.outcome == PRIMARY_OUTCOME)
    return table[which & table.run.isin(RUNS)]


def against_placebo(again: pd.DataFrame | None, placebo: pd.DataFrame | None, n_resamples: int = 2000, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The claim's contrast beside that of documents rich in words that are no pivots with their own match, and the one less the other, seed by seed.

    The variance of runs is that of each row's own differences: for the control it holds the chance of which words were drawn.

    Args:
        again: outcomes (``comparison.outcome_table``) with the claim's arms.
        placebo: outcomes with the arms `pivot_placebo` and `matched_placebo`; only seeds that both have are used. Without either, the tables are empty.

    Returns:
        run (``PLACEBO``), split, outcome, n (concepts), n_seeds, estimate, ci_low, ci_high (bootstrap over concepts), mixed_low, mixed_high, p, se, df (mixed model), detectable;
        run, seed, difference (primary outcome and split, mean over concepts).

    Raises:
        ValueError: if the two have no seed in common.
    """
    rows, singles = [], [pd.DataFrame(columns=["run", "seed", "difference"])]
    for split, part in again.groupby("split", sort=False) if again is not None and placebo is not None else ():
        for outcome in [o for o in OUTCOMES if part[o].notna().any() and placebo[o].notna().any()]:
            wide = [outcome_by_concept(part, split, outcome), outcome_by_concept(placebo, split, outcome)]
            pairs = [CLAIM, ("pivot_placebo", "matched_placebo")]
            own, other = (w[a] - w[b] for w, (a, b) in zip(wide, pairs))
            seeds, concepts = own.columns.intersection(other.columns), own.dropna().index.intersection(other.dropna().index)
            if not len(seeds):
                raise ValueError(f"the control has the seeds {sorted(other.columns)}, the claim's arms {sorted(own.columns)}: none in common")
            values = [t.loc[concepts, seeds].to_numpy() for t in (own, other)]
            for run, table in zip(PLACEBO, (*values, values[0] - values[1])):
                _, low, high = bootstrap_interval(table.mean(1), n_resamples=n_resamples, seed=seed)
                mixed = mixed_difference(table)
                row = (run, split, outcome, *table.shape, mixed["estimate"], low, high, *(mixed[k] for k in ("low", "high", "p", "se", "df")))
                rows.append((*row, detectable(mixed["se"], mixed["df"])))
                if (split, outcome) == (PRIMARY_SPLIT, PRIMARY_OUTCOME):
                    singles.append(pd.DataFrame({"run": run, "seed": seeds, "difference": table.mean(0)}))
    columns = "run split outcome n n_seeds estimate ci_low ci_high mixed_low mixed_high p se df detectable".split()
    return pd.DataFrame(rows, columns=columns), pd.concat(singles[1:] or singles, ignore_index=True)


def by_direction(outcomes: pd.DataFrame) -> pd.DataFrame:
    """The claim's contrast, primary outcome, by direction and split; the variance of runs is that of all arms.

    Returns:
        direction (`en-fr`), split, n (concepts), n_seeds, estimate, low, high (mixed model).
    """
    rows = []
    words = outcomes[outcomes[PRIMARY_OUTCOME].notna()]
    for (source, target, split), part in words.groupby(["source_lang", "target_lang", "split"], sort=False):
        wide = outcome_by_concept(part, split, PRIMARY_OUTCOME)
        if set(CLAIM) <= set(part.arm) and len(values := differences(wide, *CLAIM)) > 1:
            mixed = mixed_difference(values, runs=run_square(wide))
            rows.append((f"{source}-{target}", split, *values.shape, *(mixed[k] for k in ("estimate", "low", "high"))))
    return pd.DataFrame(rows, columns=["direction", "split", "n", "n_seeds", "estimate", "low", "high"])


def by_spelling(runs: Mapping[str, pd.DataFrame], lexicon: pd.DataFrame) -> pd.DataFrame:
    """The claim's contrast, primary outcome and split, by how the two words of an item are written.

    Args:
        runs: outcomes (``comparison.outcome_table``) of each run.
        lexicon: indexed by concept_id, with a column for each language.

    Returns:
        run, spelling (`identical`: the same string; `alike`: at least half of the characters in common; `otherwise`, in the same script; `another script`; and two rows of items that
        are left when identical, and also alike ones, are taken out), n (concepts), n_seeds, items, share and base_share (of the items' weight, of the whole difference, and of the whole
        outcome without further training), base (that outcome), estimate, low, high, p (mixed model; the variance of runs is that of all arms). A group of fewer than two concepts is left out.
    """
    rows = []
    for run, outcomes in runs.items():
        if not {*CLAIM, BASE} <= set(outcomes.arm):
            continue
        part = outcomes[(outcomes.split == PRIMARY_SPLIT) & outcomes[PRIMARY_OUTCOME].notna()]
        items = part[["concept_id", "source_lang", "target_lang"]].drop_duplicates()
        words = [(lexicon.at[c, a], lexicon.at[c, b]) for c, a, b in items.itertuples(index=False)]
        part = part.merge(items.assign(spelling=[likeness(a, b) for a, b in words]))
        single = part.pivot_table(index=["concept_id", "source_lang", "target_lang", "spelling"], columns=["arm", "seed"], values=PRIMARY_OUTCOME)
        own = single[CLAIM[0]].mean(axis=1) - single[CLAIM[1]].mean(axis=1)
        weight = 1 / own.groupby("concept_id").transform("size")  # a concept's items count together once
        weights = [weight, weight * own, weight * single[BASE].mean(axis=1)]
        for name, kinds in SPELLINGS.items():
            wide = outcome_by_concept(part[part.spelling.isin(kinds)], PRIMARY_SPLIT, PRIMARY_OUTCOME)
            if len(wide) > 1 and len(values := differences(wide, *CLAIM)) > 1:
                here = own.index.get_level_values("spelling").isin(kinds)
                shares = [w[here].sum() / w.sum() for w in weights]
                mixed = mixed_difference(values, runs=run_square(wide))
                rows.append((run, name, *values.shape, *shares, wide[BASE].mean().iloc[0], *(mixed[k] for k in ("estimate", "low", "high", "p"))))
    return pd.DataFrame(rows, columns=["run", "spelling", "n", "n_seeds", "items", "share", "base_share", "base", "estimate", "low", "high", "p"])
