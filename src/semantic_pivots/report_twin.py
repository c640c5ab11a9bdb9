"""Text and tables of notebook 06 on the synthetic twins: every number is computed here from their tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from .checkpoints import PRIMARY
from .figures_causal import CONTRAST_NAMES, GROUP_NAMES
from .report import interval
from .report_causal import OUTCOME_NAMES
from .severance import GROUPS

__all__ = ["power_table", "power_sentence", "effect_sentences", "false_positive_sentences", "label_sentences", "intervention_sentences"]

COLUMNS = {
    "factorial, real level": ("level", "factorial", "own group"),
    "factorial, end": ("end", "factorial", "own group"),
    "placebo, real level": ("level", "placebo", "own group"),
    "shuffled, end": ("end", "shuffled", "own group"),
    "shuffled, end, distractors of all groups": ("end", "shuffled", "all groups"),
}
PATH = "pivot_only - none"
NEAR = 0.1  # in MRR: how far a stage of the twins may be from the real model to stand for its level


def _share(n_found: int, n: int, what: str = "") -> str:
    low, high = proportion_confint(n_found, n, method="beta")
    return f"{n_found} of {n}{what} [{low:.0%}, {high:.0%}]"


def power_table(power: pd.DataFrame) -> pd.DataFrame:
    """In how many twins each fixed test finds something, both doses together, with Clopper–Pearson intervals."""
    rows = power[power.dose == 0].set_index(["stage", "world", "distractors", "contrast"])
    cells = {name: [_share(*rows.loc[(*key, c), ["n_found", "n_twins"]].astype(int)) for c in PRIMARY] for name, key in COLUMNS.items()}
    return pd.DataFrame(cells, index=[CONTRAST_NAMES[c] for c in PRIMARY])


def power_sentence(power: pd.DataFrame) -> str:
    """In how many twins at the real model's level the experiment finds an effect of meetings, and of a path."""
    rows = power[(power.world == "factorial") & (power.stage == "level") & (power.dose == 0)].set_index("contrast")
    if rows.empty:
        return "No stage of the twins is at the real model's level."
    found = {c: _share(int(rows.n_found[c]), int(rows.n_twins[c]), " twins") for c in ("direct", PATH)}
    known = _share(int(rows.n_found["none - chance"]), int(rows.n_twins["none - chance"]))
    return (
        f"At the real model's level the experiment finds an effect of meetings in {found['direct']} and one of a path in {found[PATH]}. Twins need not be like the real model: words that met neither each "
        f"other nor the pivot are ranked above chance in {known} of them."
    )


def effect_sentences(tests: pd.DataFrame, power: pd.DataFrame, level: pd.DataFrame, fixed: pd.DataFrame, full: float, detectable: dict[str, float]) -> str:
    """What the twins show where there is something to be found, and whether the real experiment would have found it.

    Args:
        tests: of :func:`.twin_analysis.contrast_tests` with stage (`level`, `end`).
        power: of :func:`.twin_analysis.power` by stage, world, distractors, dose and contrast.
        level: scores of :func:`.twin_analysis.at_level`.
        fixed: the table ``hypotheses`` of the real experiment.
        full: MRR of its words that may meet.
        detectable: smallest effect that it finds with a power of .8, by contrast.
    """
    own = tests[(tests.world == "factorial") & (tests.distractors == "own group") & (tests.twin == "all")].set_index(["stage", "dose", "contrast"])
    found = power[(power.world == "factorial") & (power.distractors == "own group")].set_index(["stage", "dose", "contrast"])
    real, doses = fixed.set_index("contrast"), sorted(set(tests.dose) - {0})

    def effect(stage: str, contrast: str, dose: int = 0) -> str:
        return interval(*own.loc[(stage, dose, contrast), ["estimate", "ci_low", "ci_high"]])

    def told(stage: str) -> str:
        direct, path = (_share(*found.loc[(stage, 0, c), ["n_found", "n_twins"]].astype(int), " twins") for c in ("direct", PATH))
        by_dose = "; ".join(f"with {d} documents an edge {effect(stage, 'direct', d)} and {effect(stage, PATH, d)}" for d in doses)
        return (
            f"meetings raise MRR by {effect(stage, 'direct')} (found in {direct}), and an open path, for words that never meet, by {effect(stage, PATH)} "
            f"({path}); {by_dose}"
        )

    there = level[level.world == "factorial"]
    near = there.reciprocal_rank[there.group == "full"].mean()
    after = " to ".join(f"{share:.0%}" for share in sorted({there.trained.min(), there.trained.max()}))
    lines = [
        f"The real model translates words that may meet with MRR {full:.2f}. Twins in which there is something to be found come nearest to that after "
        f"{after} of their training (MRR {near:.2f}). There, "
        f"{told('level')} (n = {own.n[('level', 0, 'direct')]} concepts in {int(found.n_twins[('level', 0, 'direct')])} twins; intervals over twins). At the end, {told('end')}.",
        f"The real experiment saw {interval(*real.loc['direct', ['estimate', 'ci_low', 'ci_high']])} and "
        f"{interval(*real.loc[PATH, ['estimate', 'ci_low', 'ci_high']])}; it finds {detectable['direct']:.2f} and {detectable[PATH]:.2f} with a power of .8.",
    ]
    if own.ci_low[("end", 0, PATH)] > 0:
        lines.append("**A model of this kind does come to translate pairs that never met through a path.**")
    else:
        lines.append("**No translation of pairs that never met through a path was seen, not even at the end:** the twins cannot say what one would look like.")
    if abs(near - full) > NEAR:
        return " ".join([*lines, "No stage of the twins is near the real model's level, so what could be seen there is left open."])
    for name, what in (("direct", "meetings"), (PATH, "a path")):
        row, smallest = own.loc[("level", 0, name)], detectable[name]
        if not row.ci_low > 0:
            lines.append(
                f"At the real model's level twins show no effect of {what} yet, as far as can be told; that the real experiment found none says little."
            )
            continue
        size, hence = (
            ("larger than", "would have been seen")
            if row.ci_low > smallest
            else ("smaller than", "could well have been missed")
            if row.ci_high < smallest
            else ("about as large as", "would more likely than not have been seen")
        )
        excluded = "excludes it" if real.ci_high[name] < row.ci_low else "does not exclude it"
        lines.append(
            f"At the real model's level the effect of {what} is {size} what the real experiment finds with that power: **one like the twins' {hence}**, and the real "
            f"interval {excluded}."
        )
    if real.ci_high["direct"] < own.ci_low[("level", 0, "direct")]:
        lines.append(
            "The real model and the twins reach that level by other means, so the twins' effect need not be the one to expect of the real model: what it knows of a translation it has "
            "not learnt in the way in which twins learn it."
        )
    return " ".join(lines)


def false_positive_sentences(draws: pd.DataFrame, tests: pd.DataFrame, power: pd.DataFrame, foreign: pd.DataFrame) -> str:
    """How often something is found where there is nothing.

    Args:
        draws: of :func:`.twin_analysis.redrawn`.
        tests: as in :func:`effect_sentences`.
        power: as in :func:`effect_sentences`.
        foreign: contrasts of the real experiment with another concept's translation.
    """
    ended = power[(power.world == "shuffled") & (power.stage == "end") & (power.dose == 0) & power.contrast.isin(PRIMARY)]
    counts = {d: _share(int(rows.n_found.sum()), int(rows.n_twins.sum()), " tests") for d, rows in ended.groupby("distractors")}
    biased = tests[(tests.world == "shuffled") & (tests.stage == "end") & (tests.twin == "all") & (tests.dose == 0) & (tests.contrast == "direct")]
    biased = {row.distractors: row for row in biased.itertuples()}
    text = (
        f"**False positives.** In *placebo* groups mean nothing, so they can be drawn anew: one of the four tests or more finds something (p after Holm < .05) in "
        f"{_share(int(draws['any'].sum()), len(draws), ' draws')} over {draws.twin.nunique()} twins, where 5 % are meant. In *shuffled* nothing can be known of a pair, but "
        f"words of the groups keep different company. With distractors of all groups {counts['all groups']} find something (four tests in each twin, not independent), "
        f"with those of the concept's own group {counts['own group']}; the contrast *direct* is {interval(*_three(biased['all groups']))} and "
        f"{interval(*_three(biased['own group']))}."
    )
    if biased["all groups"].ci_low > 0 or biased["all groups"].ci_high < 0:
        guard = foreign[foreign.contrast == "direct"]
        shown = "; ".join(f"{OUTCOME_NAMES[row.outcome]} {interval(*_three(row), 3)}" for row in guard.itertuples())
        moved = guard[(guard.ci_low > 0) | (guard.ci_high < 0)]
        same = np.sign(moved.estimate) == np.sign(biased["all groups"].estimate)
        beside = "does not show it" if moved.empty else "shows something like it" if same.any() else "shows a shift too, but in the other direction"
        text += (
            " So **a cut by itself, without any knowledge of translations, can pass for an effect** when distractors are of other groups: after a word that was cut the "
            f"model expects other things. The real experiment's guard against this is another concept's translation, which {beside}: {shown}."
        )
    return text


def _three(row) -> tuple[float, float, float]:
    return row.estimate, row.ci_low, row.ci_high


def label_sentences(shares: pd.DataFrame, tests: pd.DataFrame, power: pd.DataFrame) -> str:
    """Whether labels tell a path from its absence, and what the AUC of n_both finds.

    Args:
        shares: of :func:`.twin_analysis.label_tables`, like the next.
        tests: AUC and ΔAUC.
        power: of ``tests`` by world, test and rule.
    """
    rows = shares[shares.world == "factorial"].set_index(["rule", "group"])
    lines, telling = [], []
    for rule in ("released", "paper", "robust"):
        parts = [
            f"{GROUP_NAMES[g]} {interval(*rows.loc[(rule, g), ['share', 'low', 'high']])} (n = {rows.n[(rule, g)]})"
            if rows.n[(rule, g)] > 1
            else f"{GROUP_NAMES[g]} –"
            for g in GROUPS
        ]
        lines.append(f"*{rule}*: {', '.join(parts)}")
        without = rows.high[[(rule, g) for g in ("direct_only", "none") if rows.n[(rule, g)] > 1]]
        telling += [rule] * bool(rows.low[(rule, "pivot_only")] > without.max())
    text = f"**Labels.** Share called pivot in *factorial*: {'; '.join(lines)}. "
    if telling:
        text += f"By {', '.join(telling)} the interval of *pivot only* lies above those of the two groups without a path. "
    else:
        text += "By no rule does the interval of *pivot only* lie above those of both groups without a path. "
    known = rows.loc["paper"]
    if known.high["full"] < known.low[known.n > 1].drop("full").min():
        text += "By the paper's rule *both ways*, which is known best, is called pivot least: what is called pivot is what the model knows less well, or not at all. "
    single, pooled = power.set_index(["world", "test", "rule"]), tests[tests.twin == "all"].set_index(["world", "test", "rule"])
    auc = [
        f"{r} {pooled.estimate[('factorial', 'AUC', r)]:.2f}, {_share(*single.loc[('factorial', 'AUC', r), ['n_found', 'n_twins']].astype(int))}"
        for r in rows.index.levels[0]
    ]
    null = power[(power.world == "shuffled") & (power.test == "AUC")]
    return text + (
        f"AUC of n_both there, and in how many twins it is found within frequency cells: {'; '.join(auc)}. In *placebo*, where counts of pairs follow from those of words, AUC "
        f"alone is up to {pooled.loc['placebo'].loc['AUC'].estimate.max():.2f}, and within frequency cells nothing can be found by construction; in *shuffled*, where no pair can be known, "
        f"something is found there in {_share(int(null.n_found.sum()), int(null.n_twins.sum()), ' tests')}."
    )


def intervention_sentences(effects: pd.DataFrame) -> str:
    """Whether later blocks make something of the lack of the English word where a path leads through it, and nowhere else.

    Args:
        effects: of :func:`.twin_analysis.intervention_effects`.
    """
    rows = effects[(effects.world == "factorial") & (effects.layer == effects.layer.min())].set_index(["part", "group"])
    parts = [
        f"{GROUP_NAMES[g]} {', '.join(interval(*rows.loc[(part, g), ['mean', 'ci_low', 'ci_high']]) for part in ('all', 'direct', 'later'))}" for g in GROUPS
    ]
    hurt = [g for g in GROUPS if rows.ci_high[("later", g)] < 0]
    text = (
        f"**Intervention.** With the English word projected out of the state that gives the answer after the first block, the log-odds of the translation change by (nats, beyond "
        f"another concept's English word; all of it, the part with later blocks held fast, and what these make of the lack; n = {int(rows.n.min())} a group): {'; '.join(parts)}. "
    )
    if set(hurt) == {"full", "pivot_only"}:
        text += "**Later blocks add to the loss where a path leads through English, and there only;** but *neither* knows nothing that could be lost."
    else:
        text += f"Later blocks add to the loss in {', '.join(GROUP_NAMES[g] for g in hurt) or 'no group'}, where they should in {GROUP_NAMES['full']} and {GROUP_NAMES['pivot_only']}."
    return text + (
        " What is lost with later blocks held fast is the likeness of the two words' directions, which words that meet come to have; only what later blocks make of the lack "
        "can be a use of English on the way."
    )
