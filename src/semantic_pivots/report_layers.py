"""Prose of notebook 02: every number is taken from a table of :mod:`.layers`."""

from __future__ import annotations

import pandas as pd

from .layers import reaches
from .report import interval, short_name
from .task import LANGUAGES

__all__ = [
    "blank_sentence",
    "information_sentences",
    "constants_sentences",
    "control_sentence",
    "english_sentences",
    "winner_sentences",
    "lens_sentences",
    "conclusion",
]

FEWEST_CONCEPTS = 10  # below that no share is told


def _cell(table: pd.DataFrame, **where) -> pd.Series:
    """The one row of a table with these values."""
    for column, value in where.items():
        table = table[table[column] == value]
    if len(table) != 1:
        raise ValueError(f"{len(table)} rows where {where}, expected one")
    return table.iloc[0]


def _text(row: pd.Series, digits: int = 2) -> str:
    return interval(row["mean"], row.low, row.high, digits)


def blank_sentence(shares: pd.Series, model: str) -> str:
    """How often a model would write a blank before its answer where the item is read before one.

    Args:
        shares: of ``layers.blank_answers``.
    """
    told = [f"{100 * share:.0f} % of the items into {LANGUAGES[la]}" for la, share in shares.items() if share >= 0.005]
    if not told:
        return f"No last layer of {short_name(model)} has a blank token on top."
    return (
        f"In {short_name(model)} a blank token is on top of the last layer for {_listed(told)} (raw lens, all prompt sets). They count as wrong answers, "
        "though the right word may follow: into these languages the correctly answered words are a selection."
    )


def _listed(parts: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def information_sentences(pooled: pd.DataFrame, ceilings: dict[str, float], min_information: float) -> str:
    """Where each model starts to tell the words apart.

    Args:
        pooled: rows of ``by_layer`` with the measure information, by model.
        ceilings: the most a layer could tell, nats, by model.
        min_information: nats from which a layer counts as informative.
    """
    lines = []
    for model, rows in pooled.groupby("model", sort=False):
        last, first = rows.loc[rows.layer.idxmax()], reaches(rows, min_information)
        best = rows.loc[rows["mean"].idxmax()]
        if first is None:
            lines.append(
                f"**{short_name(model)}** (n = {last.n} concepts): no layer holds as much as {min_information:g} nat of information on which word is translated."
            )
            continue
        before = rows[rows.layer < first]
        lead = f"up to block {first} of {len(rows)} the lens shows at most {before['mean'].max():.2f} nats on average; " if len(before) else ""
        lines.append(
            f"**{short_name(model)}** (n = {last.n} concepts): {lead}block {first + 1} is the first with at least {min_information:g} nat, "
            f"{_text(_cell(rows, layer=first))}. The most is told after block {best.layer + 1}, {_text(best)} nats of at most {ceilings[model]:.2f}."
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
    where = (
        f"The layer with the highest top-1 probability is most often block {peak.layer + 1} ({100 * peak.most_confident:.0f} % of the {peak.n} items), where the "
        f"commonest top token is “{peak.token.strip() or '␣'}”, for {100 * peak.share:.0f} % of all items."
    )
    if early.empty:
        return where
    constant = early[early.share >= 0.5]
    tokens = [f"“{t.strip() or '␣'}”" for t in dict.fromkeys(constant.token)]
    named = f" ({', '.join(tokens[:4])}{', …' if len(tokens) > 4 else ''})" if tokens else ""
    share = early.most_confident.sum()
    verdict = " For most items, a rule that looks there reads a habit of the network more than the word." if share > 0.5 else ""
    return (
        f"In {len(constant)} of the {len(early)} layers before the first informative one, one token is on top for more than half of the items{named}. {where} For "
        f"{100 * share:.0f} % of the items the most confident layer lies before the first informative one.{verdict}"
    )


def english_sentences(pooled: pd.DataFrame, by_direction: pd.DataFrame) -> str:
    """Whether English leads in directions without English, against the source word, the fourth language and another concept's English word."""
    lines = []
    for (model, lens), rows in pooled.groupby(["model", "lens"], sort=False):
        if not (rows.measure == "english_leads").any():
            continue
        source, lead, third, control, gap = (_cell(rows, measure=m) for m in ("source_leads", "english_leads", "third_leads", "control_leads", "advantage"))
        if gap.n < FEWEST_CONCEPTS:
            lines.append(
                f"* {short_name(model)}, {lens} lens: only {gap.n} concepts with a right answer in directions without English, too few to say anything."
            )
            continue
        own = by_direction[(by_direction.model == model) & (by_direction.lens == lens) & (by_direction.measure == "advantage")]
        least, most = own.loc[own["mean"].idxmin()], own.loc[own["mean"].idxmax()]
        lines.append(
            f"* {short_name(model)}, {lens} lens: in directions without English, the concept's English word leads in some informative layer before the last for "
            f"{_text(lead)} of the correctly answered words, the source word itself for {_text(source)}, its word in the fourth language for {_text(third)}, another "
            f"concept's English word for {_text(control)}. "
            f"English minus fourth language is {_text(gap)} (n = {gap.n} concepts), from {_text(least)} in {LANGUAGES[least.source_lang]} → "
            f"{LANGUAGES[least.target_lang]} to {_text(most)} in {LANGUAGES[most.source_lang]} → {LANGUAGES[most.target_lang]}; its interval lies above zero in "
            f"{(own.low > 0).sum()} of {len(own)} directions and below in {(own.high < 0).sum()}."
        )
    return "\n".join(lines)


def winner_sentences(by_direction: pd.DataFrame, gaps: pd.DataFrame, n_layers: int) -> str:
    """After which block the target wins, by direction and lens; of one model.

    Args:
        by_direction: of ``layers.milestone_table``.
        gaps: of ``layers.target_gap``.
    """
    lines = []
    for lens, wins in by_direction[by_direction.measure == "wins"].groupby("lens", sort=False):
        first, last = (
            f"{LANGUAGES[r.source_lang]} → {LANGUAGES[r.target_lang]} (after block {interval(r['mean'] + 1, r.low + 1, r.high + 1, 1)}, n = {r.n})"
            for r in (wins.loc[wins["mean"].idxmin()], wins.loc[wins["mean"].idxmax()])
        )
        gap = gaps[gaps.lens == lens]
        later = (
            f" Paired over {gap.n.iloc[0]} concepts, it wins {_text(gap.iloc[0])} blocks later in other languages than in English."
            if len(gap)
            else " No concept was answered correctly both in English and in another language."
        )
        lines.append(f"* {lens} lens: on average over words the target wins earliest in {first} and latest in {last}, of {n_layers} blocks.{later}")
    return "\n".join(lines) or "No word whose source and target can be distinguished was answered correctly."


def control_sentence(means: pd.DataFrame) -> str:
    """The highest mean that a control reaches in any layer and direction; rows of ``layer_means`` of one model and lens."""
    controls = means[means.measure.str.startswith("p_control")]
    return (
        f"The controls lie so close to zero that they can hardly be seen: the highest mean of one, in any layer and direction, is {controls['mean'].max():.4f}."
    )


def lens_sentences(divergence: pd.DataFrame, gains: pd.DataFrame, table: pd.DataFrame, informative_from: int) -> str:
    """How much the ridge lens mends, on text and where answers are given.

    Args:
        divergence: KL by layer, lens and positions (rows of ``by_layer``).
        gains: KL of the raw minus that of the ridge lens, paired, by layer and positions (rows of ``by_layer``).
        table: the table ``lens_divergence``.
        informative_from: first layer that the raw lens can read at all.
    """
    lines = []
    for positions, what in (("text", "held-out sentences, each in four languages"), ("answers", "directions, where the answers are given")):
        part, gain = divergence[divergence.positions == positions], gains[gains.positions == positions].iloc[:-1]
        seen = table[(table.positions == positions) & (table.lens == "raw") & (table.layer == 0)]
        read = gain[gain.layer >= min(informative_from, gain.layer.max())]
        best, worst = read.loc[read["mean"].idxmax()], read.loc[read["mean"].idxmin()]
        raw, ridge = (_cell(part, layer=best.layer, lens=name) for name in ("raw", "ridge"))
        lines.append(
            f"* On {seen.concept_id.nunique()} {what} ({seen.n.sum()} positions; intervals resample the former) the ridge lens is closer to the model's output than "
            f"the raw lens in {(gain['mean'] > 0).sum()} of {len(gain)} layers before the last, the interval of the paired gain above zero in {(gain.low > 0).sum()}. "
            f"Among the layers from the first informative one on, the gain is largest after block {best.layer + 1}, {_text(best)} nats ({raw['mean']:.2f} and "
            f"{ridge['mean']:.2f}), and least after block {worst.layer + 1}, {_text(worst)}."
        )
    return "\n".join(lines)


def conclusion(means: pd.DataFrame, milestones: pd.DataFrame, constants: pd.DataFrame, model: str, min_information: float = 1.0) -> str:
    """What a reader should take from notebook 02, about the main model.

    Args:
        means: the table ``layer_means``.
        milestones: the table ``milestones``.
        constants: the table ``layer_constants``.
        min_information: nats from which a layer counts as informative.
    """
    own = means[(means.model == model) & (means.source_lang == "all") & (means.measure == "information")]
    by_direction, pooled_milestones = (milestones[(milestones.source_lang == "all") == whole] for whole in (False, True))
    constants = constants[constants.model == model]
    first = reaches(own, min_information)
    lines = []
    if first is not None:
        lines.append(f"Averaged over directions, the lens shows which word {short_name(model)} translates from block {first + 1} of {len(own)} on.")
        early = constants[constants.layer < first].most_confident.sum()
        lines.append(f"A rule that takes the most confident layer looks, for {100 * early:.0f} % of the items, at a layer before that.")
    leads: list[float] = []
    for lens in ("raw", "ridge"):
        rows = pooled_milestones[(pooled_milestones.model == model) & (pooled_milestones.lens == lens)]
        if not (rows.measure == "advantage").any():
            continue
        source, lead, third, gap = (_cell(rows, measure=m) for m in ("source_leads", "english_leads", "third_leads", "advantage"))
        own_gap = by_direction[(by_direction.model == model) & (by_direction.lens == lens) & (by_direction.measure == "advantage")]
        verdict = "more often than" if gap.low > 0 else "less often than" if gap.high < 0 else "no more often, as far as this sample can tell, than"
        against = own_gap[own_gap.high < 0] if gap.low > 0 else own_gap[own_gap.low > 0] if gap.high < 0 else own_gap.head(0)
        if len(against):
            named = ", ".join(f"{LANGUAGES[r.source_lang]} → {LANGUAGES[r.target_lang]}" for r in against.itertuples())
            verdict = f"on average {verdict} (but not from {named}, where it is the other way round)"
        lines.append(
            f"Between two languages other than English, by the {lens} lens, the concept's English word leads on the way for {_text(lead)} of the correctly answered "
            f"words, {verdict} its word in the fourth language ({_text(third)}; difference {_text(gap, 3)}, n = {gap.n} concepts; by direction above zero in "
            f"{(own_gap.low > 0).sum()} and below in {(own_gap.high < 0).sum()} of {len(own_gap)}, without correction for their number)."
        )
        lines.append(
            f"By the same lens the *source word itself* leads on the way for {_text(source)}"
            + (": a layer that knows the word may simply repeat it." if source["mean"] > lead["mean"] else ".")
        )
        leads.append(lead["mean"])
    if len(leads) == 2:
        lines.append(
            "So whether a middle layer holds the English word before the answer "
            + (
                f"depends on the lens ({leads[0]:.2f} against {leads[1]:.2f} of the words); looking does not settle how much of the way it is there."
                if max(leads) > 2 * min(leads)
                else f"does not depend on the lens ({leads[0]:.2f} and {leads[1]:.2f} of the words); that the answer goes through it is not shown by looking."
            )
        )
    wins = by_direction[(by_direction.model == model) & (by_direction.measure == "wins")]
    if len(wins):
        ranges = [f"{w['mean'].min() + 1:.1f} to {w['mean'].max() + 1:.1f} by the {lens} lens" for lens, w in wins.groupby("lens", sort=False)]
        lines.append(f"The target wins, on average over words, after block {' and '.join(ranges)}, of {len(own)}, depending on the direction.")
    return "\n".join(f"* {line}" for line in lines)
