"""Text and tables of notebook 05, training and verdict: every number in its prose is computed here from an artifact."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .artifacts import Store
from .association import holm
from .figures_transfer import OUTCOME_NAMES, arm_name
from .followup import BORROWED, CLAIM, PLACEBO, claim_rows
from .report import chance_mrr, interval, p_value
from .task import LANGUAGES

TOLD = {("heldout", "log_ratio"): "log-ratio", ("heldout", "mrr"): "MRR", ("parallel", "sentence_gain"): "what a sentence gains from its source"}
ALIKE = 0.15  # largest gap between shares of the difference and of the base that are called alike

__all__ = [
    "ability_sentences",
    "training_sentences",
    "contrast_table",
    "verdict",
    "power_sentences",
    "level_sentence",
    "direction_sentence",
    "sentence_table",
    "against_base",
    "poorest_sentence",
    "with_variations",
    "variation_sentences",
    "cost_sentences",
    "larger_runs",
    "larger_sentences",
    "missing_sentence",
    "run_table",
    "placebo_sentences",
    "placebo_arms_sentence",
    "replication_sentences",
    "replication_details",
    "spelling_sentence",
    "conclusion",
]


def ability_sentences(ability: pd.DataFrame, signature: str) -> str:
    """Whether the base can translate sentences at all."""
    able = ability[ability.able]
    text = (
        f"Greedy translations of {ability.n.min()} short sentences per direction reach chrF++ {ability.chrf.min():.1f} to {ability.chrf.max():.1f}; against the reference of *another* "
        f"sentence they reach {ability.chrf_other.min():.1f} to {ability.chrf_other.max():.1f}, and the untranslated source {ability.chrf_copy.min():.1f} to {ability.chrf_copy.max():.1f} "
        f"(`{signature}`). "
    )
    if len(able):
        pairs = ", ".join(f"{r.source_lang} → {r.target_lang}" for r in able.itertuples())
        return text + f"The interval of the difference lies above two points in {pairs}; there the arms are compared."
    return text + (
        f"The largest difference to another's reference is {interval(*ability.sort_values('difference').iloc[-1][['difference', 'ci_low', 'ci_high']], 1)} points; in no direction does "
        "the interval lie above two. **That this base can translate sentences was not shown**, and chrF++ would compare noise. What a sentence's own translation adds to its probability is measured instead."
    )


def training_sentences(training: pd.DataFrame, recipe) -> str:
    """What was run."""
    runs = training[training.arm != "none"].groupby(["arm", "seed"]).agg(steps=("step", "max"), tokens=("tokens", "max"), speed=("tokens_per_s", "median"))
    spread = runs.tokens.max() / runs.tokens.min() - 1
    return (
        f"{len(runs)} runs of {runs.tokens.median() / 1e3:.0f} thousand tokens ({runs.steps.min()} to {runs.steps.max()} steps of {recipe.batch_rows} × {recipe.context}; arms differ by at most "
        f"{100 * spread:.1f} % in tokens), {recipe.optimizer} at {recipe.lr:g}, falling linearly to zero; {runs.speed.median():.0f} tokens per second."
    )


def _contrast(row: pd.Series, digits: int = 3) -> str:
    return f"{row.estimate:+.{digits}f} [{row.mixed_low:+.{digits}f}, {row.mixed_high:+.{digits}f}]"


def contrast_table(contrasts: pd.DataFrame, split: str, outcomes: tuple[str, ...] = ("log_ratio", "score", "mrr", "top1")) -> pd.DataFrame:
    """Contrasts with their mixed-model intervals, an outcome a column."""
    part, rows = contrasts[contrasts.split == split], []
    for (arm, reference), group in part.groupby(["arm", "reference"], sort=False):
        by = group.set_index("outcome")
        main = by.loc[outcomes[0]]
        row = {"contrast": f"{arm_name(arm)} − {arm_name(reference)}", "n": main.n, "seeds": main.n_seeds}
        row |= {OUTCOME_NAMES.get(o, o): _contrast(by.loc[o], 4 if o == "score" else 3) for o in outcomes if o in by.index}
        rows.append(row | {"p": f"{main.p:.4f}" if main.p >= 0.0001 else "< 0.0001", "Holm": "" if np.isnan(main.p_holm) else f"{main.p_holm:.4f}"})
    return pd.DataFrame(rows)


def verdict(contrasts: pd.DataFrame, alpha: float = 0.05) -> str:
    """The fixed tests in words, whichever way they turned out."""
    main = contrasts[contrasts.confirmatory]
    if main.empty:
        return "None of the contrasts that were fixed can be formed from the arms of this run."
    lines = []
    for row in main.itertuples():
        way, apart = "higher" if row.estimate > 0 else "lower", row.mixed_low > 0 or row.mixed_high < 0
        word = (
            way
            if row.p_holm < alpha
            else f"{way} by the interval, but not after Holm,"
            if apart
            else "neither higher nor lower, as far as this design can tell,"
        )
        lines.append(
            f"The log-ratio of held-out words is {word} after *{arm_name(row.arm)}* than after *{arm_name(row.reference)}*: {_contrast(row)} nats "
            f"({p_value(row.p)}, Holm {p_value(row.p_holm)}; {row.n} concepts, {row.n_seeds} seeds; over concepts alone [{row.ci_low:+.3f}, {row.ci_high:+.3f}])."
        )
    return " ".join(lines)


def power_sentences(contrasts: pd.DataFrame) -> str:
    """The smallest effects the design could see, beside an effect that is there."""
    main = contrasts[contrasts.confirmatory]
    if main.empty:
        return ""
    text = f"With these concepts and seeds, a difference of {main.detectable.min():.3f} to {main.detectable.max():.3f} nats is found four times in five (two-sided, at Holm's first step). "
    best = contrasts[(contrasts.split == "heldout") & (contrasts.outcome == "log_ratio") & (contrasts.reference == "none")]
    if len(best):
        row = best.loc[best.estimate.abs().idxmax()]
        text += f"For scale: the largest difference between an arm and the base without further training is {_contrast(row)} ({arm_name(row.arm)})."
    return text


def level_sentence(outcomes: pd.DataFrame, again: pd.DataFrame | None = None) -> str:
    """What the base has before further training, the scale of all differences; "" without it.

    Args:
        outcomes: of ``comparison.outcome_table``.
        again: of ``followup.replicated``, for the size of the claim's difference.
    """
    base = outcomes[(outcomes.arm == "none") & (outcomes.split == "heldout")]
    if base.empty:
        return ""
    ratio, ranks = base.log_ratio.mean(), base.groupby(["source_lang", "target_lang"]).mrr.mean()
    text = (
        f"For scale, the base without further training on held-out words ({base.concept_id.nunique()} concepts): log-ratio {ratio:.3f} nats per token, MRR {ranks.mean():.3f} "
        f"({ranks.min():.3f} in {' → '.join(ranks.idxmin())}, the lowest direction; chance {chance_mrr():.3f})."
    )
    if (row := _replication(again)) is not None:
        text += f" The difference that was run again is {abs(row.estimate) / ratio:.0%} of that log-ratio."
    return text


def direction_sentence(each: pd.DataFrame) -> str:
    """In which directions the claim's contrast is largest and smallest, on held-out words.

    Args:
        each: of ``followup.by_direction``.
    """
    own = each[each.split == "heldout"].sort_values("estimate")
    if len(own) < 4:
        return ""

    def named(rows: pd.DataFrame) -> str:
        return " and ".join(f"{r.direction.replace('-', ' → ')} ({r.estimate:+.3f} [{r.low:+.3f}, {r.high:+.3f}])" for r in rows.itertuples())

    return (
        f"On held-out words ({own.n_seeds.max()} seeds) its interval lies above zero in {(own.low > 0).sum()} of {len(own)} directions and below in {(own.high < 0).sum()}; it is largest in "
        f"{named(own.iloc[:-3:-1])} and smallest in {named(own.head(1))}. The mean of the {len(own) - 2} other directions than the first two is {own.estimate.iloc[:-2].mean():+.3f}."
    )


def sentence_table(contrasts: pd.DataFrame) -> pd.DataFrame:
    """All contrasts on sentences: what the source sentence adds to the probability of its translation, and chrF++ where the base translates at all."""
    known = [o for o in ("sentence_gain", "chrf") if ((contrasts.split == "parallel") & (contrasts.outcome == o)).any()]
    return contrast_table(contrasts, "parallel", tuple(known)).drop(columns="Holm") if known else pd.DataFrame()


def against_base(contrasts: pd.DataFrame, run: str = "") -> str:
    """How many trained arms do better or worse than the base, by the intervals of three outcomes; ``run`` names another run."""
    names = {
        ("heldout", "log_ratio"): "log-ratio of held-out words",
        ("heldout", "mrr"): "their MRR",
        ("parallel", "sentence_gain"): "what a sentence gains from its source",
    }
    base, said = contrasts[contrasts.reference == "none"].set_index(["split", "outcome"]), []
    for key, name in names.items():
        if key in base.index:
            rows = base.loc[[key]]
            better, worse = rows[rows.mixed_low > 0], rows[rows.mixed_high < 0]
            who = f" ({', '.join(f'*{arm_name(a)}*' for a in better.arm)})" if len(better) else ""
            said.append(f"by {name} {len(better) or 'none'} of {len(rows)} trained arms better{who}, {len(worse) or 'none'} worse")
    where = f" in the run `{run}`" if run else ""
    return f"**Against the base without further training{where},** by intervals not corrected for their number: {'; '.join(said)}." if said else ""


def _variations(contrasts: pd.DataFrame) -> pd.Series:
    """Which rows compare a variation of the pivot arm with its own match, by the outcome and words that were fixed for it."""
    own = (contrasts.split == "heldout") & (contrasts.outcome == "log_ratio") & ~contrasts.confirmatory
    return own & contrasts.arm.str.startswith("pivot_") & contrasts.reference.str.startswith("matched")


def with_variations(contrasts: pd.DataFrame) -> pd.DataFrame:
    """The contrasts with those that were fixed for a run of variations marked ``confirmatory`` as well, for the figure."""
    return contrasts.assign(confirmatory=contrasts.confirmatory | _variations(contrasts))


def variation_sentences(contrasts: pd.DataFrame, again: pd.DataFrame | None = None, alpha: float = 0.05) -> str:
    """Variations of the pivot arm, each beside its own match; Holm over them.

    Args:
        contrasts: of ``comparison.contrasts``.
        again: of ``followup.replicated``, for the size of the main arm's difference.
    """
    if (part := contrasts[_variations(contrasts)]).empty:
        return ""
    adjusted = holm(part.p.to_numpy())
    rows = "; ".join(f"{arm_name(r.arm)} {_contrast(r)} ({p_value(r.p)}, Holm {p_value(q)})" for r, q in zip(part.itertuples(), adjusted))
    found = int((adjusted < alpha).sum())
    return (
        f"Variations, each against documents of its own languages, sources and lengths: {rows}; {found} of {len(part)} differ{'s' if found == 1 else ''} after Holm. "
        f"A difference of {part.detectable.min():.3f} to {part.detectable.max():.3f} nats would be found four times in five without that correction"
        + (f"; the main arm's, run again, was {main.estimate:+.3f}." if (main := _replication(again)) is not None else ".")
    )


def _replication(again: pd.DataFrame | None) -> pd.Series | None:
    """The claim's row of the replication, None where there is none."""
    rows = None if again is None else claim_rows(again).set_index("run")
    return rows.loc["replication"] if rows is not None and "replication" in rows.index else None


def comparison_sentences(contrasts: pd.DataFrame) -> str:
    """Arms that are compared without a hypothesis: direct meetings and poverty in pivots."""
    part = contrasts[(contrasts.split == "heldout") & (contrasts.outcome == "log_ratio")].set_index(["arm", "reference"])
    pairs = [("pivot_mixed", "bilingual"), ("direct", "bilingual"), ("anti_pivot", "random"), ("bilingual", "random")]
    said = [f"{arm_name(a)} − {arm_name(b)} {_contrast(part.loc[a, b])} ({p_value(part.loc[a, b].p)})" for a, b in pairs if (a, b) in part.index]
    gains = contrasts[(contrasts.split == "parallel") & (contrasts.outcome == "sentence_gain")].set_index(["arm", "reference"])
    told = [f"{arm_name(a)} − {arm_name(b)} {_contrast(gains.loc[a, b])}" for a, b in pairs if (a, b) in gains.index]
    text = f"For comparison: {'; '.join(said)}." if said else ""
    return f"{text} In what a sentence gains from its source (nats per token): {'; '.join(told)}.".lstrip() if told else text


def poorest_sentence(contrasts: pd.DataFrame, variations: pd.DataFrame) -> str:
    """Documents poorest in pivots beside those richest in them, each against random ones; "" without these arms.

    Args:
        contrasts: of ``comparison.contrasts``, of the run with the claim's arm.
        variations: the same of the run with the arm `anti_pivot`.
    """
    rich, poor = (
        t[(t.split == "heldout") & (t.outcome == "log_ratio") & (t.arm == arm) & (t.reference == "random")]
        for t, arm in ((contrasts, CLAIM[0]), (variations, "anti_pivot"))
    )
    if rich.empty or poor.empty:
        return ""
    rich, poor = rich.iloc[0], poor.iloc[0]
    text = f"Against random documents, in log-ratio of held-out words: *{arm_name(CLAIM[0])}* {_contrast(rich)}, and the documents *poorest* in them {_contrast(poor)} ({p_value(poor.p)}, {poor.n_seeds} seeds)."
    if poor.mixed_low > 0 and poor.estimate > rich.estimate / 2:
        text += " **Poverty in pivots does much the same as richness,** so a gain over random documents says nothing of pivots; what both have in common against these was not tested."
    return text


def cost_sentences(transfer: pd.DataFrame) -> str:
    """Losses on text of one language after training, against the base: English first."""
    losses = transfer[(transfer.metric == "loss") & (transfer.split == "val")]
    base = losses[losses.arm == "none"].set_index("target_lang").value
    change = (
        losses[losses.arm != "none"]
        .assign(change=lambda t: t.value - t.target_lang.map(base))
        .groupby(["arm", "target_lang"], sort=False)
        .change.mean()
        .unstack()
    )
    english = change["en"].sort_values()
    parts = ", ".join(f"{arm_name(a)} {v:+.3f}" for a, v in english.items())
    worst = change.stack().idxmax()
    return (
        f"English, loss on held-out documents against the base (nats per token): {parts}; in perplexity the best arm goes from {np.exp(base['en']):.1f} to "
        f"{np.exp(base['en'] + english.min()):.1f}. The least favorable change of all is that of {LANGUAGES[worst[1]]} after "
        f"*{arm_name(worst[0])}* ({change.loc[worst[0], worst[1]]:+.3f}). {_claim_cost(transfer)}"
    ).rstrip()


def _more_loss(transfer: pd.DataFrame) -> pd.Series:
    """Loss of the claim's arm less that of its match by split and language, mean over seeds; empty without these arms."""
    means = transfer[transfer.metric == "loss"].groupby(["split", "target_lang", "arm"]).value.mean().unstack()
    return means[CLAIM[0]] - means[CLAIM[1]] if set(CLAIM) <= set(means) else pd.Series(dtype=float)


def _claim_cost(transfer: pd.DataFrame) -> str:
    """How much more the claim's arm loses on text of each language than its match does, "" without these arms."""
    if (more := _more_loss(transfer)).empty:
        return ""
    names, said = {"val": "documents", "parallel": "parallel sentences"}, []
    for split, name in names.items():
        if split in more.index:
            said.append(f"on held-out {name} {', '.join(f'{LANGUAGES[la]} {more[split][la]:+.2f}' for la in LANGUAGES if la in more[split])}")
    return f"The loss of *{arm_name(CLAIM[0])}* less that of *{arm_name(CLAIM[1])}* (nats per token; above zero it is worse): {'; '.join(said)}."


def larger_runs(profiles: list[str]) -> dict[str, pd.DataFrame]:
    """Contrasts of other profiles whose results are there, by profile."""
    return {name: store.read("transfer_contrasts") for name in profiles if (store := Store(name)).exists("transfer_contrasts")}


def larger_sentences(name: str, contrasts: pd.DataFrame, again: pd.DataFrame | None = None) -> str:
    """What another profile's run came to."""
    fixed = [verdict(contrasts), power_sentences(contrasts)] if contrasts.confirmatory.any() else []
    said = [*fixed, variation_sentences(contrasts, again), comparison_sentences(contrasts), against_base(contrasts)]
    return " ".join([f"**{name}.**", *filter(None, said)])


def missing_sentence(profiles: list[str]) -> str:
    """How to make the runs that are not there, "" if all are."""
    made = {"smollm2": "`python -m semantic_pivots.transfer`"}
    rows = [f"`{p}` ({made.get(p, f'`python -m semantic_pivots.run --profile {p} --only 05`')})" for p in profiles]
    return f"Not run yet: {', '.join(rows)}; `make all` then shows them here." if rows else ""


def run_table(profile: str, name: str = "transfer_outcomes") -> pd.DataFrame | None:
    """A table of another profile's run, None where it is not there."""
    return Store(profile).read(name) if profile and Store(profile).exists(name) else None


def replication_sentences(table: pd.DataFrame, alpha: float = 0.05) -> str:
    """What the one hypothesis of the replication came to, and what becomes of either arm against the base; "" where there is none.

    Args:
        table: of ``followup.replicated``.
    """
    rows = claim_rows(table).set_index("run")
    if "replication" not in rows.index:
        return ""
    row, pooled = rows.loc["replication"], rows.loc["all runs"]
    numbers = f"{_contrast(row)} nats, {p_value(row.p)}, {row.n} concepts, {row.n_seeds} new seeds"
    if row.p < alpha:
        text = f"**Run again with new seeds for this one hypothesis, the difference is {'there again' if row.estimate > 0 else 'there, the other way round'}** ({numbers}"
    else:
        text = f"**Run again with new seeds for this one hypothesis, no difference was found** ({numbers}; one of {row.detectable:.3f} would be found four times in five"
    borrowed = table[table.run == BORROWED]
    if len(borrowed):
        text += f"; were its runs as variable as those of the first run's arms, {p_value(borrowed.p.iloc[0])}"
    text += f"). It was {_contrast(rows.loc['first run'])} in the first run; over all {pooled.n_seeds} seeds, those that led to the replication counted in, it is {_contrast(pooled)}."
    return f"{text} {_arms_against_base(table)}".rstrip()


def _arms_against_base(table: pd.DataFrame) -> str:
    """Both arms of the replication against the base, on three outcomes."""
    base = table[(table.run == "replication") & (table.reference == "none")].set_index(["arm", "split", "outcome"])
    said = []
    for key, name in TOLD.items():
        if all((a, *key) in base.index for a in CLAIM):
            said.append(f"{name} {_contrast(base.loc[(CLAIM[0], *key)])} and {_contrast(base.loc[(CLAIM[1], *key)])}")
    return f"Against the base without further training *{arm_name(CLAIM[0])}* and *{arm_name(CLAIM[1])}* have: {'; '.join(said)}." if said else ""


def replication_details(table: pd.DataFrame, alpha: float = 0.05) -> str:
    """What the replication shows beside its hypothesis, "" where there is none.

    Args:
        table: of ``followup.replicated``.
    """
    rows = table[(table.run == "replication") & (table.reference == CLAIM[1])].set_index(["split", "outcome"])
    if rows.empty:
        return ""
    names = {("never", "log_ratio"): "on words that never meet", ("seen", "log_ratio"): "on words that may meet", ("heldout", "score"): "Score"}
    names |= {("heldout", "mrr"): "MRR", ("heldout", "top1"): "top-1", ("parallel", "sentence_gain"): "what a sentence gains from its source, nats per token"}
    said = [f"{name} {_contrast(rows.loc[key], 4 if key[1] == 'score' else 3)}" for key, name in names.items() if key in rows.index]
    return f"Beside the hypothesis, by the new seeds: {'; '.join(said)}. {_limits(table, alpha)}".rstrip()


def _limits(table: pd.DataFrame, alpha: float) -> str:
    """What the replicated difference in log-ratio does not come with."""
    part, text = table[table.reference == CLAIM[1]].set_index(["run", "split", "outcome"]), []
    rank, first = (part.loc[(run, "heldout", "mrr")] if (run, "heldout", "mrr") in part.index else None for run in ("replication", "first run"))
    if rank is not None and part.loc[("replication", "heldout", "log_ratio")].p < alpha <= rank.p:
        text.append(f"No change of ranks was found (MRR {_contrast(rank)}; in the first run {_contrast(first)}).")
    key = ("replication", "parallel", "sentence_gain")
    gain = part.loc[key] if key in part.index else None
    if gain is not None and gain.p < alpha and np.sign(gain.estimate) != np.sign(part.loc[("replication", "heldout", "log_ratio")].estimate):
        text.append(f"**Sentences go the other way:** what they gain from their source changes by {_contrast(gain)} nats per token.")
    return " ".join(text)


def placebo_sentences(table: pd.DataFrame, alpha: float = 0.05) -> str:
    """Whether a choice by words that are no pivots does the same; "" where it was not made.

    Args:
        table: of ``followup.against_placebo``.
    """
    if table.empty:
        return ""
    rows = table[(table.split == "heldout") & (table.outcome == "log_ratio")].set_index("run")
    own, other, apart = (rows.loc[name] for name in PLACEBO)
    numbers = f"({_contrast(apart)} nats, {p_value(apart.p)}, {apart.n} concepts, {apart.n_seeds} seeds; one of {apart.detectable:.3f} would be found four times in five)"
    if apart.p < alpha and apart.estimate > 0:
        verdict = f"**Not any choice by words does it:** the pivots' difference is larger than that of words that are no pivots {numbers}."
    elif apart.p < alpha:
        verdict = f"**Words that are no pivots do better:** the pivots' difference less theirs is below zero {numbers}."
    else:
        verdict = f"**That not any choice by words does it is not shown:** the pivots' difference less that of words that are no pivots is not told from zero {numbers}."
    found = (
        "it is there with them too"
        if other.p < alpha and other.estimate > 0
        else "it is below zero with them"
        if other.p < alpha
        else "with them none was found"
    )
    text = f"{verdict} Chosen by such words, drawn anew for each seed, documents and their own match differ by {_contrast(other)} ({p_value(other.p)}): {found}. With our pivots, the same seeds: {_contrast(own)}."
    names = {
        ("heldout", "mrr"): "MRR",
        ("never", "log_ratio"): "log-ratio of words that never meet",
        ("parallel", "sentence_gain"): "what a sentence gains from its source",
    }
    wide = table.set_index(["run", "split", "outcome"])
    said = [
        f"{name} {_contrast(wide.loc[(PLACEBO[1], *key)])} (ours less theirs {_contrast(wide.loc[(PLACEBO[2], *key)])})"
        for key, name in names.items()
        if (PLACEBO[1], *key) in wide.index
    ]
    return f"{text} Beside the hypothesis, with words that are no pivots: {'; '.join(said)}." if said else text


def placebo_arms_sentence(composition: pd.DataFrame | None) -> str:
    """What the documents of the control are, beside our pivots'; "" where it was not made.

    Args:
        composition: the table ``selection_arms`` of the control's run.
    """
    if composition is None:
        return ""
    rows = composition.set_index("arm")
    own, match, ours, theirs = (rows.loc[a] for a in ("pivot_placebo", "matched_placebo", "pivot_npmi", "matched"))
    la = max(LANGUAGES, key=lambda la: own[f"share_{la}"])
    return (
        f"In the first draw, words that are no pivots make up {own.pivots_placebo:.2f} of a document's words where they were asked for and {match.pivots_placebo:.2f} in the match "
        f"(our pivots: {ours.pivots_npmi:.2f} and {theirs.pivots_npmi:.2f}). Pivots make up {own.pivots_npmi:.2f} and {match.pivots_npmi:.2f} there, so the control is also a choice "
        f"{'against' if own.pivots_npmi < match.pivots_npmi else 'for'} pivots. Its documents differ from ours in languages and sources: {LANGUAGES[la]} has {own[f'share_{la}']:.0%} of its tokens "
        f"and {ours[f'share_{la}']:.0%} of ours. Each choice is compared with a match of its own languages and sources only."
    )


def spelling_sentence(spelled: pd.DataFrame) -> str:
    """Where the difference is, by how the two words are written, in the last run of the table; "" where there is none.

    Args:
        spelled: of ``followup.by_spelling``.
    """
    if spelled.empty:
        return ""
    rows = spelled[spelled.run == spelled.run.iloc[-1]].set_index("spelling")
    names = {"identical": "the same string", "alike": "spelled alike", "otherwise": "the same script, spelled otherwise", "another script": "two scripts"}
    said = [
        f"{names[r.Index]} {_spelled(r)} (n = {r.n}; {100 * r.share:.0f} % of the difference, {100 * r.base_share:.0f} % of what the base has)"
        for r in rows.itertuples()
        if r.Index in names
    ]
    text = f"By spelling, looked at after the result ({rows.n_seeds.iloc[0]} seeds, nats): {'; '.join(said)}."
    left = [
        f"{_spelled(rows.loc[k])} without the {name}"
        for k, name in (("all but identical", "same strings"), ("all but identical and alike", "alike ones too"))
        if k in rows.index
    ]
    if left:
        text += f" Left of the difference: {', '.join(left)}."
    parts = rows[rows.index.isin(names)]
    gap = np.abs(parts.share - parts.base_share).max()
    if len(parts) > 1 and gap < ALIKE:
        text += (
            f" **The difference lies where the base already has most** (its shares and the base's are at most {100 * gap:.0f} points apart). So a distribution that is merely sharper would look like this too, the more so where ranks do "
            "not change."
        )
    return text


def _spelled(row: pd.Series) -> str:
    return f"{row.estimate:+.3f} [{row.low:+.3f}, {row.high:+.3f}]"


def _in_short(table: pd.DataFrame, transfer: pd.DataFrame | None, alpha: float) -> str:
    """The replication in one sentence: the claim's arm against its match and against the base, outcome by outcome.

    Args:
        table: of ``followup.replicated``.
        transfer: the table of that name, for the losses.
    """
    rows = table[table.run == "replication"].set_index(["arm", "reference", "split", "outcome"])

    def said(reference: str) -> str:
        words = []
        for key, name in TOLD.items():
            if (index := (CLAIM[0], reference, *key)) in rows.index:
                row = rows.loc[index]
                words.append(f"{name} {('higher' if row.estimate > 0 else 'lower') if row.p < alpha else 'not distinguished'}")
        return ", ".join(words)

    text = f"**In short,** what *{arm_name(CLAIM[0])}* do, against documents of the same languages, sources and lengths: {said(CLAIM[1])}"
    if transfer is not None and len(more := _more_loss(transfer)):
        text += f", loss higher on {int((more > 0).sum())} of {len(more)} texts (two kinds in each language)"
    return f"{text}. Against no further training: {said('none')}."


def conclusion(
    contrasts: pd.DataFrame,
    larger: dict[str, pd.DataFrame],
    again: pd.DataFrame | None = None,
    spelled: pd.DataFrame | None = None,
    transfer: pd.DataFrame | None = None,
    placebo: pd.DataFrame | None = None,
    brief: bool = False,
    alpha: float = 0.05,
) -> str:
    """What becomes of the claim in the paper's title.

    Args:
        contrasts: of ``comparison.contrasts``.
        larger: of :func:`larger_runs`.
        again: of ``followup.replicated``.
        spelled: of ``followup.by_spelling``.
        transfer: the table of that name.
        placebo: of ``followup.against_placebo``.
        brief: without the other arms, and what the variations found.
    """
    main = contrasts[contrasts.confirmatory].set_index(["arm", "reference"])
    key = ("pivot_npmi", "matched")
    if key not in main.index:
        return "This run holds neither the pivot arm nor its match; it says nothing of the claim."
    row, equal = main.loc[key], "at equal tokens, languages, sources and lengths, on words whose translation it never shows"
    numbers = f"{_contrast(row)} nats, {p_value(row.p)}, Holm {p_value(row.p_holm)}, {row.n} concepts, {row.n_seeds} seeds"
    if row.p_holm < alpha:
        text = f"**A set chosen by pivots does {'help' if row.estimate > 0 else 'harm'}**, {equal} ({numbers})."
    elif row.mixed_low > 0:
        text = f"**That a set chosen by pivots helps is suggested, not shown**, {equal}: its interval lies above zero, but not after the correction for the other hypotheses that "
        text += f"were fixed with it ({numbers}; a difference of {row.detectable:.3f} would be found four times in five)."
    else:
        text = (
            f"**That a set chosen by pivots helps was not found**, {equal} ({numbers}; a difference of {row.detectable:.3f} would be found four times in five)."
        )
    parts = [text]
    if again is not None and (said := replication_sentences(again, alpha)):
        led = f"What led to it: {text.replace('**', '')}"
        parts = [_in_short(again, transfer, alpha), said, led, _limits(again, alpha)]  # the replication's verdict is that of its own seeds
    if placebo is not None:
        parts.append(placebo_sentences(placebo, alpha))
    if spelled is not None:
        parts.append(spelling_sentence(spelled))
    if not brief:
        parts += _other_arms(contrasts, main, transfer, alpha)
    for name, table in larger.items():
        other = table[(table.split == "heldout") & (table.outcome == "log_ratio") & (table.arm == "pivot_npmi") & (table.reference == "matched")]
        if len(other):
            before = row.estimate if again is None or (own := claim_rows(again)).empty else own.estimate.iloc[-1]
            otherwise = other.p.iloc[0] < alpha and np.sign(other.estimate.iloc[0]) != np.sign(before)
            parts.append(
                f"{'**Another run says otherwise.** ' if otherwise else ''}The run `{name}` has {_contrast(other.iloc[0])} for the same contrast ({p_value(other.iloc[0].p)}, "
                f"{other.iloc[0].n} concepts, {other.iloc[0].n_seeds} seeds)."
            )
        elif brief:
            parts.append(poorest_sentence(contrasts, table))
        else:
            parts += [variation_sentences(table, again), poorest_sentence(contrasts, table), against_base(table, name)]
    return "\n".join(f"* {p}" for p in parts if p)


def _other_arms(contrasts: pd.DataFrame, main: pd.DataFrame, transfer: pd.DataFrame | None, alpha: float) -> list[str]:
    """What the claim's arm costs, and how the other arms do; ``main`` has the fixed contrasts by arm and reference."""
    parts = []
    if transfer is not None:
        parts.append(_claim_cost(transfer))
    if ("pivot_paper", "matched_paper") in main.index:
        paper = main.loc[("pivot_paper", "matched_paper")]
        found = ("helps" if paper.estimate > 0 else "harms") if paper.p_holm < alpha else "makes no difference that was found"
        parts.append(
            f"Chosen as in the paper, by our reading of it, with {paper.n_seeds} seeds and not run again, it {found} ({_contrast(paper)}; one of {paper.detectable:.3f} would be found four times in five)."
        )
    mixed = main[main.index.get_level_values("reference") == "bilingual"]
    who = {2: "Both", 1: "It"}.get(len(mixed))
    if len(mixed) and (mixed.p_holm < alpha).all() and ((mixed.estimate < 0).all() or (mixed.estimate > 0).all()):
        compared = f"{who} do{'' if len(mixed) == 2 else 'es'} {'better' if mixed.estimate.iloc[0] > 0 else 'worse'}"
        parts.append(f"{compared} than documents drawn blindly from those with two languages, which differ from the chosen ones in languages and sources too.")
    part = contrasts[(contrasts.split == "heldout") & (contrasts.outcome == "log_ratio")].set_index(["arm", "reference"])
    drawn = [
        f"{arm_name(a)} {_contrast(part.loc[a, 'random'])}" for a in ("pivot_npmi", "matched", "pivot_paper", "matched_paper") if (a, "random") in part.index
    ]
    if drawn:
        parts.append(f"Against documents drawn from all, sources and languages left free, and not among the fixed tests: {', '.join(drawn)}.")
    parts.append(against_base(contrasts))
    return parts
