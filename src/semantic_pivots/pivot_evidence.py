"""What the pivots explain: curves over layers with null bands, types that carry the mass, labelled tokens, and a regression.

All tables come from ``pivot_mass``, ``pivots``, ``behaviors`` and ``scores``; concepts are the unit that is resampled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import statsmodels.api as sm

from . import association, attribution
from .pivot_layers import GROUPS, MIDDLE
from .stats import bootstrap_interval, mean_intervals

__all__ = [
    "mass_curves",
    "mass_summary",
    "by_answer",
    "found_share",
    "type_mass",
    "english_or_semantic",
    "label_hits",
    "pivot_support",
    "regression_items",
    "regress",
    "partial_effect",
]

PAIR = ["source_lang", "target_lang"]
ITEM = [*PAIR, "concept_id"]
MEASURES = ("source", "pivot", "target")
NULL_QUANTILE = 1.96  # a mean over many concepts of independent draws is close to normal
OUTCOMES = ("p_target", "log_p_target")
PREDICTORS = {"apart": ["log_both", "support_apart"], "documents": ["log_both", "support"], "layers": ["log_both", "pivot_mass"]}


def _by_direction(table: pd.DataFrame):
    """Groups of each direction, and all together under `all`."""
    yield from table.groupby(PAIR, sort=False)
    yield ("all", "all"), table


def mass_curves(mass: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Mean masses by direction, lens and layer over the concepts that have pivot tokens.

    Args:
        mass: from ``pivot_layers.trace_mass``.

    Returns:
        source_lang, target_lang, lens, layer (``MIDDLE`` included), measure (`source`, `pivot`, `target`, `control`, `shuffled`), n (concepts), mean, low,
        high: for the first three the 95 % interval, concepts resampled; for the two nulls the band that holds 95 % of the
        means of one control set a concept.
    """
    used, rows = mass[mass.n_tokens > 0], []
    columns = [f"mass_{m}" for m in (*MEASURES, "control", "shuffled")]
    for (a, b, lens, layer), group in used.groupby([*PAIR, "lens", "layer"], sort=False):
        head = {"source_lang": a, "target_lang": b, "lens": lens, "layer": int(layer), "n": len(group)}
        intervals = dict(zip(columns, mean_intervals(group[columns].to_numpy(), n_resamples, seed)))
        for measure in MEASURES:
            rows.append(head | {"measure": measure} | dict(zip(("mean", "low", "high"), intervals[f"mass_{measure}"])))
        for null in ("control", "shuffled"):
            mean, half = intervals[f"mass_{null}"][0], NULL_QUANTILE * _spread_of_mean(group[f"{null}_sd"])
            rows.append(head | {"measure": null, "mean": mean, "low": mean - half, "high": mean + half})
    return pd.DataFrame(rows, columns=[*PAIR, "lens", "layer", "measure", "n", "mean", "low", "high"])


def _spread_of_mean(spreads: pd.Series) -> float:
    return float(np.sqrt((spreads.astype(float) ** 2).sum()) / max(1, len(spreads)))


def _middle(mass: pd.DataFrame) -> pd.DataFrame:
    """Rows of the middle layers, background-corrected, of concepts that have pivot tokens."""
    return mass[(mass.n_tokens > 0) & (mass.layer == MIDDLE) & (mass.lens == "corrected")]


def _above(group: pd.DataFrame, n_resamples: int, seed: int) -> dict[str, float]:
    """Share of cases above 95 % of each null's sets, with intervals; concepts are resampled."""
    found, clusters = {}, group.concept_id.to_numpy()
    for name, column in (("above", "p_control"), ("above_shuffled", "p_shuffled")):
        share = association.share_interval((group[column] <= 0.05).to_numpy(), clusters, n_resamples, seed=seed)
        found |= dict(zip((name, f"{name}_low", f"{name}_high"), share))
    return found


def mass_summary(mass: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """The middle layers by direction, background-corrected: how far pivots stand out from both nulls, case by case.

    Returns:
        source_lang, target_lang (and `all`), n (concepts), n_cases (concept × direction), mass_pivot, low, high, mass_control, mass_source, mass_target (means
        over concepts), q25, q50, q75 (quartiles of the cases' pivot mass), above (share of cases with p_control ≤ .05; .05 by chance) and above_shuffled (with
        p_shuffled ≤ .05), each with _low and _high.
    """
    used = _middle(mass)
    rows = []
    for (a, b), group in _by_direction(used) if len(used) else ():
        per_concept = group.groupby("concept_id")[["mass_pivot", "mass_control", "mass_source", "mass_target"]].mean()
        (mean, low, high), (control, _, _), (source, _, _), (target, _, _) = mean_intervals(per_concept.to_numpy(), n_resamples, seed)
        row = {"source_lang": a, "target_lang": b, "n": len(per_concept), "n_cases": len(group), "mass_pivot": mean, "low": low, "high": high}
        row |= {"mass_control": control, "mass_source": source, "mass_target": target}
        row |= dict(zip(("q25", "q50", "q75"), group.mass_pivot.astype(float).quantile([0.25, 0.5, 0.75])))
        rows.append(row | _above(group, n_resamples, seed))
    columns = [*PAIR, "n", "n_cases", "mass_pivot", "low", "high", "mass_control", "mass_source", "mass_target", "q25", "q50", "q75"]
    return pd.DataFrame(rows, columns=[*columns, *(f"{k}{e}" for k in ("above", "above_shuffled") for e in ("", "_low", "_high"))])


def by_answer(mass: pd.DataFrame, scores: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Pivot mass in the middle layers of right answers and of wrong ones, of the traced concepts that were scored too.

    Args:
        scores: of the model; an answer is right where its first token was, with at least half of the prompt sets.

    Returns:
        directions (`all`, `without English`), answer (`right`, `wrong`), n_cases, n (concepts), mass_pivot, low, high, above, above_low, above_high (as
        in :func:`mass_summary`, against matched controls).
    """
    used = _middle(mass).merge(scores[[*ITEM, "first_token_correct"]], on=ITEM)
    rows = []
    for name, part in (("all", used), ("without English", used[(used.source_lang != "en") & (used.target_lang != "en")])):
        for answer, group in (("right", part[part.first_token_correct >= 0.5]), ("wrong", part[part.first_token_correct < 0.5])):
            if len(group):
                mean = association.share_interval(group.mass_pivot.to_numpy(float), group.concept_id.to_numpy(), n_resamples, seed=seed)
                row = {"directions": name, "answer": answer, "n_cases": len(group), "n": group.concept_id.nunique()}
                rows.append(row | dict(zip(("mass_pivot", "low", "high"), mean)) | _above(group, n_resamples, seed))
    columns = ["directions", "answer", "n_cases", "n", "mass_pivot", "low", "high", "above", "above_low", "above_high"]
    return pd.DataFrame(rows, columns=columns)


def found_share(mass: pd.DataFrame, traces: pd.DataFrame, middle: Sequence[int], n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """How much of what the middle layers give to tokens of neither word is given to discovered pivots.

    Both are probability beyond the background, summed over the cases that were traced in both ways.

    Args:
        traces: of the model, raw lens and first prompt set (excess, excess_source, excess_accepted).
        middle: the middle layers.

    Returns:
        directions (`all`, `without English`), n (concepts), share, low, high (concepts resampled).
    """
    neither = (traces.excess - traces.excess_source - traces.excess_accepted).clip(lower=0)
    neither = neither[traces.layer.isin(list(middle))].groupby([traces[c] for c in ITEM]).mean().rename("neither").reset_index()
    used = _middle(mass).merge(neither, on=ITEM)
    rows = []
    for name, part in (("all", used), ("without English", used[(used.source_lang != "en") & (used.target_lang != "en")])):
        sums = part.groupby("concept_id")[["mass_pivot", "neither"]].sum().to_numpy(float)
        if len(sums) > 1:
            rows.append((name, len(sums), *bootstrap_interval(sums, _ratio_of_sums, n_resamples, seed=seed)))
    return pd.DataFrame(rows, columns=["directions", "n", "share", "low", "high"])


def _ratio_of_sums(resamples: np.ndarray, axis: int) -> np.ndarray:
    sums = resamples.sum(axis)
    return sums[:, 0] / sums[:, 1]


def type_mass(mass: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Which types of pivot carry the mass in the middle layers, background-corrected.

    Returns:
        source_lang, target_lang, type, n (concepts with pivot tokens), n_with (with tokens of the type), tokens (mean number), mass, low, high (mean over all
        n), control, control_low, control_high (band of the matched control sets), share (of the whole pivot mass), per_token,
        per_token_low, per_token_high (mass over control a token, mean over the n_with).
    """
    used = _middle(mass)
    rows = []
    for (a, b), group in used.groupby(PAIR, sort=False):
        for kind in GROUPS:
            own = group[[f"n: {kind}", f"mass: {kind}", f"control: {kind}", f"sd: {kind}"]].astype(float).set_axis(["n", "mass", "control", "sd"], axis=1)
            values = np.column_stack([own.mass, own.control, ((own.mass - own.control) / own.n.where(own.n > 0))])
            (mean, low, high), (control, _, _), (each, each_low, each_high) = mean_intervals(values, n_resamples, seed)
            half = NULL_QUANTILE * _spread_of_mean(own.sd)
            row = {"source_lang": a, "target_lang": b, "type": kind, "n": len(own), "n_with": int((own.n > 0).sum()), "tokens": own.n.mean()}
            row |= {"mass": mean, "low": low, "high": high, "control": control, "control_low": control - half, "control_high": control + half}
            row |= {"share": mean / group.mass_pivot.mean() if group.mass_pivot.mean() > 0 else np.nan}
            rows.append(row | {"per_token": each, "per_token_low": each_low, "per_token_high": each_high})
    return pd.DataFrame(rows)


def english_or_semantic(mass: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Directions without English: mass beyond the controls of English translations against English associates, third-language translations and third-language associates, paired by concept.

    Returns:
        source_lang, target_lang (and `all`), contrast, n (concepts that have tokens of both types), first, second (mean mass beyond control), difference, low,
        high; first, second and the difference a token: first_each, second_each, difference_each, each_low, each_high.
    """
    used = mass[(mass.layer == MIDDLE) & (mass.lens == "corrected") & (mass.source_lang != "en") & (mass.target_lang != "en")]
    contrasts = [("English translation", other) for other in ("English associate", "third-language translation", "third-language associate")]
    rows = []
    for (a, b), group in _by_direction(used):
        for first, second in contrasts:
            both = group[(group[f"n: {first}"] > 0) & (group[f"n: {second}"] > 0)]
            if not len(both):
                continue
            beyond = {k: (both[f"mass: {k}"] - both[f"control: {k}"]).astype(float) for k in (first, second)}
            each = {k: v / both[f"n: {k}"] for k, v in beyond.items()}
            table = pd.DataFrame({"first": beyond[first], "second": beyond[second], "first_each": each[first], "second_each": each[second]})
            table = table.assign(difference=table["first"] - table["second"], difference_each=table.first_each - table.second_each)
            table = table.groupby(both.concept_id).mean()
            found = dict(zip(table, mean_intervals(table.to_numpy(), n_resamples, seed)))
            row = {"source_lang": a, "target_lang": b, "contrast": f"{first} − {second}", "n": len(table)} | {k: v[0] for k, v in found.items()}
            row |= dict(zip(("low", "high"), found["difference"][1:])) | dict(zip(("each_low", "each_high"), found["difference_each"][1:]))
            rows.append(row)
    columns = [*PAIR, "contrast", "n", "first", "second", "difference", "low", "high", "first_each", "second_each", "difference_each", "each_low", "each_high"]
    return pd.DataFrame(rows, columns=columns)


def label_hits(behaviors: pd.DataFrame, token_ids: Sequence[int], pivots: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Of the items called pivot, the share whose token is among the pivots found in documents, against other concepts' pivots.

    Args:
        behaviors: labelled items of one model, lens and prompt set.
        token_ids: id of each item's token.
        pivots: kept pivots with ``pivot_ids``; items of concepts without any are left out.

    Returns:
        rule, source_lang, target_lang (and `all`), n (items), n_called (items called pivot, those of concepts without discovered pivots among them), n_concepts, share, low, high, chance (mean share among the pivots of the other concepts of the
        direction), difference, difference_low, difference_high, and ``share: TYPE`` for each type.
    """
    own: dict[tuple, dict[int, set[str]]] = {}
    for s, t, c, kind, ids in pivots[[*ITEM, "type", "pivot_ids"]].itertuples(index=False):
        for i in ids:
            own.setdefault((s, t, c), {}).setdefault(int(i), set()).add(kind)
    holders: dict[tuple, int] = {}
    n_concepts: dict[tuple, int] = {}
    for (s, t, _), ids in own.items():
        n_concepts[s, t] = n_concepts.get((s, t), 0) + 1
        for i in ids:
            holders[s, t, i] = holders.get((s, t, i), 0) + 1
    called = behaviors.assign(token_id=np.asarray(token_ids))[(behaviors.label == "pivot").to_numpy()]
    rows = []
    for item in called[["rule", *ITEM, "token_id"]].itertuples(index=False):
        pair = (item.source_lang, item.target_lang)
        if (mine := own.get((*pair, item.concept_id))) is None or n_concepts[pair] < 2:
            continue
        hit = item.token_id in mine
        chance = (holders.get((*pair, item.token_id), 0) - hit) / (n_concepts[pair] - 1)
        rows.append(item._asdict() | {"hit": float(hit), "chance": chance} | {f"share: {g}": float(g in mine.get(item.token_id, ())) for g in GROUPS})
    hits = pd.DataFrame(rows, columns=["rule", *ITEM, "token_id", "hit", "chance", *(f"share: {g}" for g in GROUPS)])
    result = []
    for rule, whole in hits.groupby("rule", sort=False):
        for (a, b), group in _by_direction(whole):
            clusters = group.concept_id.to_numpy()
            here = called[called.rule == rule] if a == "all" else called[(called.rule == rule) & (called.source_lang == a) & (called.target_lang == b)]
            row = {"rule": rule, "source_lang": a, "target_lang": b, "n": len(group), "n_called": len(here), "n_concepts": len(set(clusters))}
            row |= dict(zip(("share", "low", "high"), association.share_interval(group.hit.to_numpy(), clusters, n_resamples, seed=seed)))
            row |= {"chance": group.chance.mean()}
            gain = association.share_interval((group.hit - group.chance).to_numpy(), clusters, n_resamples, seed=seed)
            row |= dict(zip(("difference", "difference_low", "difference_high"), gain))
            result.append(row | {f"share: {g}": group[f"share: {g}"].mean() for g in GROUPS})
    return pd.DataFrame(result)


# --- regression -------------------------------------------------------------------------------------------------------


def pivot_support(pivots: pd.DataFrame, coverage: pd.DataFrame) -> pd.DataFrame:
    """How well a concept's two words are linked by pivots.

    Support is log1p of Σ over kept pivots of their association, the smaller of the two shrunk NPMIs. Apart, the NPMIs are taken
    where documents that hold both words are left out (and at least 0): what those documents say is the pair count's to tell.

    Returns:
        source_lang, target_lang, concept_id, support, support_apart; concepts with too few documents are absent, those without pivots have 0.
    """
    kept = pivots[pivots.kept]
    link = pd.DataFrame({"support": kept.association, "support_apart": kept[["apart_source", "apart_target"]].min(axis=1)}).clip(lower=0)
    sums = np.log1p(link.groupby([kept[c] for c in ITEM]).sum()).reset_index()
    table = coverage.loc[coverage.status != "too few documents", ITEM].merge(sums, on=ITEM, how="left")
    return table.fillna({"support": 0.0, "support_apart": 0.0})


def regression_items(scores: pd.DataFrame, counts: pd.DataFrame, support: pd.DataFrame, mass: pd.DataFrame, lexicon: pd.DataFrame) -> pd.DataFrame:
    """Items with all that the regression needs.

    Args:
        scores: of one model.
        counts: the table ``cooccurrence``, one corpus; words that are the same string in both languages are left out.
        support: from :func:`pivot_support`.
        mass: from ``pivot_layers.trace_mass``; its corrected mass in the middle layers becomes pivot_mass (null for concepts not traced).

    Returns:
        source_lang, target_lang, concept_id, p_target, log_p_target, log_both, log_source, log_target, support, support_apart, pivot_mass, n_target_tokens, pos.
    """
    middle = mass[(mass.layer == MIDDLE) & (mass.lens == "corrected") & (mass.n_tokens > 0)][[*ITEM, "mass_pivot"]]
    table = scores[[*ITEM, "p_target", "n_target_tokens"]].merge(counts[[*ITEM, "n_source", "n_target", "n_both", "identical"]], on=ITEM)
    table = table[~table.identical].merge(support, on=ITEM).merge(middle.rename(columns={"mass_pivot": "pivot_mass"}), on=ITEM, how="left")
    logs = {f"log_{n}": np.log1p(table[f"n_{n}"]) for n in ("both", "source", "target")}
    table = table.assign(**logs, log_p_target=np.log(table.p_target.clip(lower=1e-12)), pos=table.concept_id.map(lexicon.pos))
    return table.drop(columns=["n_source", "n_target", "n_both", "identical"]).reset_index(drop=True)


def regress(items: pd.DataFrame, n_permutations: int = 200, seed: int = 0) -> pd.DataFrame:
    """Least squares of P(y|w) on direct co-occurrence and pivots, with the words' own counts, target length, direction and part of speech.

    Three models: pivots as support in documents that hold one of the two words only, in all documents, and as mass in the layers. Errors are clustered by concept. The null of a
    coefficient comes from signs of what frequency cells leave of the predictor, flipped concept by concept.

    Returns:
        model (`apart`, `documents`, `layers`), outcome, term, n, n_concepts, coefficient (outcome for one standard deviation of the predictor), low, high, p,
        standardised (standard deviations of the outcome), null_mean, null_low, null_high (95 % of the null), p_perm (two-sided, distance from the null's mean), r2 (of
        the whole model), r2_without, p_holm (of p_perm over the measures of pivots, by outcome; p_perm itself for direct co-occurrence).
    """
    rows = []
    for model, terms in PREDICTORS.items():
        used = items.dropna(subset=terms).reset_index(drop=True)
        if used.concept_id.nunique() < 20:
            continue
        design, groups = attribution.design(used, terms), used.concept_id.factorize()[0]
        cells, drift = attribution.frequency_cells(used), attribution.frequency_drift(used)
        for outcome in OUTCOMES:
            y = used[outcome].to_numpy(float)
            fit = sm.OLS(y, sm.add_constant(design)).fit(cov_type="cluster", cov_kwds={"groups": groups})
            for term in [t for t in terms if t in design]:
                low, high = fit.conf_int().loc[term]
                others = design.drop(columns=term)
                shuffled = association.shuffle_within(design[term].to_numpy(), cells, n_permutations, seed, used.concept_id.to_numpy(), drift)
                null = _coefficients(y, np.stack(list(shuffled)), others)
                away = np.abs(null - null.mean()) >= abs(fit.params[term] - null.mean())
                p_perm = (1 + away.sum()) / (1 + n_permutations)
                row = {"model": model, "outcome": outcome, "term": term, "n": len(used), "n_concepts": int(groups.max() + 1), "coefficient": fit.params[term]}
                row |= {"low": low, "high": high, "p": fit.pvalues[term], "standardised": fit.params[term] / y.std()}
                row |= {"null_mean": null.mean()} | dict(zip(("null_low", "null_high"), np.quantile(null, [0.025, 0.975]))) | {"p_perm": p_perm}
                rows.append(row | {"r2": fit.rsquared, "r2_without": sm.OLS(y, sm.add_constant(others)).fit().rsquared})
    columns = ["model", "outcome", "term", "n", "n_concepts", "coefficient", "low", "high", "p", "standardised", "null_mean", "null_low", "null_high", "p_perm"]
    table = pd.DataFrame(rows, columns=[*columns, "r2", "r2_without"])
    direct = table.term == "log_both"
    return table.assign(p_holm=table.p_perm.astype(float).where(direct, table[~direct].groupby("outcome").p_perm.transform(association.holm)))


def _coefficients(y: np.ndarray, x: np.ndarray, others: pd.DataFrame) -> np.ndarray:
    """Least-squares coefficient of each row of x [k, n] beside the other predictors (Frisch, Waugh, Lovell)."""
    basis = np.linalg.qr(np.column_stack([others, np.ones(len(y))]))[0]
    rest = x - (x @ basis) @ basis.T
    return rest @ y / (rest**2).sum(1)


def partial_effect(items: pd.DataFrame, outcome: str = "p_target", n_bins: int = 12) -> pd.DataFrame:
    """Added-variable plots: what all other predictors leave of the outcome and of each predictor, in bins of equal size.

    Returns:
        model, term, x (standard deviations), y (outcome), low, high (of the bin's mean, concepts as clusters), n (items).
    """
    rows = []
    for model, terms in PREDICTORS.items():
        used = items.dropna(subset=terms).reset_index(drop=True)
        if used.concept_id.nunique() < 20:
            continue
        design = attribution.design(used, terms)
        for term in [t for t in terms if t in design]:
            others = sm.add_constant(design.drop(columns=term)).to_numpy()
            rest = [v - others @ np.linalg.lstsq(others, v, rcond=None)[0] for v in (design[term].to_numpy(), used[outcome].to_numpy(float))]
            place = pd.qcut(pd.Series(rest[0]).rank(method="first"), n_bins, labels=False).to_numpy()
            for b in range(n_bins):
                inside = place == b
                mean, low, high = association.share_interval(rest[1][inside], used.concept_id.to_numpy()[inside], 500)
                rows.append({"model": model, "term": term, "x": rest[0][inside].mean(), "y": mean, "low": low, "high": high, "n": int(inside.sum())})
    return pd.DataFrame(rows, columns=["model", "term", "x", "y", "low", "high", "n"])
