"""What the traces of many words say of each layer: information, whose words it names, and when the target wins.

All tables here come from ``traces`` (see :mod:`.lens`); concepts are the unit that is resampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .stats import mean_intervals
from .task import LANGUAGES

__all__ = [
    "SHARES",
    "Layers",
    "layers_of",
    "usable",
    "with_third",
    "by_layer",
    "constants",
    "milestones",
    "milestone_table",
    "win_curves",
    "target_gap",
    "lens_gains",
    "blank_answers",
    "followed",
    "first_informative",
    "ceilings",
    "reaches",
]

ITEM = ["model", "lens", "prompt_set", "source_lang", "target_lang", "concept_id"]
DIRECTION = ["model", "lens", "source_lang", "target_lang"]
SHARES = ["p_source", "p_accepted", "p_en", "p_third", "p_control_source", "p_control_accepted", "p_control_en"]
MIN_INFORMATION = 1.0  # nats from which a layer counts as telling which word is translated


def usable(traces: pd.DataFrame) -> pd.Series:
    """Whether the layers can tell source word and translation apart: they cannot start with the same token, and both can be read."""
    return ~traces.overlap & traces.readable


@dataclass(frozen=True)
class Layers:
    """Traces of n items as arrays [n, layers]; ``columns[name]`` is a column of the table ``traces``."""

    items: pd.DataFrame
    columns: dict[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    @property
    def shape(self) -> tuple[int, int]:
        """Items and layers."""
        return self["layer"].shape

    @property
    def correct(self) -> np.ndarray:
        """Whether the last layer's top token starts an accepted translation, [n]."""
        return self["top1_is_accepted"][:, -1].astype(bool)

    @property
    def readable(self) -> np.ndarray:
        """Whether source word and translation can start with a token that is a whole character, [n]."""
        return self["readable"][:, 0].astype(bool)

    @property
    def usable(self) -> np.ndarray:
        """Whether the layers can tell source word and translation apart (:func:`usable`), [n]."""
        return ~self["overlap"][:, 0].astype(bool) & self.readable


def layers_of(traces: pd.DataFrame) -> Layers:
    """Arrange the rows of ``traces`` by item.

    Raises:
        ValueError: if items have different numbers of layers (trace one model at a time).
    """
    ordered = traces.sort_values([*ITEM, "layer"], kind="stable")
    n_layers = ordered.layer.nunique()
    if len(ordered) % n_layers or (ordered.layer.to_numpy().reshape(-1, n_layers) != np.arange(n_layers)).any():
        raise ValueError("traces: items have different layers; give the traces of one model, each item with all its layers")
    columns = {c: ordered[c].to_numpy().reshape(-1, n_layers) for c in ordered.columns if c not in ITEM}
    return Layers(ordered.iloc[::n_layers][ITEM].reset_index(drop=True), columns)


def with_third(traces: pd.DataFrame) -> pd.DataFrame:
    """Adds p_third: the concept's words in the languages that are neither source, target nor English."""
    third = np.zeros(len(traces))
    for la in ("fr", "zh", "ja"):
        third += np.where((traces.source_lang == la) | (traces.target_lang == la), 0.0, traces[f"p_{la}"])
    return traces.assign(p_third=third)


def by_layer(traces: pd.DataFrame, columns: list[str], by: list[str] | None = None, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Means of trace columns by layer and group, with intervals.

    Args:
        columns: columns of ``traces``.
        by: columns that make a group (default: model, lens, direction). Prompt sets, and directions that share a group,
            are averaged within a concept first.

    Returns:
        The group's columns, layer, measure, n (concepts), mean, low, high.
    """
    by = DIRECTION if by is None else by
    rows = []
    for key, group in traces.groupby(by, sort=False, observed=True):
        table = group.groupby(["concept_id", "layer"], sort=True)[columns].mean().unstack("layer")
        intervals = mean_intervals(table.to_numpy(), n_resamples, seed)
        for (measure, layer), (mean, low, high) in zip(table.columns, intervals):
            rows.append(dict(zip(by, key)) | {"layer": int(layer), "measure": measure, "n": len(table), "mean": mean, "low": low, "high": high})
    return pd.DataFrame(rows, columns=[*by, "layer", "measure", "n", "mean", "low", "high"])


def constants(traces: pd.DataFrame) -> pd.DataFrame:
    """The token each layer says most often, whatever the word.

    Returns:
        model, lens, layer, n (items), token (as text), share (of the items that have it on top), top1_prob (mean probability of
        the top token), most_confident (share of the items whose most confident layer this is, last layer included: the
        layer that the released rule looks at).
    """
    item = ["source_lang", "target_lang", "prompt_set", "concept_id"]
    rows = []
    for (model, lens), group in traces.groupby(["model", "lens"], sort=False, observed=True):
        chosen = group.loc[group.groupby(item, sort=False, observed=True).top1_prob.idxmax(), "layer"].value_counts(normalize=True)
        for layer, part in group.groupby("layer"):
            counts = part.top1_id.value_counts()  # by id: a byte-level tokenizer has many tokens with one text
            rows.append(
                {
                    "model": model,
                    "lens": lens,
                    "layer": int(layer),
                    "n": len(part),
                    "token": part.top1_text[part.top1_id == counts.index[0]].iloc[0],
                    "share": counts.iloc[0] / len(part),
                    "top1_prob": part.top1_prob.mean(),
                    "most_confident": float(chosen.get(layer, 0.0)),
                }
            )
    return pd.DataFrame(rows)


def milestones(traces: pd.DataFrame, min_information: float = MIN_INFORMATION) -> pd.DataFrame:
    """Per item: where the word shows, whether English leads, where the target wins.

    Returns:
        The item's columns, ``usable`` (:func:`usable`) and ``right`` (the last layer's top token starts an accepted translation); ``informative``, first
        layer with at least ``min_information`` nats; ``wins``, first layer from which the most informative token starts an
        accepted translation up to the end (null if the last one does not); and whether before the last layer some
        informative layer puts more probability on the concept's English word than on the accepted translations and the
        source word (``english_leads``; for directions without English only, as those that follow), the same for its word in the fourth
        language (``third_leads``: is it English, or any language?) and for another concept's English word (``control_leads``, a
        floor), and on the source word more than on the accepted translations and the English word (``source_leads``).
    """
    groups = traces.groupby(["model", "lens"], sort=False, observed=True)  # models differ in their number of layers
    return pd.concat([_milestones(group, min_information) for _, group in groups], ignore_index=True)


def _milestones(traces: pd.DataFrame, min_information: float) -> pd.DataFrame:
    column = layers_of(with_third(traces))
    items = column.items.assign(usable=column.usable)
    informative = column["information"] >= min_information
    accepted = column["info_is_accepted"].astype(bool) & informative
    lasting = np.flip(np.logical_and.accumulate(np.flip(accepted, 1), 1), 1)
    before = informative.copy()
    before[:, -1] = False
    apart = ((items.source_lang != "en") & (items.target_lang != "en")).to_numpy()

    def leads(name: str, rivals: list[str]) -> np.ndarray:
        return (before & (column[name] > np.max([column[r] for r in rivals], axis=0))).any(1)

    return items.assign(
        right=column.correct,
        informative=np.where(informative.any(1), informative.argmax(1), np.nan),
        wins=np.where(lasting.any(1), lasting.argmax(1), np.nan),
        english_leads=np.where(apart, leads("p_en", ["p_accepted", "p_source"]), np.nan),
        third_leads=np.where(apart, leads("p_third", ["p_accepted", "p_source"]), np.nan),
        control_leads=np.where(apart, leads("p_control_en", ["p_accepted", "p_source"]), np.nan),
        source_leads=np.where(apart, leads("p_source", ["p_accepted", "p_en"]), np.nan),
    )


def milestone_table(table: pd.DataFrame, by: list[str] | None = None, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Milestones by direction: means with intervals over the items that are answered rightly and can be told apart.

    Args:
        table: from :func:`milestones`.
        by: columns that make a group (default: model, lens, direction).

    Returns:
        The group's columns, measure, n (concepts), mean, low, high. ``informative`` and ``wins`` are layers, ``advantage``
        is English minus the fourth language.
    """
    by = DIRECTION if by is None else by
    measures = ["informative", "wins", "english_leads", "third_leads", "control_leads", "source_leads", "advantage"]
    table = table.assign(advantage=table.english_leads - table.third_leads)
    rows = []
    for key, group in table[table.right & table.usable].groupby(by, sort=False, observed=True):
        per_concept = group.groupby("concept_id")[measures].mean()
        if per_concept.isna().all(axis=None):
            continue
        for measure, (mean, low, high) in zip(measures, mean_intervals(per_concept.to_numpy(), n_resamples, seed)):
            if np.isfinite(mean):
                rows.append(dict(zip(by, key)) | {"measure": measure, "n": int(per_concept[measure].notna().sum()), "mean": mean, "low": low, "high": high})
    return pd.DataFrame(rows, columns=[*by, "measure", "n", "mean", "low", "high"])


def win_curves(table: pd.DataFrame, n_layers: int) -> pd.DataFrame:
    """Share of rightly answered items for which the target has won by a layer.

    Args:
        table: from :func:`milestones`, one model and lens.

    Returns:
        source_lang, target_lang, layer, n (items), share.
    """
    rows = []
    for (a, b), group in table[table.right & table.usable].groupby(["source_lang", "target_lang"], sort=False):
        for layer in range(n_layers):
            rows.append({"source_lang": a, "target_lang": b, "layer": layer, "n": len(group), "share": float((group.wins <= layer).mean())})
    return pd.DataFrame(rows, columns=["source_lang", "target_lang", "layer", "n", "share"])


def target_gap(table: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """How many blocks later the target wins in other languages than in English, paired by concept.

    Args:
        table: from :func:`milestones`, one model.

    Returns:
        lens, n (concepts answered rightly both ways), mean, low, high (blocks).
    """
    rows = []
    for lens, group in table[table.right & table.usable & table.wins.notna()].groupby("lens", sort=False, observed=True):
        english = group.target_lang == "en"
        sides = [part.groupby("concept_id").wins.mean() for part in (group[~english], group[english])]
        gap = (sides[0] - sides[1]).dropna().to_numpy()
        if len(gap) > 1:
            rows.append((lens, len(gap), *mean_intervals(gap[:, None], n_resamples, seed)[0]))
    return pd.DataFrame(rows, columns=["lens", "n", "mean", "low", "high"])


def lens_gains(divergence: pd.DataFrame) -> pd.DataFrame:
    """The table ``lens_divergence`` with one row a position set and layer, and ``gain``: KL of the raw minus that of the ridge lens, nats."""
    keys = [c for c in divergence.columns if c not in ("lens", "kl", "agreement")]
    wide = divergence.pivot_table(index=keys, columns="lens", values="kl", observed=True)
    return (wide.raw - wide.ridge).rename("gain").reset_index()


def blank_answers(traces: pd.DataFrame) -> pd.Series:
    """Share of items whose last layer has a blank token on top, by target language; of one model, raw lens."""
    last = traces[traces.layer == traces.layer.max()]
    return (last.top1_text.str.strip() == "").groupby(last.target_lang, sort=False).mean()


def followed(traces: pd.DataFrame, concept_id: str) -> pd.DataFrame:
    """One concept through the layers of all directions, first prompt set: the most informative token of each layer and whose it is.

    Raises:
        ValueError: if the concept is not among the traced ones; names some that are.
    """
    rows = traces[(traces.concept_id == concept_id) & (traces.prompt_set == 0)]
    if rows.empty:
        known = ", ".join(sorted(traces.concept_id.unique())[:8])
        raise ValueError(f"concept {concept_id!r} was not traced; traced are for example {known}")
    whose = np.full(len(rows), "none of these", dtype=object)
    for la in ("ja", "zh", "fr", "en"):
        whose[rows[f"info_is_{la}"].to_numpy(bool)] = "English" if la == "en" else "another language"
    whose[rows.info_is_accepted.to_numpy(bool)] = "target"
    whose[rows.info_is_source.to_numpy(bool)] = "source"
    direction = [f"{LANGUAGES[a]} → {LANGUAGES[b]}" for a, b in zip(rows.source_lang, rows.target_lang)]
    return pd.DataFrame({"direction": direction, "layer": rows.layer, "token": rows.info_text, "whose": whose, "information": rows.information}).reset_index(
        drop=True
    )


def ceilings(traces: pd.DataFrame, by: list[str]) -> dict:
    """The most a layer could tell on average, nats: the mean log of the items in each item's background, by group."""
    return np.log(traces.n_background.astype(float)).groupby([traces[c] for c in by], sort=False).mean().to_dict()


def first_informative(traces: pd.DataFrame, min_information: float = MIN_INFORMATION) -> int | None:
    """First layer whose items tell at least ``min_information`` nats on average; None if none does. Of one model and lens."""
    means = traces.groupby("layer").information.mean().rename("mean").reset_index()
    return reaches(means, min_information)


def reaches(means: pd.DataFrame, level: float) -> int | None:
    """First layer whose mean (rows of :func:`by_layer`, one measure and group) is at least a level; None if none is."""
    found = means.loc[means["mean"] >= level, "layer"]
    return int(found.min()) if len(found) else None
