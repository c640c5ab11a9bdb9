"""Prose of notebook 02: every number is taken from a table of :mod:`.layers`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .layers import reaches
from .report import interval, short_name
from .task import LANGUAGES

__all__ = ["information_sentences", "constants_sentences", "english_sentences", "winner_sentences", "lens_sentences", "conclusion"]


def _cell(table: pd.DataFrame, **where) -> pd.Series:
    """The one row of a table with these values."""
    for column, value in where.items():
        table = table[table[column] == value]
    if len(table) != 1:
        raise ValueError(f"{len(table)} rows where {where}, expected one")
    return table.iloc[0]


def _text(row: pd.Series, digits: int = 2) -> str:
    return interval(row["mean"], row.low, row.high, digits)


def information_sentences(pooled: pd.DataFrame, ceilings: dict[str, float]) -> str:
    """Where each model starts to tell the words apart.

    Args:
        pooled: rows of ``by_layer`` with the measure information, by model.
        ceilings: the most a layer could tell, nats.
    """
    lines = []
    for model, rows in pooled.groupby("model", sort=False):
        last, first = rows.loc[rows.layer.idxmax()], reaches(rows, 1.0)
        best = rows.loc[rows["mean"].idxmax()]
        if first is None:
            lines.append(f"**{short_name(model)}** (n = {last.n} concepts): no layer tells 1 nat of which word is translated.")
            continue
        before = rows[rows.layer < first]
        lead = f"up to block {first} of {len(rows)} the lens shows at most {before['mean'].max():.2f} nats on average; " if len(before) else ""
        lines.append(
            f"**{short_name(model)}** (n = {last.n} concepts): {lead}block {first + 1} is the first with at least 1 nat, {_text(_cell(rows, layer=first))}. "
            f"The most is told after block {best.layer + 1}, {_text(best)} nats of at most {ceilings[model]:.2f}."
        )
    return "\n\n".join(lines)


def constants_sentences(table: pd.DataFrame, uninformative_until: int | None) -> str:
    """What the raw lens says whatever the word, and what a rule that takes the most confident layer looks at.

    Args:
        table: from ``constants``, one model.
        uninformative_until: the first informative layer.
    """
    peak = table.loc[table.most_confident.idxmax()]
    early = table[table.layer < (uninformative_until or 0)]
    constant = early[early.share >= 0.5]
    words = ", ".join(f"“{t.strip() or '␣'}”" for t in dict.fromkeys(constant.token.head(4)))
    lead = (
        f"In {len(constant)} of the {len(early)} layers before the first informative one, one token is on top for more than half of the items ({words}, …). "
        if len(early)
        else ""
    )
    share = early.most_confident.sum()
    return (
        lead
        + f"The layer with the highest top-1 probability lies before the first informative layer for {100 * share:.0f} % of the {peak.n} items; most often it "
        f"is block {peak.layer + 1} ({100 * peak.most_confident:.0f} %), where the commonest top token is “{peak.token.strip() or '␣'}”, for "
        f"{100 * peak.share:.0f} % of the items. A rule that looks there reads a habit of the network, not the word."
    )


def english_sentences(pooled: pd.DataFrame, by_direction: pd.DataFrame) -> str:
    """Whether English leads in directions without English, against another concept's English word."""
    lines = []
    for (model, lens), rows in pooled.groupby(["model", "lens"], sort=False):
        if not (rows.measure == "english_leads").any():
            continue
        lead, control, gap = (_cell(rows, measure=m) for m in ("english_leads", "control_leads", "advantage"))
        own = by_direction[(by_direction.model == model) & (by_direction.lens == lens) & (by_direction.measure == "advantage")]
        least, most = own.loc[own["mean"].idxmin()], own.loc[own["mean"].idxmax()]
        lines.append(
            f"* {short_name(model)}, {lens} lens: in directions without English, the concept's English word leads in some informative layer before the last for "
            f"{_text(lead)} of the rightly answered words; another concept's English word does for {_text(control)}. The difference is {_text(gap)} "
            f"(n = {gap.n} concepts), from {_text(least)} in {LANGUAGES[least.source_lang]} → {LANGUAGES[least.target_lang]} to {_text(most)} in "
            f"{LANGUAGES[most.source_lang]} → {LANGUAGES[most.target_lang]}. Its interval lies above zero in {(own.low > 0).sum()} of {len(own)} directions."
        )
    return "\n".join(lines)


def winner_sentences(by_direction: pd.DataFrame, n_layers: int) -> str:
    """After which block the target wins, by direction; of one model and lens."""
    wins = by_direction[by_direction.measure == "wins"]
    if wins.empty:
        return "No word whose source and target can be told apart was answered rightly."
    first, last = wins.loc[wins["mean"].idxmin()], wins.loc[wins["mean"].idxmax()]

    def name(row: pd.Series) -> str:
        return (
            f"{LANGUAGES[row.source_lang]} → {LANGUAGES[row.target_lang]} (after block {interval(row['mean'] + 1, row.low + 1, row.high + 1, 1)}, n = {row.n})"
        )

    into_english = wins[wins.target_lang == "en"]["mean"].mean()
    others = wins[wins.target_lang != "en"]["mean"].mean()
    return (
        f"On average over words the target wins earliest in {name(first)} and latest in {name(last)}, of {n_layers} blocks. Averaged over directions, it wins "
        f"after block {into_english + 1:.1f} into English and after block {others + 1:.1f} into the other languages."
        if np.isfinite(into_english) and np.isfinite(others)
        else f"The target wins earliest in {name(first)} and latest in {name(last)}, of {n_layers} blocks."
    )


def lens_sentences(divergence: pd.DataFrame, n_texts: int, n_positions: int) -> str:
    """How much the ridge lens mends, from the divergence by layer (rows of ``by_layer`` over texts)."""
    wide = divergence.pivot(index="layer", columns="lens", values="mean").iloc[:-1]
    gain = wide.raw - wide.ridge
    best = gain.idxmax()
    raw, ridge = (_cell(divergence, layer=best, lens=name) for name in ("raw", "ridge"))
    return (
        f"On {n_texts} held-out sentences ({n_positions} positions) the ridge lens is closer to the model's output than the raw lens in {(gain > 0).sum()} of "
        f"{len(gain)} layers before the last. The largest gain is after block {best + 1}: {_text(ridge)} instead of {_text(raw)} nats."
    )


def conclusion(means: pd.DataFrame, milestones: pd.DataFrame, constants: pd.DataFrame, model: str) -> str:
    """What a reader should take from notebook 02, about the main model.

    Args:
        means: the table ``layer_means``.
        milestones: the table ``milestones``.
        constants: the table ``layer_constants``.
    """
    own = means[(means.model == model) & (means.source_lang == "all") & (means.measure == "information")]
    by_direction, pooled_milestones = (milestones[(milestones.source_lang == "all") == whole] for whole in (False, True))
    constants = constants[constants.model == model]
    first = reaches(own, 1.0)
    raw = pooled_milestones[(pooled_milestones.model == model) & (pooled_milestones.lens == "raw")]
    lines = []
    if first is not None:
        lines.append(f"The answer position of {short_name(model)} tells which word is translated only from block {first + 1} of {len(own)} on.")
        early = constants[constants.layer < first].most_confident.sum()
        lines.append(f"A rule that takes the most confident layer looks, for {100 * early:.0f} % of the items, at a layer that knows nothing of the word yet.")
    if (raw.measure == "advantage").any():
        gap = _cell(raw, measure="advantage")
        verdict = "more often than" if gap.low > 0 else "less often than" if gap.high < 0 else "no more often, as far as this sample can tell, than"
        lines.append(
            f"Between two languages other than English, the concept's English word leads on the way {verdict} another concept's does: "
            f"difference {_text(gap)} (n = {gap.n} concepts)."
        )
        ridge = pooled_milestones[(pooled_milestones.model == model) & (pooled_milestones.lens == "ridge") & (pooled_milestones.measure == "advantage")]
        if len(ridge):
            lines.append(f"With the bias of the lens corrected by the ridge map the difference is {_text(ridge.iloc[0])}.")
    wins = by_direction[(by_direction.model == model) & (by_direction.lens == "raw") & (by_direction.measure == "wins")]
    if len(wins):
        lines.append(f"The target wins late: on average after block {wins['mean'].min() + 1:.1f} to {wins['mean'].max() + 1:.1f}, depending on the direction.")
    return "\n".join(f"* {line}" for line in lines)
