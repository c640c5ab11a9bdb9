"""The paper's claims one by one (notebook 06): each with its evidence here, its number and a verdict that follows the number."""

from __future__ import annotations

import numpy as np
import pandas as pd
from IPython.display import HTML

from .behavior import shares as label_shares
from .effects import LATER
from .report import interval, p_value, short_name
from .report_behavior import any_layer_share, any_layer_text, pivot_share_text
from .report_interventions import ASIDE, CONTROLS, SPANS, best_dose, beyond, difference_text, directions_of_use, harms, mean_text, uses
from .task import LANGUAGES

__all__ = ["VERDICTS", "LEGEND", "TABLES", "prompt_sentence", "claims_table", "claims_view", "claims_markdown", "verdict_sentence"]

VERDICTS = {True: "replicates", None: "with a correction", False: "not on this model", "open": "inconclusive"}
LEGEND = (
    "*Replicates*: it stands with our controls. *With a correction*: a part of it does. *Not on this model*: the controls do as well, or the effect has the opposite sign. "
    "*Inconclusive*: no effect was found where one could have been missed, or what was found has another explanation."
)
# Models of which it is known that their pre-training data hold sentences beside their translations, and where that is said.
PARALLEL_TEXT = {"packaged:gemma-3-270m": "arXiv 2503.19786", "known-corpus": "notebook 06"}
PAPER, FOLLOWS, OTHERS = "the paper's", "follows from it", "other work's"  # whose claim it is
TABLES = (
    "ability",
    "milestones",
    "behaviors",
    "behavior_shares",
    "attribution",
    "delta_auc",
    "correlation",
    "known_correlation",
    "hypotheses",
    "hypotheses_again",
    "twin_tests",
    "transfer_replication",
    "transfer_placebo",
)


def claims_table(
    tables: dict[str, pd.DataFrame], effects: pd.DataFrame, crossings: pd.DataFrame, model: str, own_counts: bool = False, alpha: float = 0.05
) -> pd.DataFrame:
    """What the paper claims, and what the tables say of it here.

    Args:
        tables: those named in ``TABLES``, as the notebooks wrote them.
        effects: of ``effects.effects``.
        crossings: of ``effects.crossings``.
        model: the model that the observational claims are about.
        own_counts: whether the counts of notebook 03 are of the documents it was trained on.

    Returns:
        claim, whose claim, evidence here, number, verdict (one of ``VERDICTS``, as ``LEGEND`` says), notebook.
    """
    own = {name: t[t.model == model] if "model" in t and not name.startswith("known_") else t for name, t in tables.items()}
    effects, crossings = effects[effects.model == model], crossings[crossings.model == model]
    rows = [*_observed(own, model, own_counts, alpha), *_by_lot(own, alpha), *_in_the_layers(own, effects, crossings, model, alpha), *_training(own, alpha)]
    columns = ["claim", "whose claim", "evidence here", "number", "verdict", "notebook"]
    return pd.DataFrame(
        [(claim, whose, evidence, number, VERDICTS[verdict], where) for claim, whose, evidence, number, verdict, where in rows], columns=columns
    )


def _observed(own: dict[str, pd.DataFrame], model: str, own_counts: bool, alpha: float) -> list[tuple]:
    low = own["ability"].sort_values("mean_score").iloc[0]
    read = (
        f"read parallel text ({PARALLEL_TEXT[model]})"
        if model in PARALLEL_TEXT
        else "its documents are known"
        if own_counts
        else "what it has read is not known"
    )
    shares = own["behavior_shares"][own["behavior_shares"].source_lang == "all"].set_index("rule")
    released, robust = shares.loc["released"], shares.loc["robust"]
    auc = own["attribution"].query("corpus == 'corpus' and source_lang == 'all' and rule == 'robust' and predictor == 'log_both'").iloc[0]
    gain = own["delta_auc"].query("source_lang == 'all' and rule == 'robust'").iloc[0]
    counted = "exact counts" if own_counts else "proxy counts"
    above, adds = bool(auc.p_perm < alpha and auc.auc > 0.5), bool(gain.ci_low > 0)
    npmi = own["attribution"].query("corpus == 'corpus' and source_lang == 'all' and rule == 'robust' and predictor == 'npmi'").iloc[0]
    labels = own["behaviors"][own["behaviors"].prompt_set == 0]
    apart = pivot_share_text(labels.query("lens == 'raw' and rule == 'robust' and source_lang != 'en' and target_lang != 'en'"))
    # one layer decides by the rule; beside it, whether any informative layer has a token of neither word on top
    by_lens = [part for _, part in labels.groupby("lens", sort=False, observed=True)]
    ways = [label_shares(part[part.rule == "robust"]).query("source_lang == 'all'").iloc[0][["pivot_share", "low", "high"]] for part in by_lens]
    _, lows, highs = np.array([*ways, *map(any_layer_share, by_lens)], dtype=float).T
    ridge = {rule: pivot_share_text(labels[(labels.lens == "ridge") & (labels.rule == rule)], n=False) for rule in ("released", "robust")}
    given = "statistic == 'spearman' and outcome == 'p_target' and given == 'log_source+log_target'"
    partial, known = (own[name].query(given) for name in ("correlation", "known_correlation"))
    n_found, n_known = (int(((t.p_holm < alpha) & (t.value > 0)).sum()) for t in (partial, known))
    return [
        (
            "Language models translate words without having been tuned for it",
            PAPER,
            "Score above zero in every direction, after five demonstrations",
            f"lowest Score of {len(own['ability'])} directions: {interval(low.mean_score, low.ci_low, low.ci_high)} ({low.source_lang} → {low.target_lang}, n = {low.n}); {read}",
            None if (own["ability"].ci_low > 0).all() else False,  # that it was never shown translations is not known, or known to be wrong
            "01",
        ),
        (
            "Most translations pass through an intermediate token",
            PAPER,
            "share of items called pivot, first prompt set",
            f"released rule {released.pivot_share:.2f} (ridge lens {ridge['released']}), background-corrected {interval(robust.pivot_share, robust.low, robust.high)} "
            f"(n = {robust.n_cooccurrence + robust.n_pivot} items; ridge lens {ridge['robust']}), without English {apart}; "
            f"with a token of neither word on top of any informative layer {any_layer_text(labels)}",
            True if (lows > 0.5).all() else False if (highs < 0.5).all() else "open",
            "03",
        ),
        (
            "Co-occurrence counts distinguish the two behaviors",
            PAPER,
            f"{counted}, robust rule, all directions, first prompt set",
            f"AUC {interval(auc.auc, auc.ci_low, auc.ci_high)} (n = {auc.n_pos + auc.n_neg}), shuffled counts {auc.null_mean:.3f}, {p_value(auc.p_perm)}; beyond word frequency {gain.delta:+.3f} [{gain.ci_low:+.3f}, {gain.ci_high:+.3f}]. "
            f"NPMI {interval(npmi.auc, npmi.ci_low, npmi.ci_high)}, shuffled {npmi.null_mean:.3f}, {p_value(npmi.p_perm)}, one of several measures",
            True if above and adds else None if adds else False if own_counts else "open",  # proxy counts may miss what the model's own would show
            "03",
        ),
        (
            "Words that meet more often are translated better",
            PAPER,
            "given the counts of both words; observed, not caused",
            f"partial ρ {partial.value.min():.2f} to {partial.value.max():.2f}, {counted}; {n_found} of {len(partial)} directions beyond chance. Known-corpus model, exact counts: "
            f"{known.value.min():.2f} to {known.value.max():.2f}; {n_known} of {len(known)}",
            True if n_found == len(partial) and n_known == len(known) else None if n_found else False,
            "03",
        ),
    ]


def prompt_sentence(behaviors: pd.DataFrame, model: str) -> str:
    """How far the share of right first tokens differs between prompt sets.

    Args:
        behaviors: table of notebook 03.
    """
    rows = behaviors[(behaviors.model == model) & (behaviors.lens == "raw") & (behaviors.rule == "robust")]
    rates = rows.groupby(["source_lang", "target_lang", "prompt_set"]).correct.mean().unstack()
    if rates.shape[1] < 2:
        return "One prompt set was used."
    (a, b), row = max(rates.iterrows(), key=lambda r: r[1].max() - r[1].min())
    overall = rows.groupby("prompt_set").correct.mean()
    least, most = rates.to_numpy().min(), rates.to_numpy().max()
    return (
        f"All intervals are over concepts, *given these prompts*. With other demonstrations the share of {short_name(model)}'s answers whose first token begins an accepted translation differs: "
        f"{' and '.join(f'{r:.2f}' for r in overall)} over all directions (from {least:.2f} to {most:.2f} by direction and prompts), and most apart in {LANGUAGES[a]} → {LANGUAGES[b]}, {' and '.join(f'{r:.2f}' for r in row)}."
    )


def _by_lot(own: dict[str, pd.DataFrame], alpha: float) -> list[tuple]:
    fixed, again, twins = own["hypotheses"].set_index("contrast"), own["hypotheses_again"], own["twin_tests"]
    again = again[again.mixed_low.notna()].set_index("contrast")  # the mean of several trainings, where there are several
    twins = twins.query("stage == 'level' and world == 'factorial' and twin == 'all' and dose == 0").set_index("contrast")
    claims = {
        "direct": "It is their meetings that make the translation",
        "pivot_only - none": "Words that never meet are reached through a pivot that both meet",
    }
    rows = []
    for contrast, claim in claims.items():
        r, twin = fixed.loc[contrast], twins.loc[contrast]
        found = bool(r.p_holm < alpha and r.estimate > 0)
        number = f"effect on MRR {interval(r.estimate, r.ci_low, r.ci_high, 3)}, Holm {p_value(r.p_holm)}"
        if contrast in again.index:
            mean = again.loc[contrast]
            number += f"; {mean.training} trainings {interval(mean.estimate, mean.mixed_low, mean.mixed_high, 3)}"
        number += f"; twins {interval(twin.estimate, twin.ci_low, twin.ci_high)}"
        rows.append(
            (claim, FOLLOWS, "known-corpus model; who may meet assigned at random", number, True if found else False if r.ci_high < 0 else "open", "06")
        )
    return rows


def _in_the_layers(own: dict[str, pd.DataFrame], effects: pd.DataFrame, crossings: pd.DataFrame, model: str, alpha: float) -> list[tuple]:
    found = own["milestones"].query("source_lang == 'all'").set_index(["lens", "measure"])
    lenses = [la for la in ("raw", "ridge") if (la, "advantage") in found.index]
    told = [
        f"{la} lens: {found.at[(la, 'english_leads'), 'mean']:.2f} of the right answers, the fourth language's {found.at[(la, 'third_leads'), 'mean']:.2f}, "
        f"the source word {found.at[(la, 'source_leads'), 'mean']:.2f}"
        for la in lenses
    ]
    ahead = [bool(found.at[(la, "advantage"), "low"] > 0 and found.at[(la, "english_leads"), "mean"] > found.at[(la, "source_leads"), "mean"]) for la in lenses]
    some = any(found.at[(la, "advantage"), "low"] > 0 for la in lenses)
    rows = [
        (
            "Middle layers show the pivot",
            PAPER,
            f"pairs without English: the English word leads in a middle layer of {short_name(model)}",
            f"{'; '.join(told)} (n = {int(found.at[(lenses[0], 'advantage'), 'n'])} concepts)" if lenses else "no right answer",
            True if lenses and all(ahead) else None if some else False,
            "02",
        )
    ]
    whole, aside, later = (beyond(effects, *w) for w in (("english",), (f"english{ASIDE}",), ("english", LATER)))
    if whole and aside:
        hurt = [harms(row, alpha) for row in whole.values()]
        # the loss may come from what the pivots' directions share with the target alone: then something else explains it
        apart, used = (bool(rows) and all(harms(row, alpha) for row in rows.values()) for rows in (aside, later))
        somewhere = uses(effects, "english", alpha)  # in some directions, also beside the target
        told = [_removed(effects, span, alpha) for span in SPANS if beyond(effects, span)]
        verdict = "open" if any(hurt) else False
        if all(hurt) and (apart or used or somewhere):
            verdict = True if apart and used else None
        rows.append(("The translation depends on the pivot", FOLLOWS, "pivots removed at the pivot layers", "; ".join(told), verdict, "06"))
    both = crossings[crossings.kind == "both"].set_index("measure")
    if len(both):
        number = f"concept from block {_block(both.layer.concept)}, language from block {_block(both.layer.language)}"
        rows.append(
            (
                "First the concept, then the target language",
                OTHERS,
                "states of another run patched in at the answer position, right after the language's name",
                number,
                True if both.high["concept − language"] < 0 else "open",
                "06",
            )
        )
    best = best_dose(effects)
    if best is not None:
        number = f"{mean_text(best)} nats at the best dose, {difference_text(best)} beyond a direction as near to the target"
        rows.append(
            (
                "Adding the pivot helps where the model fails",
                FOLLOWS,
                "failing items only",
                f"{number} (n = {best.n} concepts)",
                True if best.low > 0 and best.difference_low > 0 else False if best.difference_high < 0 else "open",
                "06",
            )
        )
    return rows


def _removed(effects: pd.DataFrame, span: str, alpha: float) -> str:
    """What the removal of a span does beyond its controls, in short."""
    rows = beyond(effects, span)
    text = f"{SPANS[span]} {', '.join(f'{difference_text(row)} beyond {CONTROLS[control]}' for control, row in rows.items())}"
    strictest = list(rows)[-1]  # the last control keeps to what the others do, and to more
    parts = (("with the part along the target left in", beyond(effects, f"{span}{ASIDE}")), ("through other blocks", beyond(effects, span, LATER)))
    if last := [f"{difference_text(found[strictest])} {what}" for what, found in parts if strictest in found]:
        text += f"; beyond this last also {', '.join(last)}"
    for sign, what in ((-1, "a loss"), (1, "a gain")):
        if shown := directions_of_use(effects, span, sign, alpha):
            text += f", {what} beyond every control in {', '.join(d.replace('-', ' → ') for d in shown)}"
    return f"{text} (nats, n = {max(row.n for row in rows.values())} concepts)"


def _training(own: dict[str, pd.DataFrame], alpha: float) -> list[tuple]:
    """The replication if there is one, else the first run, whose p is corrected for the hypotheses fixed with it."""
    table = own["transfer_replication"].query("arm == 'pivot_npmi' and reference == 'matched'")
    if table.empty:
        return []
    run = "replication" if (table.run == "replication").any() else "first run"
    rows = table[table.run == run].set_index(["split", "outcome"])
    main, rank, gain = (rows.loc[key] for key in (("heldout", "log_ratio"), ("heldout", "mrr"), ("parallel", "sentence_gain")))
    # elsewhere: the ranks are better too, and the sentences are not worse
    found, elsewhere = bool(main.p_holm < alpha and main.estimate > 0), bool(rank.mixed_low > 0 and gain.mixed_high > 0)
    number = (
        f"words {interval(main.estimate, main.mixed_low, main.mixed_high, 3)} nats, {p_value(main.p_holm)} ({main.n_seeds} seeds); "
        f"MRR {interval(rank.estimate, rank.mixed_low, rank.mixed_high, 3)}; sentences {interval(gain.estimate, gain.mixed_low, gain.mixed_high, 3)} nats per token"
    )
    evidence = "known-corpus model; against documents of the same languages, sources and lengths, on words not shown translated"
    against = bool(rank.mixed_high < 0 or gain.mixed_high < 0)  # one outcome up and another down has more explanations than the claim
    control = own["transfer_placebo"].query("run == 'the first less the second' and split == 'heldout' and outcome == 'log_ratio'")
    if len(control):
        more = control.iloc[0]
        number += f"; words less that of a choice by words that are no pivots {interval(more.estimate, more.mixed_low, more.mixed_high, 3)}, {p_value(more.p)}"
        against |= not (more.p < alpha and more.estimate > 0)  # any choice by words may do it
        elsewhere &= not against
    verdict = (True if elsewhere else "open" if against else None) if found else False if main.mixed_high < 0 else "open"
    return [("Training on documents rich in pivots makes a model better across languages", PAPER, evidence, number, verdict, "05")]


def claims_view(claims: pd.DataFrame) -> HTML:
    """The table of claims for reading: text begins at the left, and the same table gives the same HTML."""
    styled = claims.style.set_uuid("claims").hide(axis="index").set_properties(**{"text-align": "left"})
    # not the styled table itself, whose plain-text form is an address in memory
    return HTML(styled.set_table_styles([{"selector": "th", "props": "text-align: left"}]).to_html())


def claims_markdown(claims: pd.DataFrame) -> str:
    """The claims as lines of a Markdown table with how many of them stand, as the repository page shows them."""
    rows = [
        f"| {r.claim} ({whose}) | **{r.verdict}** | {evidence}: {r.number} | {r.notebook} |"
        for r, whose, evidence in zip(claims.itertuples(), claims["whose claim"], claims["evidence here"])
    ]
    return "\n".join(["| claim (whose) | here | what was measured, and what came out | notebook |", "|---|---|---|---|", *rows, "", verdict_sentence(claims)])


def _block(layer: float) -> str:
    return f"{int(layer) + 1}" if np.isfinite(layer) else "none"


def verdict_sentence(claims: pd.DataFrame) -> str:
    """How many claims stand."""
    counts = claims.verdict.value_counts()
    return f"Of {len(claims)} claims: " + "; ".join(f"*{v}* {counts.get(v, 0)}" for v in VERDICTS.values()) + f" (languages: {', '.join(LANGUAGES.values())})."
