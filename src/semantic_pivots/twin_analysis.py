"""What the tests of the real experiment find in the synthetic twins (:mod:`.twin`), where the truth is known.

A test's share of twins in which it finds something is its power in the world `factorial`, and its false-positive rate in `placebo` and `shuffled`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats as distributions
from statsmodels.stats.proportion import proportion_confint

from . import attribution, checkpoints, factorial, severance
from .association import holm
from .progress import progress
from .report import chance_mrr
from .twin import COUNTS, OUTCOMES

__all__ = ["development", "at_level", "contrast_tests", "power", "redrawn", "label_tables", "intervention_effects"]

DRAWN = ["concept_id", "triple", "block", "group"]


def development(scores: pd.DataFrame) -> pd.DataFrame:
    """MRR of the groups and contrasts of it by world, distractors, twin and stage (``trained``); a column a group and a contrast."""
    means = scores.groupby(["world", "distractors", "twin", "trained", "group"]).reciprocal_rank.mean().unstack()[list(severance.GROUPS)]
    return means.assign(**{c: means.to_numpy() @ factorial.CONTRASTS[c] for c in checkpoints.PRIMARY}).reset_index()


def at_level(scores: pd.DataFrame, mrr: float) -> pd.DataFrame:
    """Scores of each twin after the stage at which words that may meet (group `full`) are translated as well as ``mrr`` says, as nearly as may be."""
    own = development(scores[scores.distractors == "own group"])
    nearest = own.loc[(own.full - mrr).abs().groupby([own.world, own.twin]).idxmin(), ["world", "twin", "trained"]]
    return scores[scores.distractors == "own group"].merge(nearest)


def contrast_tests(scores: pd.DataFrame, n_permutations: int = 999, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """The tests that were fixed for the real experiment (:func:`.checkpoints.confirmatory`), for each twin and over all (`all`), at both doses and each.

    Returns:
        world, distractors, twin, dose (documents an edge; 0: both), and the columns of :func:`.factorial.contrasts`. In the rows of `all` the interval is Student's over
        twins, where there are several: another twin has other words, weights and orders of documents, and twins differ in more than their concepts.
    """
    rows = []
    for (world, distractors), whole in progress(list(scores.groupby(["world", "distractors"], sort=False)), "testing twins"):
        for twin, part in [*whole.groupby("twin"), ("all", whole)]:
            for dose, own in [(0, part), *part.groupby("dose")]:
                outcome = own[["concept_id", *OUTCOMES]].assign(direction="both")
                table = checkpoints.confirmatory(outcome, own[DRAWN], chance_mrr(), n_permutations, n_resamples, seed)
                rows.append(table.assign(world=world, distractors=distractors, twin=twin, dose=dose))
    return _over_twins(pd.concat(rows, ignore_index=True))


def _over_twins(tests: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """The tests with Student's interval over twins in the rows of `all`."""
    keys = ["world", "distractors", "dose", "contrast", "direction", "outcome"]
    single = tests[tests.twin != "all"].groupby(keys).estimate.agg(["mean", "sem", "count"]).reset_index()
    spread = tests[keys].merge(single, on=keys, how="left", validate="many_to_one").set_index(tests.index)
    several = (tests.twin == "all") & (spread["count"] > 1)
    reach = distributions.t.ppf(0.5 + level / 2, spread["count"][several] - 1) * spread["sem"][several]
    tests.loc[several, "ci_low"], tests.loc[several, "ci_high"] = spread["mean"][several] - reach, spread["mean"][several] + reach
    return tests


def redrawn(scores: pd.DataFrame, n_draws: int, n_permutations: int = 199, seed: int = 0, alpha: float = 0.05) -> pd.DataFrame:
    """How often the fixed tests find something when groups that mean nothing are drawn anew within blocks, twin by twin.

    Args:
        scores: of the world `placebo`, one stage and one kind of distractors.

    Returns:
        twin, draw, and for each of ``checkpoints.PRIMARY`` and `any` whether p after Holm is below alpha.
    """
    random, rows = np.random.default_rng(seed), []
    for twin, own in scores.sort_values("block").groupby("twin"):
        for draw in range(n_draws):
            drawn = own.assign(group=own.iloc[np.lexsort([random.random(len(own)), own.block])].group.to_numpy())
            outcome, weights = factorial.blocked(drawn, OUTCOMES[0]), np.array([factorial.CONTRASTS[c] for c in checkpoints.PRIMARY])
            found = holm(factorial.randomisation_test(outcome, weights, n_permutations, draw)) < alpha
            rows.append({"twin": twin, "draw": draw} | dict(zip(checkpoints.PRIMARY, found)) | {"any": found.any()})
    return pd.DataFrame(rows)


def power(tests: pd.DataFrame, by: Sequence[str], alpha: float = 0.05) -> pd.DataFrame:
    """Share of twins in which a test finds something.

    Args:
        tests: a row a test and twin, `all` left out; p_holm counts, or p where there is none.
        by: columns that name a test.

    Returns:
        The columns of ``by``, n_twins, n_tested (twins in which the test could be made), n_found, and their share of all twins with its
        Clopper–Pearson interval.
    """
    p = tests.p_holm.fillna(tests.p)
    single = tests.assign(p=p, found=p < alpha)[tests.twin != "all"]
    table = single.groupby(list(by), sort=False).agg(n_twins=("p", "size"), n_tested=("p", "count"), n_found=("found", "sum")).reset_index()
    low, high = proportion_confint(table.n_found, table.n_twins, method="beta")
    return table.assign(share=table.n_found / table.n_twins, ci_low=low, ci_high=high)


def label_tables(behaviors: pd.DataFrame, n_resamples: int = 2000, n_permutations: int = 199, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the labels say: shares of pivot in the groups, and AUC of log n_both and ΔAUC over word frequency, twin by twin and over all.

    Returns:
        The table of :func:`.checkpoints.label_shares` with world; and world, twin, test (`AUC`, `ΔAUC`), rule, estimate, ci_low, ci_high, p,
        p_holm (null), n (items with one of the two labels).
    """
    shares, rows, settings = [], [], {"n_resamples": n_resamples, "n_permutations": n_permutations, "seed": seed}
    for world, whole in progress(list(behaviors.groupby("world", sort=False)), "labels of twins"):
        shares.append(
            checkpoints.label_shares(whole.drop(columns="group"), whole[["concept_id", "group"]].drop_duplicates(), n_resamples, seed).assign(world=world)
        )
        for twin, part in [*whole.groupby("twin"), ("all", whole)]:
            labels, counts = part.assign(model=world), part[COUNTS].drop_duplicates()
            auc = attribution.attribute(labels, counts, **settings).query("predictor == 'log_both'").assign(test="AUC")
            delta = attribution.delta_auc(labels, counts, **settings).rename(columns={"delta": "auc"}).assign(test="ΔAUC")
            tables = pd.concat([auc, delta]).query("source_lang != 'all'")
            rows.append(tables.rename(columns={"auc": "estimate", "p_perm": "p"}).assign(world=world, twin=twin, p_holm=np.nan, n=tables.n_pos + tables.n_neg))
    columns = ["world", "twin", "test", "rule", "estimate", "ci_low", "ci_high", "p", "p_holm", "n"]
    return pd.concat(shares, ignore_index=True), pd.concat(rows, ignore_index=True)[columns]


def intervention_effects(table: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Own minus control of the table ``interventions`` (nats), by world, layer, part and group.

    Returns:
        world, layer, part (`all` that the removal does; `direct`, what it does with later blocks held at what they wrote before; `later`, the first less
        the second, paired by item: what later blocks make of the lack), and the columns of :func:`.factorial.group_means`.
    """
    effects, rows = table.assign(effect=table.own - table.control, direction="fr-ja"), []
    whole, direct = (effects[effects.part == part] for part in ("all", "direct"))
    keys = [*DRAWN, "world", "direction", "layer"]
    later = whole.merge(direct[[*keys, "effect"]], on=keys, suffixes=("", "_direct"), validate="one_to_one")
    effects = pd.concat([effects, later.assign(part="later", effect=later.effect - later.effect_direct)], ignore_index=True)
    for (world, layer, part), found in effects.groupby(["world", "layer", "part"], sort=False):
        means = factorial.group_means(found[["concept_id", "direction", "effect"]], found[DRAWN], ["effect"], n_resamples, seed=seed)
        rows.append(means.assign(world=world, layer=layer, part=part))
    return pd.concat(rows, ignore_index=True)
