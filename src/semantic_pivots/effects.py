"""What the interventions do: items beside their controls, means over concepts with intervals, sign-flip tests, curves over layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .association import holm, sign_flip
from .orthography import ALIKE, script, spelling
from .patching import CELLS
from .stats import mean_intervals

__all__ = ["item_table", "effects", "by_spelling", "patch_curves", "crossings", "steering_shares", "balance_table"]

ITEM = ["model", "source_lang", "target_lang", "concept_id"]
WHAT = ["kind", "what", "layer", "last_layer", "n_directions", "dose"]
DIRECTLY, LATER = "ablation, directly", "ablation, through later blocks"
EXPERIMENTS = {"main": "ablation", "held": DIRECTLY, "layer": "one block", "direct": "one block, directly", "dose": "number of directions"}


def item_table(ablations: pd.DataFrame, patches: pd.DataFrame | None = None, steered: pd.DataFrame | None = None) -> pd.DataFrame:
    """The table ``interventions``: what an intervention does to an item, beside what its controls do to the same item.

    Args:
        ablations: of :func:`.ablation.ablate_pairs`.
        patches: of :func:`.patching.patch_pairs`.
        steered: of :func:`.patching.steer_pairs`.

    Returns:
        One row an item, intervention and kind of control: the item, kind, what (whose span, or which state), layer (first block), last_layer, n_directions (0 where it is not what varies), dose, control ("" where there is
        none; `source span` and `target span` are the item's own, taken out in the same way), clean (log-odds of the target before), delta_logodds (change, nats; for the kinds `kl …` the divergence), control_mean, control_sd, n_controls and p: (1 + controls that do at
        least as much in the same direction) / (1 + controls), one-sided: loss by ablation, divergence, or gain by steering.
    """
    ablated = ablations.assign(
        kind=ablations.experiment.replace(EXPERIMENTS), what=ablations.span, dose=np.nan, sign=np.where(ablations.experiment.str.startswith("kl"), 1, -1)
    )
    # the number of directions tells conditions apart only where it was set: elsewhere it says how many an item has
    ablated["n_directions"] = ablated.n_directions.where(ablated.experiment == "dose").fillna(0).astype(int)
    # what later blocks make of the lack: all that it does, less what it does with these blocks held fast
    same = [*ITEM, "span", "control", "number", "layer"]
    later = ablated[ablated.experiment == "layer"].merge(ablated[ablated.experiment == "direct"][[*same, "delta"]], on=same, suffixes=("", "_direct"))
    later = later.assign(delta=later.delta - later.delta_direct, kind="one block, through later blocks")
    main, same = ablated[ablated.experiment == "main"], [*ITEM, "span", "control", "number"]
    used = main.merge(ablated[ablated.experiment == "held"][[*same, "delta"]], on=same, suffixes=("", "_held"))
    used = used.assign(delta=used.delta - used.delta_held, kind=LATER)
    # the item's own source and target spans stand beside its pivots as well
    own = main[main.control == "own"]
    ends = [own[own.span == end].assign(control=f"{end} span", what=what) for end in ("source", "target") for what in ("english", "discovered")]
    tables = [_beside_controls(pd.concat([ablated, later, used, *ends], ignore_index=True))]
    if steered is not None:
        tables.append(_beside_controls(steered.assign(kind="steering", what="pivot direction", last_layer=steered.layer, n_directions=1, sign=1)))
    if patches is not None:
        rows = patches[patches.kind != "none"].assign(last_layer=patches.layer, n_directions=0, dose=np.nan)
        same = rows[rows.kind == "same"].set_index([*ITEM, "layer"]).delta
        rows = rows[rows.kind != "same"].rename(columns={"kind": "what", "delta": "delta_logodds"}).assign(kind="patching")
        beside = same.reindex(pd.MultiIndex.from_frame(rows[[*ITEM, "layer"]])).to_numpy()
        known = np.isfinite(beside)
        rows = rows.assign(control=np.where(known, "same", ""), control_mean=beside, control_sd=np.nan, n_controls=known.astype(int), p=np.nan)
        tables.append(rows[[*tables[0].columns]])
    return pd.concat(tables, ignore_index=True)


def _beside_controls(rows: pd.DataFrame) -> pd.DataFrame:
    key = [*ITEM, *WHAT]
    rows = rows.assign(clean=rows.clean if "clean" in rows else np.nan, dose=rows.dose.fillna(-1.0))
    own = rows[rows.control == "own"].set_index(key)
    controls = rows[rows.control != "own"]
    controls = controls.join(own.delta.rename("own"), on=key)
    controls["reaches"] = controls.sign * controls.delta >= controls.sign * controls.own
    beside = controls.groupby([*key, "control"], sort=False).agg(
        control_mean=("delta", "mean"), control_sd=("delta", "std"), n_controls=("delta", "size"), reaches=("reaches", "sum")
    )
    beside["p"] = (1 + beside.reaches) / (1 + beside.n_controls)
    table = own[["clean", "delta"]].rename(columns={"delta": "delta_logodds"}).reset_index()
    table = table.merge(beside.drop(columns="reaches").reset_index(), on=key, how="left")
    table["control"], table["n_controls"] = table.control.fillna(""), table.n_controls.fillna(0).astype(int)
    table["dose"] = table.dose.replace(-1.0, np.nan)
    return table


def effects(table: pd.DataFrame, n_resamples: int = 2000, n_permutations: int = 9999, seed: int = 0) -> pd.DataFrame:
    """Means over concepts: the intervention, its control, and the difference, by direction and over all (direction `all`: concepts' means).

    Args:
        table: of :func:`item_table`.

    Returns:
        model, direction, kind, what, layer, last_layer, n_directions, dose, control, n (concepts), n_items, mean, low, high, control_mean, control_low, control_high, difference, difference_low,
        difference_high (bootstrap over concepts), p (sign flips of concepts' differences, or of the means themselves where there is no control) and p_holm (over the directions).
    """
    key = ["model", *WHAT, "control"]
    rows = []
    table = table.assign(direction=table.source_lang + "-" + table.target_lang)
    for names, part in table.groupby(key, sort=False, dropna=False):
        for direction, own in [*part.groupby("direction", sort=False), ("all", part)]:
            values = (
                own.assign(difference=own.delta_logodds - own.control_mean)
                .groupby("concept_id")[["delta_logodds", "control_mean", "difference"]]
                .mean()
                .to_numpy()
            )
            intervals = mean_intervals(values, n_resamples, seed).ravel()
            tested = values[:, 2] if names[-1] else values[:, 0]
            p = sign_flip(tested[np.isfinite(tested)], n_permutations, seed)
            rows.append((*names, direction, len(values), len(own), *intervals, p))
    measures = [f"{a}{b}" for a in ("", "control_", "difference_") for b in ("mean", "low", "high")]
    found = pd.DataFrame(rows, columns=[*key, "direction", "n", "n_items", *measures, "p"]).rename(columns={"difference_mean": "difference"})
    found["p_holm"] = np.nan
    single = found.direction != "all"
    found.loc[single, "p_holm"] = found[single].groupby(key, dropna=False).p.transform(holm)
    return found


def by_spelling(table: pd.DataFrame, lexicon: pd.DataFrame, n_resamples: int = 2000, n_permutations: int = 9999, seed: int = 0) -> pd.DataFrame:
    """What blocks make of the lack of English, for words spelled like an English word of the concept and for others, into languages of its script.

    Args:
        table: of :func:`item_table`.
        lexicon: indexed by concept_id, with a word and accepted translations for each language.

    Returns:
        model, target_lang, spelling (`alike`: at least half of the characters in common, in order, with some English word; `otherwise`), what, control, n (concepts), n_items,
        difference (mean over concepts), low, high and p (sign flips), not corrected.
    """
    rows = table[(table.kind == LATER) & table.what.isin(["english", "english beside target"]) & (table.n_controls > 0)]
    rows = rows[~rows.control.isin(["source span", "target span", "shuffled"])]
    words = [lexicon.at[c, la] for c, la in zip(rows.concept_id, rows.target_lang)]
    nearest = [max((spelling(e, w) for e in lexicon.at[c, "valid_en"]), default=0.0) for c, w in zip(rows.concept_id, words)]
    rows = rows.assign(difference=rows.delta_logodds - rows.control_mean, spelling=np.where(np.array(nearest) >= ALIKE, "alike", "otherwise"))
    found = []
    for names, part in rows[np.array([script(w) == "Latin" for w in words], bool)].groupby(["model", "target_lang", "spelling", "what", "control"], sort=False):
        values = part.groupby("concept_id").difference.mean().to_numpy()
        found.append((*names, len(values), len(part), *mean_intervals(values[:, None], n_resamples, seed).ravel(), sign_flip(values, n_permutations, seed)))
    return pd.DataFrame(found, columns=["model", "target_lang", "spelling", "what", "control", "n", "n_items", "difference", "low", "high", "p"])


# --- patching: curves over layers ---------------------------------------------------------------------------------------


def _shares(patches: pd.DataFrame) -> pd.DataFrame:
    """Concept means of the probability of each cell, and of the shares that belong to the other concept and language."""
    means = patches.groupby(["model", "kind", "layer", "concept_id"], sort=False)[[f"p_{c}" for c in range(len(CELLS))]].mean()
    total = means.sum(axis=1)
    return means.assign(concept=(means.p_1 + means.p_3) / total, language=(means.p_2 + means.p_3) / total)


def patch_curves(patches: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """What the output is when the state after a block is another run's, averaged over directions.

    Returns:
        model, kind, layer, measure (``p_0`` … ``p_3``: probability of the tokens that start each of ``CELLS``; `concept`, `language`: share of the four cells' probability that is the other concept's, in the other language), n, mean, low, high (over concepts).
    """
    rows = []
    for names, part in _shares(patches).groupby(level=["model", "kind", "layer"], sort=False):
        intervals = mean_intervals(part.to_numpy(dtype=float), n_resamples, seed)
        rows += [(*names, measure, len(part), *interval) for measure, interval in zip(part.columns, intervals)]
    return pd.DataFrame(rows, columns=["model", "kind", "layer", "measure", "n", "mean", "low", "high"])


def crossings(
    patches: pd.DataFrame, kinds: Sequence[str] = ("concept", "language", "both", "mean"), n_resamples: int = 2000, seed: int = 0, least: float = 0.1
) -> pd.DataFrame:
    """The first block from which on a patch takes the output more than half of the way to the other concept, or the other language.

    The way leads from the share without a patch to that with the other run's state after the last block, where nothing of the own run is left.

    Args:
        least: where the whole way is shorter than that, nothing can be said of its half.

    Returns:
        model, kind, measure (`concept`, `language`), n, before (share without a patch), after (with the last block's), layer (nan if there is none), low, high (percentiles over
        resampled concepts) and resolved (share of resamples with such a layer). For the kind `both` also the measure `concept − language`: how many blocks later the concept
        changes hands than the language, on the same resamples (before and after are nan).
    """
    rows, shares, drawn = [], _shares(patches), {}
    for model, of_model in shares.groupby(level="model", sort=False):
        none = of_model.xs((model, "none"), level=["model", "kind"]).droplevel("layer")
        for kind in kinds:
            for measure in ("concept", "language"):
                if kind not in of_model.index.unique("kind") or (kind, measure) in (("concept", "language"), ("language", "concept")):
                    continue
                wide = of_model.xs((model, kind), level=["model", "kind"])[measure].unstack("layer").sort_index(axis=1)
                draws = np.random.default_rng(seed).integers(len(wide), size=(n_resamples, len(wide)))
                draws = np.concatenate([np.arange(len(wide))[None], draws])
                means, before = np.nanmean(wide.to_numpy()[draws], axis=1), np.nanmean(none[measure].reindex(wide.index).to_numpy()[draws], axis=1)
                passed = means > ((before + means[:, -1]) / 2)[:, None]
                stays = np.logical_and.accumulate(passed[:, ::-1], axis=1)[:, ::-1]
                layers = np.where(means[:, -1] - before >= least, wide.columns.to_numpy()[stays.argmax(1)].astype(float), np.nan)
                rows.append((model, kind, measure, len(wide), before[0], means[0, -1], *_block_interval(layers)))
                drawn[measure] = layers
            if kind == "both" and kind in of_model.index.unique("kind"):
                later = drawn["concept"] - drawn["language"]  # the same concepts were drawn for both
                rows.append((model, kind, "concept − language", len(wide), np.nan, np.nan, *_block_interval(later)))
    return pd.DataFrame(rows, columns=["model", "kind", "measure", "n", "before", "after", "layer", "low", "high", "resolved"])


def _block_interval(draws: np.ndarray) -> tuple[float, float, float, float]:
    """A block, its 95 % interval among resamples that have one, and the share of these; blocks that were tried, not points between them."""
    known = draws[1:][np.isfinite(draws[1:])]
    low, high = np.quantile(known, [0.025, 0.975], method="inverted_cdf") if len(known) else (np.nan, np.nan)
    return draws[0], low, high, len(known) / max(len(draws) - 1, 1)


def steering_shares(steered: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Of the items that the model fails: for how many steering makes the most probable token right, and for how many an English word of the concept.

    Returns:
        model, control, dose, measure (`right`, `english`), n (concepts), n_items, mean, low, high.
    """
    rows = []
    for names, part in steered.groupby(["model", "control", "dose"], sort=False):
        values = part.groupby("concept_id")[["right", "english"]].mean()
        n_items = len(part[["source_lang", "target_lang", "concept_id"]].drop_duplicates())
        intervals = mean_intervals(values.to_numpy(dtype=float), n_resamples, seed)
        rows += [(*names, measure, len(values), n_items, *interval) for measure, interval in zip(values.columns, intervals)]
    return pd.DataFrame(rows, columns=["model", "control", "dose", "measure", "n", "n_items", "mean", "low", "high"])


def balance_table(ablations: pd.DataFrame) -> pd.DataFrame:
    """How alike pivots and controls are in what they were matched on, and in the decimal logarithm of the share of the state that is removed (:func:`.control_spans.balance`), by model, span and kind of control."""
    from .control_spans import balance

    rows = ablations[ablations.experiment == "main"]
    rows = rows[rows.span.isin(rows.span[rows.span_cosine.notna()])]  # spans that controls were made for
    rows = rows.assign(removed=np.log10(rows.removed.clip(lower=1e-12)))
    item = rows.source_lang + "-" + rows.target_lang + " " + rows.concept_id
    return pd.concat([balance(part).assign(model=model) for model, part in rows.assign(item=item).groupby("model", sort=False)], ignore_index=True)
