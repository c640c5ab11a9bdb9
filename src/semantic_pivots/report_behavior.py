"""Prose of notebook 03: every number is taken from a table of the notebook."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from .association import share_interval
from .attribution import FEW
from .behavior import BEHAVIORS, RULES
from .behavior import shares as label_shares
from .report import interval, p_value, short_name
from .task import LANGUAGES

__all__ = [
    "share_sentences",
    "pivot_share_text",
    "any_layer_share",
    "any_layer_text",
    "lens_table",
    "right_sentence",
    "language_sentences",
    "agreement_table",
    "mass_sentence",
    "meetings",
    "meeting_sentence",
    "correlation_sentences",
    "auc_sentences",
    "delta_table",
    "ablation_table",
]
__all__ += ["regression_table", "replication_sentences", "curve_sentences", "conclusion", "incomplete"]

LEASTS = (1, 5, 20)
CONSTANT = 0.5  # share of a rule's pivots from which its two commonest tokens are named


def incomplete(failed: tuple[tuple[str, str], ...]) -> str:
    """A warning that names the shards that were not counted; empty if all were."""
    names = "; ".join(f"`{name}` ({error})" for name, error in failed)
    return f"**Incomplete:** not counted were {names}. Every count below is too low." if failed else ""


def share_sentences(shares: pd.DataFrame) -> str:
    """Share of pivot among the two behaviors, by rule, over all directions; one model."""
    lines = []
    for row in shares[shares.source_lang == "all"].itertuples():
        items = row.n_cooccurrence + row.n_pivot
        if not items:
            lines.append(f"* **{row.rule}**: no item of either behavior; {row.n_wrong} items wrong, {row.n_excluded} excluded.")
            continue
        parts = shares[(shares.rule == row.rule) & (shares.source_lang != "all")].pivot_share.dropna()
        across = f", by direction {parts.min():.2f} to {parts.max():.2f}" if len(parts) else ""
        lines.append(
            f"* **{row.rule}**: pivot {interval(row.pivot_share, row.low, row.high)} of {items} items with either behavior{across}; "
            f"{f'{row.n_wrong} items wrong' if row.rule == 'robust' else 'answers not checked'}, {row.n_excluded} excluded.{_commonest(row)}"
        )
    if unreadable := int(shares[shares.source_lang == "all"].n_unreadable.max()):
        lines.append(f"* {unreadable} items have a word that the tokenizer begins with a part of a character; no rule can use them.")
    return "\n".join(lines)


def pivot_share_text(behaviors: pd.DataFrame, n: bool = True) -> str:
    """Share of pivot among the labelled items of one model, lens and rule, in words; with its interval and ``n``, or alone."""
    if behaviors.empty:
        return "–"
    row = label_shares(behaviors).query("source_lang == 'all'").iloc[0]
    if not np.isfinite(row.pivot_share):
        return "–"
    return f"{interval(row.pivot_share, row.low, row.high)} (n = {row.n_cooccurrence + row.n_pivot})" if n else f"{row.pivot_share:.2f}"


def any_layer_share(behaviors: pd.DataFrame) -> tuple[float, float, float]:
    """Share, with its interval, of the items with either behavior by the robust rule of which some informative layer has a token of neither word on top.

    Args:
        behaviors: labelled items of one model and lens.
    """
    two = behaviors[(behaviors.rule == "robust") & behaviors.label.isin(BEHAVIORS)]
    return share_interval(two.any_third.to_numpy(bool), two.concept_id.to_numpy()) if len(two) else (np.nan,) * 3


def any_layer_text(behaviors: pd.DataFrame) -> str:
    """:func:`any_layer_share` by lens, as text; labelled items of one model and prompt set."""
    found = {lens: any_layer_share(part) for lens, part in behaviors.groupby("lens", sort=False, observed=True)}
    return ", ".join(f"{interval(*share)} ({lens} lens)" for lens, share in found.items() if np.isfinite(share[0]))


def lens_table(behaviors: pd.DataFrame) -> pd.DataFrame:
    """Shares of pivot by lens and rule, over all directions and over those without English; labelled items of one model and prompt set."""
    apart = behaviors[(behaviors.source_lang != "en") & (behaviors.target_lang != "en")]
    rows = []
    for lens in behaviors.lens.unique():
        for where, items in (("all", behaviors), ("without English", apart)):
            items = items[items.lens == lens]
            found = any_layer_share(items)
            row = {"lens": lens, "directions": where} | {rule: pivot_share_text(items[items.rule == rule]) for rule in RULES}
            rows.append(row | {"robust, any layer": interval(*found) if np.isfinite(found[0]) else "–"})
    return pd.DataFrame(rows)


def _commonest(row) -> str:
    """What the pivots of a rule are, if two tokens make up most of them."""
    if row.n_tokens < 2 or row.first_share + row.second_share < CONSTANT:
        return ""
    text = f" Its {row.n_pivot} pivots are {row.n_tokens} different tokens; “{row.first.strip() or '␣'}” alone is {100 * row.first_share:.0f} % of them"
    return f"{text}, “{row.second.strip() or '␣'}” {100 * row.second_share:.0f} %."


def _constants(whole: pd.DataFrame) -> str:
    """A warning on the rules whose pivots are mostly two tokens."""
    shown = [r for r in whole.itertuples() if _commonest(r)]
    if not shown:
        return ""
    shares = ", ".join(f"{100 * (r.first_share + r.second_share):.0f} % ({r.rule})" for r in shown)
    tokens = "; ".join(dict.fromkeys(f"“{r.first.strip() or '␣'}” and “{r.second.strip() or '␣'}”" for r in shown))
    return f" But {shares} of these pivots are two tokens, {tokens}, which a layer says whatever the word: the AUC of such a rule tells where they win, not where a pivot does."


def right_sentence(labels: pd.DataFrame) -> str:
    """How many answers a model has right, and how many of these the rules can use; labelled items of one model and rule."""
    right = labels[labels.correct]
    out, left = right[right.label == "excluded"], int(right.label.isin(("cooccurrence", "pivot")).sum())
    why = [what for what, n in (("begin alike", out.readable.sum()), ("cannot be read", (~out.readable).sum())) if n]
    return (
        f"{short_name(labels.model.iloc[0])} answers {len(right)} of {len(labels)} items correctly (top token); of these {len(out)} are excluded"
        + (f", since their words {' or '.join(why)}" if why else "")
        + f", and {left} {'is' if left == 1 else 'are'} left to the robust rule."
    )


def language_sentences(table: pd.DataFrame) -> str:
    """Whose words the pivots of the robust rule are; one model."""
    whole = table[(table.source_lang == "all") & (table.rule == "robust")].set_index("language")
    if whole.empty or not whole.n.iloc[0]:
        return "The robust rule calls no item pivot."
    without = table[(table.rule == "robust") & (table.source_lang == "apart")].set_index("language")
    named = whole.drop("other")
    text = (
        f"Of the {whole.n.iloc[0]} items that the robust rule calls pivot, {interval(*whole.loc['other', ['share', 'low', 'high']])} go through a token that begins no "
        f"form of the concept's words, and {named.share.sum():.2f} through its word in a language that is neither source nor target."
    )
    if len(without) and without.n.iloc[0]:
        n, english, other = without.n.iloc[0], *(interval(*without.loc[la, ["share", "low", "high"]]) for la in ("en", "other"))
        text += f" In the directions without English, where English can be such a language, {english} of the {n} pivots are a form of the English word, {other} a token of none."
    return text


def agreement_table(agreement: pd.DataFrame) -> pd.DataFrame:
    """Cohen's kappa between rules, for reading."""
    return pd.DataFrame(
        {
            "model": agreement.model.map(short_name),
            "rules": agreement.rule_a + " and " + agreement.rule_b,
            "items": agreement.n,
            "labelled alike": [f"{v:.2f}" if np.isfinite(v) else "–" for v in agreement.same],
            "kappa": [interval(*v) if np.isfinite(v[0]) else "–" for v in agreement[["kappa", "low", "high"]].to_numpy(float)],
            "largest possible": [f"{v:.2f}" if np.isfinite(v) else "–" for v in agreement.largest],
            "pivots of the second that are pivots of the first": [f"{v:.2f}" if np.isfinite(v) else "–" for v in agreement.pivot_too],
        }
    )


def mass_sentence(mass: pd.DataFrame) -> str:
    """Pivot mass and English mass over all directions; one model and lens."""
    pivot, english = (mass[(mass.source_lang == "all") & (mass.measure == m)].iloc[0] for m in ("pivot_mass", "english_mass"))
    if not pivot.n:
        return "No word whose source and target can be distinguished was answered correctly: there is no pivot mass to give."
    apart = mass[(mass.source_lang != "all") & (mass.measure == "english_mass") & mass["mean"].notna()]
    text = (
        f"Of what the informative layers say because of the word, {interval(pivot['mean'], pivot.low, pivot.high)} is neither the source word nor an accepted "
        f"translation (n = {pivot.n} concepts, all directions)."
    )
    if len(apart):
        text += (
            f" In the directions without English, the concept's English word takes {interval(english['mean'], english.low, english.high)} of what these layers say because of "
            f"the word (n = {english.n}; by direction {apart['mean'].min():.2f} to {apart['mean'].max():.2f})."
        )
    return text


def meetings(counts: pd.DataFrame) -> pd.DataFrame:
    """Share of concepts whose words meet in at least 1, 5 and 20 documents, by unordered pair; words written alike left out."""
    rows = []
    for a, b in itertools.combinations(LANGUAGES, 2):
        part = counts[(counts.source_lang == a) & (counts.target_lang == b) & ~counts.identical]
        for least in LEASTS if len(part) else ():
            rows.append({"pair": f"{a}–{b}", "at_least": least, "n": len(part), "share": float((part.n_both >= least).mean())})
    return pd.DataFrame(rows)


def meeting_sentence(table: pd.DataFrame, counts: pd.DataFrame) -> str:
    """How often the words of a concept meet in the corpus."""
    once = table[table.at_least == 1].set_index("pair").share
    absent = sum(int((counts[counts.source_lang == la].drop_duplicates("concept_id").n_source == 0).sum()) for la in LANGUAGES)
    words = sum(counts[counts.source_lang == la].concept_id.nunique() for la in LANGUAGES)
    return (
        f"In {counts.n_docs.iloc[0]} documents, the two words of a concept meet at least once for {100 * once.min():.0f} % ({once.idxmin()}) to "
        f"{100 * once.max():.0f} % ({once.idxmax()}) of the concepts. {absent} of {words} words do not occur at all; they stay in with a count of zero."
    )


def _pick(table: pd.DataFrame, given: str, statistic: str = "spearman", outcome: str = "p_target") -> pd.DataFrame:
    return table[(table.statistic == statistic) & (table.outcome == outcome) & (table.given == given)]


def correlation_sentences(table: pd.DataFrame) -> str:
    """Correlation of ability and pair count, one model and corpus."""
    plain, partial, paper = _pick(table, ""), _pick(table, "log_source+log_target"), _pick(table, "", "pearson", "score")
    lines = [
        f"* As the paper takes it, Pearson's r of Score and log n_both lies between {paper.value.min():.2f} and {paper.value.max():.2f} over {len(paper)} "
        f"directions; its interval lies above zero in {(paper.ci_low > 0).sum()}, the value above what word frequency alone gives (Holm, .05) in "
        f"{(paper.p_holm < 0.05).sum()}.",
        f"* By rank, P(y|w) and n_both correlate by {plain.value.min():.2f} to {plain.value.max():.2f}; the interval lies above zero in {(plain.ci_low > 0).sum()} of "
        f"{len(plain)} directions, and the value above what word frequency alone gives (Holm, .05) in {(plain.p_holm < 0.05).sum()}.",
        f"* Given the counts of both words, {partial.value.min():.2f} to {partial.value.max():.2f} is left; the interval lies above zero in "
        f"{(partial.ci_low > 0).sum()} of {len(partial)} directions, and p is below .05 after Holm in {(partial.p_holm < 0.05).sum()}.",
    ]
    return "\n".join(lines)


def auc_sentences(table: pd.DataFrame, delta: pd.DataFrame) -> str:
    """AUC of the pair count over all directions and by direction, rule by rule; one model and corpus."""
    lines = []
    for rule, rows in table[table.predictor == "log_both"].groupby("rule", sort=False):
        whole, parts = rows[rows.source_lang == "all"].iloc[0], rows[rows.source_lang != "all"]
        if not np.isfinite(whole.auc):
            lines.append(f"* **{rule}**: {whole.note}.")
            continue
        few, parts = parts[parts.note != ""], parts[parts.note == ""]
        change = delta[(delta.rule == rule) & (delta.source_lang == "all")].iloc[0]
        lines.append(
            f"* **{rule}**: over all directions AUC {interval(whole.auc, whole.ci_low, whole.ci_high)} where shuffled pair counts give {whole.null_mean:.3f} ({whole.n_pos} "
            f"co-occurrence, {whole.n_neg} pivot; {p_value(whole.p_perm)} within frequency cells); "
            + (
                f"by direction {parts.auc.min():.2f} to {parts.auc.max():.2f}, significant after Holm in {(parts.p_holm < 0.05).sum()} of {len(parts)}"
                if len(parts)
                else "no direction has ten items of both"
            )
            + (f" ({len(few)} directions with fewer than ten items of a behavior left out)" if len(few) else "")
            + (f", interval wholly below .5 in {(parts.ci_high < 0.5).sum()}" if len(parts) else "")
            + f". Over word frequency, token counts and part of speech it adds {_signed(change)} ({p_value(change.p_perm)})."
        )
        npmi = table[(table.rule == rule) & (table.predictor == "npmi") & (table.source_lang == "all")].iloc[0]
        lines[-1] += f" NPMI, which weighs the pair against its words: AUC {interval(npmi.auc, npmi.ci_low, npmi.ci_high)}, {p_value(npmi.p_perm)}."
    return "\n".join(lines)


def _signed(row: pd.Series) -> str:
    return f"{row.delta:+.3f} [{row.ci_low:+.3f}, {row.ci_high:+.3f}]" if np.isfinite(row.delta) else "nothing that can be told"


def _told(row, value: float) -> str:
    return f"{value:.3f}" if min(row.n_pos, row.n_neg) >= FEW and np.isfinite(value) else "–"


def delta_table(delta: pd.DataFrame) -> pd.DataFrame:
    """ΔAUC over all directions, for reading."""
    rows = delta[delta.source_lang == "all"]
    return pd.DataFrame(
        {
            "model": rows.model.map(short_name),
            "corpus": rows.corpus,
            "rule": rows.rule,
            "co-occurrence": rows.n_pos,
            "pivot": rows.n_neg,
            "frequency only": [_told(r, r.auc_unigram) for r in rows.itertuples()],
            "with both words": [_told(r, r.auc_both) for r in rows.itertuples()],
            "ΔAUC": [_signed(r) if min(r.n_pos, r.n_neg) >= FEW else "too few items" for r in rows.itertuples()],
            "p": [p_value(r.p_perm) if min(r.n_pos, r.n_neg) >= FEW else "–" for r in rows.itertuples()],
        }
    ).reset_index(drop=True)


def ablation_table(attribution: pd.DataFrame) -> pd.DataFrame:
    """AUC of the pair count over all directions, by corpus, for reading."""
    rows = attribution[(attribution.source_lang == "all") & (attribution.predictor == "log_both")]
    return pd.DataFrame(
        {
            "corpus": rows.corpus,
            "rule": rows.rule,
            "items": rows.n_pos + rows.n_neg,
            "AUC of both words": [interval(*v) for v in rows[["auc", "ci_low", "ci_high"]].to_numpy(float)],
            "p within frequency cells": [p_value(p) for p in rows.p_perm],
        }
    ).reset_index(drop=True)


def regression_table(regression: pd.DataFrame) -> pd.DataFrame:
    """Odds ratios of co-occurrence behavior per standard deviation, for reading."""
    ratio = [interval(*v) if np.isfinite(v[0]) else "–" for v in regression[["odds_ratio", "ci_low", "ci_high"]].to_numpy(float)]
    return pd.DataFrame(
        {"rule": regression.rule, "term": regression.term, "odds ratio": ratio, "p": [p_value(p) for p in regression.p], "items": regression.n, "concepts": regression.n_concepts, "note": regression.note.fillna("")}
    )  # fmt: skip


def replication_sentences(table: pd.DataFrame) -> str:
    """What the released way of computing the AUC changes; one model and corpus."""
    lines = []
    for (rule, predictor), rows in table.groupby(["rule", "predictor"], sort=False):
        parts = rows[(rows.source_lang != "all") & (rows.note == "")]
        if parts.empty:
            continue
        spread, shift = parts.auc_best - parts.auc_worst, (parts.auc_released - parts.auc).abs()
        lines.append(
            f"* **{rule}**, {predictor}: by the released code {parts.auc_released.min():.2f} to {parts.auc_released.max():.2f} over {len(parts)} directions, corrected "
            f"{parts.auc.min():.2f} to {parts.auc.max():.2f}. Between the least and the most favourable order of tied items a direction's AUC can differ by up to "
            f"{spread.max():.2f}; the largest difference of the released value to the corrected one is {shift.max():.2f}. {int((parts.n_zero + parts.n_one).sum())} of {int((parts.n_pos + parts.n_neg).sum())} items "
            "have a count of 0 or 1, which the released code takes for one."
        )
    return "\n".join(lines)


def curve_sentences(table: pd.DataFrame) -> str:
    """What the specification curve shows."""
    known = table[table.auc.notna()]
    if known.empty:
        return "No specification has items of both behaviors."
    distinct = known.drop_duplicates(["n_pos", "n_neg", "auc"])
    ours = known[known.rule == "robust"]
    parts = [
        f"{'right answers only' if check else 'all answers'}, {lens} lens: {int((rows.p_perm < 0.05).sum())} of {len(rows)}"
        for (check, lens), rows in ours.groupby(["check", "lens"], sort=False)
    ]
    return (
        f"Over {len(known)} specifications the AUC runs from {known.auc.min():.2f} to {known.auc.max():.2f} (median {known.auc.median():.2f}), the share of pivot from "
        f"{known.pivot_share.min():.2f} to {known.pivot_share.max():.2f}. The interval lies above .5 in {(known.low > 0.5).sum()} of them and below in "
        f"{(known.high < 0.5).sum()}; the value is above what word frequency alone gives (permutation, .05, not corrected) in {(known.p_perm < 0.05).sum()}. By the robust "
        f"rule alone: {'; '.join(parts)}. Several settings give the same labels: {len(distinct)} differ. They share items, so the number of small p-values has no simple "
        "chance level."
    )


def conclusion(
    shares: pd.DataFrame,
    attribution: pd.DataFrame,
    delta: pd.DataFrame,
    correlation: pd.DataFrame,
    curve: pd.DataFrame,
    behaviors: pd.DataFrame,
    model: str,
    own: bool = False,
    table: str = "",
) -> str:
    """What holds for the main model, in plain words.

    Args:
        behaviors: labelled items of the model's first prompt set, all lenses.
        attribution: of the model, of one or more ways of counting; the first is the main one.
        own: whether the counted corpus is the one the model was trained on.
        table: file of counts of another corpus, "" where this repository's was counted.
    """
    attribution, checks = attribution[attribution.corpus == attribution.corpus.iloc[0]], attribution[attribution.corpus != attribution.corpus.iloc[0]]
    whole = shares[shares.source_lang == "all"].set_index("rule").pivot_share
    lines = [
        f"By rule, {', '.join(f'{share:.2f} ({rule})' for rule, share in whole.items())} of the items with either behavior of {short_name(model)} are called pivot."
        + _constants(shares[shares.source_lang == "all"])
    ]
    if anywhere := any_layer_text(behaviors):
        lines[-1] += f" Of the items that the robust rule labels, these shares have a token of neither word on top of *some* informative layer: {anywhere}."
    partial = _pick(correlation, "log_source+log_target")
    lines.append(
        f"**Ability.** Words that meet more often in the corpus counted are translated with more confidence, beyond what the counts of the single words give, in "
        f"{int((partial.p_holm < 0.05).sum())} of {len(partial)} directions (partial rank correlation {partial.value.min():.2f} to {partial.value.max():.2f}, which is "
        f"{(partial.value - partial.null_mean).min():.2f} to {(partial.value - partial.null_mean).max():.2f} above shuffled pair counts; Holm)."
    )
    for rule in ("released", "paper", "robust"):
        row = attribution[(attribution.rule == rule) & (attribution.source_lang == "all") & (attribution.predictor == "log_both")].iloc[0]
        change = delta[(delta.rule == rule) & (delta.source_lang == "all")].iloc[0]
        if np.isfinite(row.auc):
            lines.append(
                f"**Behavior, {rule} rule.** The pair count has an AUC of {interval(row.auc, row.ci_low, row.ci_high)} (n = {row.n_pos + row.n_neg} items). Pair "
                f"counts shuffled among words of like frequency have {row.null_mean:.3f}: {p_value(row.p_perm)}. Added to a model of word frequency, token count, part of speech and direction: "
                f"ΔAUC {_signed(change)}, {p_value(change.p_perm)}. {_verdict(row, change)}"
            )
            npmi = attribution[(attribution.rule == rule) & (attribution.source_lang == "all") & (attribution.predictor == "npmi")].iloc[0]
            lines[-1] += (
                f" NPMI instead of the count: AUC {interval(npmi.auc, npmi.ci_low, npmi.ci_high)}, {p_value(npmi.p_perm)}, not corrected for having been a second choice."
            )
            others = checks[(checks.rule == rule) & (checks.source_lang == "all") & (checks.predictor == "log_both") & checks.auc.notna()]
            if len(others):
                lines[-1] += " Counted otherwise: " + ", ".join(f"{r.corpus} AUC {r.auc:.2f}, {p_value(r.p_perm)}" for r in others.itertuples()) + "."
    known = curve[curve.auc.notna()]
    if len(known):
        lines.append(
            f"Over {len(known)} specifications the AUC lies between {known.auc.min():.2f} and {known.auc.max():.2f}, and above what frequency and direction alone give "
            f"(permutation, .05, not corrected) in {int((known.p_perm < 0.05).sum())}, "
            f"of them {int(((known.p_perm < 0.05) & known.check).sum())} of the {int(known.check.sum())} on right answers only and "
            f"{int(((known.p_perm < 0.05) & ~known.check).sum())} of the {int((~known.check).sum())} on all answers; what they alone give lies between "
            f"{known.null.min():.2f} and {known.null.max():.2f}."
        )
    counted = f"another corpus ({table})" if table else "this repository's corpus"
    lines.append(
        f"The counts are of the documents {short_name(model)} was trained on. What they explain beyond the counts of single words is a relation in the data, not a cause."
        if own
        else f"The counts are proxies: they are of {counted}, not of the one {short_name(model)} was trained on. A null result can mean that the corpus is "
        "the wrong one, and a positive one that both follow how common a concept is. The claim needs a model whose training documents are known."
    )
    return "\n".join(f"* {line}" for line in lines)


def _verdict(row: pd.Series, change: pd.Series) -> str:
    """Do the two tests of the pair count agree?"""
    alone, added = row.p_perm < 0.05 and row.auc > 0.5, change.p_perm < 0.05 and change.ci_low > 0
    if alone != added:
        return (
            "The two tests disagree: the evidence is mixed, and what there is, is small."
            if abs(row.auc - 0.5) < 0.1
            else "The two tests disagree: the evidence is mixed."
        )
    return "Both tests find an effect of the pair count." if alone else "Neither test finds an effect of the pair count in the direction of the claim."
