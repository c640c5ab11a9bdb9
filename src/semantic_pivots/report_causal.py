"""Text and tables of notebook 06: every number in its prose is computed here from an artifact."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .association import holm
from .figures_causal import CONTRAST_NAMES, GROUP_NAMES
from .report import interval, p_value
from .severance import EDGES, GROUPS
from .task import LANGUAGES

OUTCOME_NAMES = {"reciprocal_rank": "MRR", "score": "Score", "log_ratio": "log-ratio"}

__all__ = [
    "balance",
    "severance_sentences",
    "training_sentences",
    "learning_sentences",
    "hypotheses_table",
    "trainings_sentences",
    "verdict",
    "null_sentence",
    "power_sentence",
]
__all__ += ["manipulation_table", "manipulation_sentence", "dose_table", "english_sentences", "label_table"]


def balance(assignment: pd.DataFrame) -> pd.DataFrame:
    """Groups compared before any cut: how many concepts, and medians of their counts."""
    columns = ["n_source", "n_pivot", "n_target", "n_source_target", "n_source_pivot", "n_pivot_target"]
    table = assignment.groupby("group")[columns].median().reindex(list(GROUPS)).astype(int)
    table.insert(0, "concepts", assignment.group.value_counts())
    return table.rename(columns=lambda c: c.replace("n_", "").replace("_", "–"))


def severance_sentences(severance: pd.DataFrame, collateral: pd.DataFrame, n_cut_documents: int) -> str:
    """Whether the cuts are complete, what became of the words' own frequency, and what the cuts cost elsewhere."""
    cut = severance[severance.cut]
    ends = [
        severance[["concept_id", f"{end}_lang", f"n_{end}_before", f"n_{end}_after"]].set_axis(["concept_id", "lang", "before", "after"], axis=1)
        for end in ("first", "second")
    ]
    words = pd.concat(ends).drop_duplicates(["concept_id", "lang"])
    change = (words.after - words.before).abs() / words.before.clip(lower=1)
    moved = words[change > 0.01]
    kept = collateral[collateral.edge.isin(EDGES)]
    low, high = kept.loc[kept.kept.idxmin()], kept.loc[kept.kept.idxmax()]
    lost = f"{int(kept.n_lost.sum())} of {int(kept.n.sum())}"
    return (
        f"{n_cut_documents:,} documents were taken apart. Before the cuts the two words of a cut edge met in {int(cut.n_both_before.sum()):,} documents "
        f"(median {cut.n_both_before.median():.0f} an edge, {len(cut)} edges); after them in **{int(cut.n_both_after.sum())}**. Taking a document "
        f"apart leaves each word where it was, but one that stands in two pieces counts twice: summed over {len(words)} words, the documents that hold them "
        f"became {words.after.sum() / words.before.sum() - 1:.2%} more, and by more than 1 % more for {len(moved)} words"
        + (f" (each in at most {moved.before.max()} documents, at most {int((moved.after - moved.before).max())} more)" if len(moved) else "")
        + f". Edges that are not cut paid for it: they kept between {low.kept:.0%} ({GROUP_NAMES[low.group]}, {low.edge}) and {high.kept:.0%} "
        f"({GROUP_NAMES[high.group]}, {high.edge}) of their meetings, and {lost} of them kept none."
    )


def training_sentences(log: pd.DataFrame, checkpoints: pd.DataFrame, n_parameters: int) -> str:
    """How long the model was trained, and how far its loss still fell in the last fifth."""
    seen = log[log.val_en.notna()]
    last = seen.iloc[-1]
    before = seen[seen.tokens <= 0.8 * last.tokens].iloc[-1]
    words = ", ".join(f"{LANGUAGES[la]} {last[f'val_{la}']:.2f} (from {before[f'val_{la}']:.2f})" for la in LANGUAGES)
    return (
        f"{n_parameters / 1e6:.1f} million parameters read {last.tokens / 1e6:.1f} million tokens in {int(last.step):,} steps "
        f"({checkpoints.epoch.iloc[-1] + 1} epochs begun, median {log.tokens_per_s.median():,.0f} tokens per second). Validation loss in nats per token at the end, "
        f"and at {before.tokens / 1e6:.0f} million tokens: {words}. Losses of different languages cannot be compared: their tokens differ in size."
    )


def learning_sentences(means: pd.DataFrame, chance: float, outcome: str = "reciprocal_rank") -> str:
    """How well `full` concepts are translated at the last checkpoint, by direction."""
    own = means[(means.tokens == means.tokens.max()) & (means.group == "full") & (means.outcome == outcome)]
    parts = [f"{r.direction.replace('-', ' → ')} {interval(r['mean'], r.ci_low, r.ci_high)}" for _, r in own.iterrows()]
    above = int((own.ci_low > chance).sum())
    return (
        f"MRR among ten of concepts whose words may all meet (n = {own.n.min()} a direction, chance {chance:.3f}): {'; '.join(parts)}. "
        f"{above} of {len(own)} intervals lie above chance."
    )


def hypotheses_table(confirmatory: pd.DataFrame) -> pd.DataFrame:
    """The tests that were fixed in advance, with their results."""
    names = CONTRAST_NAMES | {"pivot_only - chance": "pivot only − chance", "none - chance": "neither − chance"}
    return pd.DataFrame(
        {
            "contrast": confirmatory.contrast.map(names),
            "effect on MRR": [interval(*r, digits=3) for r in confirmatory[["estimate", "ci_low", "ci_high"]].to_numpy()],
            "p": confirmatory.p.map("{:.4f}".format),
            "p (Holm)": confirmatory.p_holm.map(lambda p: "–" if np.isnan(p) else f"{p:.4f}"),
            "concepts": confirmatory.n,
        }
    )


def trainings_sentences(tests: pd.DataFrame) -> str:
    """The fixed tests training by training, and for all trainings together.

    Args:
        tests: of ``repetitions.tests_by_training``, with the precision of each training.
    """
    first, *others = dict.fromkeys(tests.training)
    if not others:
        return "The model was trained once; `python -m semantic_pivots.pretrain --seed 1` trains it again."
    *single, together = first, *others
    lines = []
    for contrast in dict.fromkeys(tests.contrast[tests.p_holm.notna()]):
        rows = tests[tests.contrast == contrast].set_index("training")
        each = "; ".join(f"{name} {interval(*rows.loc[name, ['estimate', 'ci_low', 'ci_high']], 3)}" for name in single)
        mean = rows.loc[together]
        lines.append(
            f"* *{CONTRAST_NAMES[contrast]}*: {each}; {together} **{interval(mean.estimate, mean.ci_low, mean.ci_high, 3)}** ({p_value(mean.p)}, Holm {p_value(mean.p_holm)}, n = {mean.n}), "
            f"sd between trainings {mean.sd_trainings:.3f}; with trainings as random as blocks [{mean.mixed_low:.3f}, {mean.mixed_high:.3f}]."
        )
    precisions = tests[tests.training.isin(single)].groupby("training", sort=False).precision.first()
    differ = f" Trained in {', '.join(f'{p} ({name})' for name, p in precisions.items())}." if precisions.nunique() > 1 else ""
    return "\n".join(
        [
            *lines,
            "",
            f"The model was trained again after the result of {first} was known, whose tests remain the ones that were fixed. Effects on MRR; p and intervals are over concepts, *given these trainings*, but "
            "for the last interval of a line, which also covers a training that was not made. Holm is over the four contrasts of a training, or of the mean."
            + differ,
        ]
    )


def verdict(confirmatory: pd.DataFrame, whole: tuple[float, float, float], alpha: float = 0.05) -> str:
    """In words, what the fixed tests say, on the fixed outcome.

    Args:
        confirmatory: of ``checkpoints.confirmatory``.
        whole: *both ways* minus *neither*, with its interval.
    """
    rows = confirmatory.set_index("contrast")
    lines = []
    says = {
        "direct": ("Direct co-occurrence helps", "Direct co-occurrence hurts", "No effect of direct co-occurrence on MRR was found"),
        "pivot": ("A path through English helps", "A path through English hurts", "No effect of a path through English on MRR was found"),
        "interaction": (
            "the two help each other",
            "the two stand in for each other: what one adds is less where the other is there",
            "no interaction was found",
        ),
        "pivot_only - none": (
            "Words that never meet are translated better where a path through English is open",
            "Words that never meet are translated worse where a path through English is open",
            "For words that never meet, an open path through English makes no difference that was found",
        ),
    }
    for name, (up, down, none) in says.items():
        row = rows.loc[name]
        text = none if not row.p_holm < alpha else up if row.estimate > 0 else down
        lines.append(
            f"{text[0].upper()}{text[1:]} ({interval(row.estimate, row.ci_low, row.ci_high, 3)}, {p_value(row.p)}, Holm {p_value(row.p_holm)}, n = {row.n})."
        )
    above = {}
    for name, words in (
        ("pivot_only - chance", "Words that never met but share an open path"),
        ("none - chance", "Words that met neither each other nor the English word"),
    ):
        row = rows.loc[name]
        above[name] = bool(row.p < alpha and row.estimate > 0)
        lines.append(
            f"{words} are ranked {'above' if above[name] else 'not above'} chance ({interval(row.estimate, row.ci_low, row.ci_high, 3)}, {p_value(row.p)}, "
            f"n = {row.n})."
        )
    if above["none - chance"] and not (rows.p_holm[list(says)] < alpha).any():
        known = whole[0] + rows.estimate["none - chance"]
        share = "none of it is" if whole[2] <= 0 else f"at most {whole[2] / known:.0%} of it is" if whole[2] < known else "it may be all of it"
        lines.append(
            f"Words that may all meet are ranked {known:.3f} above chance; that they may meet accounts for {interval(*whole, 3)} of it. **In ranks, no share of what this model knows of a "
            "translation could be traced to meetings of the two words or with the English one**"
            f"; by the interval {share}."
        )
    return " ".join(lines)


def null_sentence(contrasts: pd.DataFrame, beyond: pd.DataFrame, alpha: float = 0.05) -> str:
    """How often the null of foreign translations shows an effect, and what is left of the own translation's beyond it.

    Args:
        contrasts: with a column target (`own`, `foreign`).
        beyond: the same contrasts of the difference own − foreign, concept by concept.
    """
    beyond = beyond.assign(p_holm=holm(beyond.p.to_numpy()))
    least = beyond.loc[beyond.p.idxmin()]
    shown = beyond[beyond.contrast.isin(["direct", "direct_only - none", "pivot_only - none"]) & beyond.outcome.isin(["reciprocal_rank", "log_ratio"])]
    left = "; ".join(
        f"{CONTRAST_NAMES[r.contrast]}, {OUTCOME_NAMES[r.outcome]} {interval(r.estimate, r.ci_low, r.ci_high, 3)} ({p_value(r.p)})" for r in shown.itertuples()
    )
    each = contrasts.set_index(["target", "contrast", "outcome"])[["estimate", "p"]]
    parts = [
        f"{CONTRAST_NAMES[r.contrast]}, {OUTCOME_NAMES[r.outcome]}: "
        + ", ".join(f"{t} {each.estimate[t, r.contrast, r.outcome]:+.3f} ({p_value(each.p[t, r.contrast, r.outcome])})" for t in ("own", "foreign"))
        for r in shown[shown.p < alpha].itertuples()
    ]
    null = contrasts[(contrasts.target == "foreign") & contrasts.contrast.isin(list(CONTRAST_NAMES))]
    shifted = (null.p < alpha).sum() > 2 * alpha * len(null)
    return (
        f"With another concept's translation in place of the own, {int((null.p < alpha).sum())} of {len(null)} contrasts (outcomes and contrasts of the "
        f"figure; they are not independent) have p < {alpha:g}; {alpha * len(null):.1f} are expected by chance. {'So a cut may move other translations too. ' if shifted else ''}What "
        f"a cut does to the own translation beyond that, own minus foreign (secondary): {left}. After Holm over all {len(beyond)} such differences the least has {p_value(least.p_holm)} "
        f"({CONTRAST_NAMES[least.contrast]}, {OUTCOME_NAMES[least.outcome]})."
        + (f" Those with p < {alpha:g} in their two parts: {'; '.join(parts)}. What the foreign translation loses is no gain of the own." if parts else "")
    )


def power_sentence(detectable: pd.DataFrame) -> str:
    """The smallest effects that the design would find."""
    rows = detectable.set_index("contrast")
    words = "; ".join(f"{CONTRAST_NAMES[c]} {rows.detectable[c]:.3f}" for c in ("direct", "interaction", "pivot_only - none"))
    return f"With {int(rows.n_blocks.iloc[0])} blocks, effects on MRR of this size are found in four of five such experiments (α = .05/4, the strictest step of Holm): {words}."


def manipulation_table(check: pd.DataFrame) -> pd.DataFrame:
    """Effects of the cuts on the pairs with English, for reading."""
    return pd.DataFrame(
        {
            "direction": check.direction.str.replace("-", " → ", regex=False),
            "contrast": check.contrast.map(CONTRAST_NAMES),
            "effect on MRR": [interval(*r, digits=3) for r in check[["estimate", "ci_low", "ci_high"]].to_numpy()],
            "p": check.p.map(p_value).str.removeprefix("p ").str.removeprefix("= "),
            "concepts": check.n,
        }
    )


def manipulation_sentence(pooled: pd.DataFrame) -> str:
    """Whether the cuts were felt where they were made; contrasts of the directions with English together."""
    row = pooled[pooled.contrast == "pivot"].iloc[0]
    text = f"Over the directions with English together, an open path changes their MRR by {interval(row.estimate, row.ci_low, row.ci_high, 3)} ({p_value(row.p)}, n = {row.n} concepts). "
    if row.ci_low > 0:
        return text + "The cuts were detected where they were made."
    if row.ci_high < 0:
        return text + "**There an open path harms**, which neither account predicts."
    return text + (
        "**The cuts were not detected even where they were made.** Either this model learns little from meetings, or the meetings that are left, and the size of the sample, hide it; "
        "the two-by-two cannot tell these apart."
    )


def dose_table(dose: pd.DataFrame) -> pd.DataFrame:
    """Dose–response on edges that are not cut, over all groups in which the edge is open."""
    rows = dose[dose.contrast.str.endswith("in all")]
    return pd.DataFrame(
        {
            "direction": rows.direction,
            "edge": rows.contrast.str.replace(" in all", ""),
            "partial Spearman": [interval(*r) for r in rows[["estimate", "ci_low", "ci_high"]].to_numpy()],
            "p": rows.p.map("{:.4f}".format),
            "concepts": rows.n,
        }
    )


def english_sentences(contrasts: pd.DataFrame, first: int, last: int) -> str:
    """Whether `pivot_only` concepts show more English in the middle layers than `full` ones."""
    rows = contrasts[contrasts.contrast == "full - pivot_only"].set_index("outcome")
    open_path = contrasts[contrasts.contrast == "pivot"].set_index("outcome")
    row, path = rows.loc["english"], open_path.loc["english"]
    found = "more" if row.ci_high < 0 and row.p < 0.05 else "less" if row.ci_low > 0 and row.p < 0.05 else "neither more nor less, as far as can be told,"
    return (
        f"Between blocks {first + 1} and {last + 1}, concepts whose words never meet but have a path through English show {found} English than "
        f"concepts with both ways: both ways − pivot only {interval(row.estimate, row.ci_low, row.ci_high, 4)} ({p_value(row.p)} before any correction, n = {row.n}). An open path by itself "
        f"changes what these layers say of the English word by {interval(path.estimate, path.ci_low, path.ci_high, 4)} ({p_value(path.p)}, n = {path.n})."
    )


def label_table(shares: pd.DataFrame) -> pd.DataFrame:
    """Share of items called pivot, by rule and group."""
    return pd.DataFrame(
        {
            "rule": shares.rule,
            "group": shares.group.map(GROUP_NAMES),
            "called pivot": [interval(*r) if np.isfinite(r).all() else "–" for r in shares[["share", "low", "high"]].to_numpy(float)],
            "concepts": shares.n,
            "items": shares.n_items,
            "wrong answers": ["not checked" if rule != "robust" else n for rule, n in zip(shares.rule, shares.n_wrong)],
        }
    )
