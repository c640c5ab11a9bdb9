"""Prose and tables of notebook 04: every number is taken from a table of the notebook."""

from __future__ import annotations

import pandas as pd

from .pivot_layers import GROUPS, MIDDLE
from .report import interval, p_value, short_name
from .stats import mean_intervals
from .task import LANGUAGES
from .words import WordIndex

__all__ = [
    "PANELS",
    "index_sentence",
    "quote_lines",
    "word_sentence",
    "coverage_table",
    "coverage_sentences",
    "threshold_sentences",
    "pivot_examples",
    "ranking_table",
    "ranking_sentences",
    "type_counts",
    "type_sentences",
    "balance_sentence",
    "layer_sentences",
    "standing_out_sentences",
    "answer_sentences",
    "one_answer",
    "carrier_sentences",
    "label_sentences",
    "regression_table",
    "regression_sentences",
    "conclusion",
]

PAIR = ["source_lang", "target_lang"]
NOTHING = "No traced concept has pivots."
TERMS = {
    "log_both": "documents with both words (log)",
    "support_apart": "pivots, in documents with one word only",
    "support": "pivots, in all documents",
    "pivot_mass": "pivots, in the middle layers",
}
PANELS = {
    ("apart", "log_both"): "documents with both words",
    ("apart", "support_apart"): "pivots, in documents\nwith one word only",
    ("documents", "support"): "pivots, in all documents",
    ("layers", "pivot_mass"): "pivots, in the middle layers\n(traced concepts)",
}


def directions(table: pd.DataFrame) -> pd.Series:
    """Names of the directions of a table."""
    return table.source_lang + " → " + table.target_lang


def index_sentence(index: WordIndex) -> str:
    """How much was indexed."""
    n = pd.Series(index.langs).value_counts()
    words = ", ".join(f"{n.get(la, 0)} {name}" for la, name in LANGUAGES.items())
    return f"{len(index.doc_ids)} documents with {index.n_words.sum() / 1e6:.1f} million running words; different words in at least five documents: {words}."


def quote_lines(quotes: pd.DataFrame) -> str:
    """Quoted documents as a list, by pivot.

    Args:
        quotes: from ``quotes.read_quotes``.
    """
    lines = []
    for (pivot, lang), rows in quotes.groupby(["pivot", "lang"], sort=False):
        lines.append(f"* **{pivot}** ({LANGUAGES[lang]})")
        for row in rows.itertuples():
            parts = [row.pivot_quote] if row.lang == row.end_lang and row.pivot_quote == row.word_quote else [row.word_quote, row.pivot_quote]
            text = " / ".join(f"“{p}”" for p in parts)
            lines.append(f"    * with the {row.end} word, *{row.source}*{'' if row.apart else ' (holds the other word as well)'}: {text}")
    return "\n".join(lines) or "There is no document to quote."


def word_sentence(concept_id: str, row: pd.Series | None, pivots: pd.DataFrame) -> str:
    """What was found for one concept in one direction.

    Args:
        row: of ``coverage``; None if the concept was not looked at.
        pivots: of the concept and direction.
    """
    if row is None:
        return f"`{concept_id}` was not looked at."
    text = f"The source word occurs in {row.n_source} documents, the target word in {row.n_target}, both in {row.n_both}. "
    if row.status == "too few documents":
        return text + "That is too few to look for pivots."
    kept = pivots[pivots.kept]
    text += f"{row.n_candidates} words co-occur with both; of the {row.n_ranked} best by our ranking {row.n_kept} pass the association filter"
    return text + (f": {', '.join(f'{n} {k}' for k, n in kept.type.value_counts().items())}." if len(kept) else ".")


def coverage_table(coverage: pd.DataFrame) -> pd.DataFrame:
    """Concepts by direction and what was found."""
    order = ["pivots", "no word associated", "no word in common", "too few documents"]
    return coverage.groupby([directions(coverage).rename("direction"), "status"]).size().unstack(fill_value=0).reindex(columns=order, fill_value=0)


def coverage_sentences(coverage: pd.DataFrame) -> str:
    """How many concepts could be looked at, over all directions."""
    some = coverage[coverage.status == "pivots"].groupby(PAIR).concept_id.nunique()
    few, kept = (coverage.status == "too few documents").mean(), coverage[coverage.status == "pivots"].n_kept
    text = f"Of {coverage.concept_id.nunique()} concepts in {len(coverage.drop_duplicates(PAIR))} directions, {len(coverage)} cases: {few:.0%} have too few documents, "
    if not len(some):
        return text + "and none has pivots."
    text += f"{(coverage.status == 'pivots').mean():.0%} have pivots ({some.min()} to {some.max()} concepts per direction; "
    return (
        text
        + f"median {kept.median():.0f} per case, quartiles {kept.quantile(0.25):.0f} and {kept.quantile(0.75):.0f}). Cases without are rows of the table `pivot_coverage`; nothing was padded."
    )


def threshold_sentences(limits: pd.DataFrame) -> str:
    """What the association filter does on demonstration concepts."""
    row, alone = limits.set_index("measure").loc["both"], limits.set_index("measure")
    text = (
        f"Association must exceed {alone.threshold['association']:.3f}, similarity {alone.threshold['similarity']:.3f}. Of {int(row.n_null)} words found for mismatched pairs {row.false:.1%} pass, "
        f"of {int(row.n)} found for the demonstration concepts {row.passing:.0%}, of the {int(row.n_translations)} accepted translations among these {row.recall:.0%}. "
    )
    if alone.recall["similarity"] > 0.97 and alone.false["similarity"] > 0.8:
        return text + "Nearly everything passes by similarity: beside association it adds almost nothing, and the rule sets no effective threshold on it."
    return (
        text
        + f"By similarity alone {alone.false['similarity']:.0%} of the words of mismatched pairs would pass, by association alone {alone.false['association']:.1%}."
    )


def pivot_examples(pivots: pd.DataFrame, n: int = 8, seed: int = 0, n_words: int = 9) -> pd.DataFrame:
    """Concepts drawn at random, at most one a direction, with their first pivots in our ranking."""
    kept = pivots[pivots.kept].sort_values("rank_ours")
    first = kept.groupby([*PAIR, "concept_id", "source_word", "target_word"], sort=False)[["pivot", "type"]].agg(list).reset_index()
    chosen = first[first["pivot"].str.len() >= 3].sample(frac=1, random_state=seed).drop_duplicates(PAIR).drop_duplicates("concept_id").head(n)
    mark = {"English translation": " ★", "third-language translation": " ☆"}
    rows = [
        {
            "direction": f"{row.source_lang} → {row.target_lang}",
            "word": row.source_word,
            "translation": row.target_word,
            "pivots (★ English, ☆ third-language translation)": ", ".join(
                p + mark.get(t, "") for p, t in list(dict(zip(row.pivot, row.type)).items())[:n_words]
            ),
        }
        for row in chosen.itertuples()
    ]
    return pd.DataFrame(rows, columns=["direction", "word", "translation", "pivots (★ English, ☆ third-language translation)"])


def ranking_table(compared: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Means of ``pivots.ranking_agreement`` by direction, concepts resampled.

    Returns:
        source_lang, target_lang (and `all`), measure, n (concepts), mean, low, high.
    """
    measures = ["overlap", "common_paper", "common_ours", "translation_paper", "translation_ours", "advantage"]
    table, rows = compared.assign(advantage=compared.translation_ours - compared.translation_paper), []
    for (a, b), group in [*table.groupby(PAIR, sort=False), (("all", "all"), table)]:
        per_concept = group.groupby("concept_id")[measures].mean()
        for measure, (mean, low, high) in zip(measures, mean_intervals(per_concept.to_numpy(float), n_resamples, seed)):
            rows.append({"source_lang": a, "target_lang": b, "measure": measure, "n": len(per_concept), "mean": mean, "low": low, "high": high})
    return pd.DataFrame(rows)


def ranking_sentences(table: pd.DataFrame) -> str:
    """The two rankings compared, over all directions."""
    whole = table[table.source_lang == "all"].set_index("measure")
    text = {m: interval(whole["mean"][m], whole.low[m], whole.high[m]) for m in whole.index}
    gain = whole.loc["advantage"]
    verdict = "Ours finds it earlier" if gain.low > 0 else "The paper's finds it earlier" if gain.high < 0 else "Neither finds it earlier"
    return (
        f"Of the words in either ranking's top {text['overlap']} are in both (n = {whole.n['overlap']} concepts). Of the paper's first ten {text['common_paper']} are words that occur in more than 2 % of "
        f"all documents, of ours {text['common_ours']}. The reciprocal rank of the concept's own word in a third language is {text['translation_paper']} in the paper's ranking, "
        f"{text['translation_ours']} in ours. {verdict}: difference {interval(gain['mean'], gain.low, gain.high)}."
    )


def type_counts(pivots: pd.DataFrame, coverage: pd.DataFrame) -> pd.DataFrame:
    """Kept pivots a concept by direction and type, over the concepts with enough documents.

    Returns:
        source_lang, target_lang, type, n_concepts, per_concept, share (of the direction's kept pivots).
    """
    n = coverage[coverage.status != "too few documents"].groupby(PAIR).concept_id.nunique()
    counts = pivots[pivots.kept].groupby([*PAIR, "type"]).size().rename("count").reset_index()
    counts = counts.assign(n_concepts=[n[a, b] for a, b in zip(counts.source_lang, counts.target_lang)])
    total = counts.groupby(PAIR)["count"].transform("sum")
    return counts.assign(per_concept=counts["count"] / counts.n_concepts, share=counts["count"] / total).drop(columns="count")


def type_sentences(counts: pd.DataFrame) -> str:
    """Which types the kept pivots are, in directions with and without English."""
    parts = []
    with_english = (counts.source_lang == "en") | (counts.target_lang == "en")
    for name, rows in (("without English", counts[~with_english]), ("with English", counts[with_english])):
        if len(rows):
            share = (rows.per_concept * rows.n_concepts).groupby(rows.type).sum()
            share = (share / share.sum()).sort_values(ascending=False)
            parts.append(f"In directions {name}: " + ", ".join(f"{k} {v:.0%}" for k, v in share.items() if v >= 0.005) + ".")
    return " ".join(parts)


def balance_sentence(mass: pd.DataFrame, middle: list[int]) -> str:
    """How well control tokens match pivot tokens, and which layers are the middle."""
    used = mass[mass.n_tokens > 0]
    if used.empty:
        return NOTHING
    worst = [used[c].abs().max() for c in ("balance_frequency", "balance_norm")]
    tokens = used.drop_duplicates([*PAIR, "concept_id"])
    few = tokens.groupby(PAIR).size()
    return (
        f"In each direction {few.min()} to {few.max()} concepts with pivot tokens are traced, median {tokens.n_tokens.median():.0f} tokens. Pivot tokens and their controls differ by at most {worst[0]:.2f} standard "
        f"deviations in mean log frequency and {worst[1]:.2f} in mean norm. Middle layers: after block {middle[0] + 1} to {middle[-1] + 1}."
    )


def layer_sentences(curves: pd.DataFrame) -> str:
    """Where along the layers the pivots stand above both nulls, background-corrected."""
    rows = curves[(curves.lens == "corrected") & (curves.layer != MIDDLE)]
    wide = rows.pivot_table(index=[*PAIR, "layer"], columns="measure", values=["mean", "low", "high"])
    above = (wide["low"]["pivot"] > wide["high"]["control"]) & (wide["low"]["pivot"] > wide["high"]["shuffled"])
    reached = above.groupby(level=PAIR).any()
    if not reached.any():
        return "In no direction and at no layer does the interval of the pivots lie above the bands of both nulls."
    layers = above[above].reset_index().groupby(PAIR).layer
    pivot = wide["mean"]["pivot"].groupby(level=PAIR)
    peak = {pair: part.idxmax()[2] + 1 for pair, part in pivot}
    largest = pivot.max()
    a, b = largest.idxmax()
    return (
        f"In {int(reached.sum())} of {len(reached)} directions the pivots' interval lies above the bands of both nulls at some layer, first after block {int(layers.min().min()) + 1} to "
        f"{int(layers.min().max()) + 1}. They are at their highest after block {min(peak.values())} to {max(peak.values())}; "
        f"the highest mean is {largest.max():.3f} ({a} → {b}), the lowest peak {largest.min():.3f}."
    )


def standing_out_sentences(summary: pd.DataFrame) -> str:
    """How many concepts have pivots above their controls in the middle layers."""
    if summary.empty:
        return NOTHING
    row, parts = summary[summary.source_lang == "all"].iloc[0], summary[summary.source_lang != "all"]
    return (
        f"In the middle layers pivots get {interval(row.mass_pivot, row.low, row.high, 4)} of probability beyond the background, their control sets {row.mass_control:.4f} (means over {row.n} concepts); "
        f"the source word gets {row.mass_source:.3f}, the accepted translations {row.mass_target:.3f}. The mean is that of a few: half of the {row.n_cases} cases (concept and direction) lie below "
        f"{row.q50:.4f}, a quarter below {row.q25:.4f}, and a quarter above {row.q75:.3f}. "
        f"{interval(row.above, row.above_low, row.above_high)} of the cases lie above 95 % of their own control sets, by direction {parts.above.min():.2f} to {parts.above.max():.2f}; "
        f"{interval(row.above_shuffled, row.above_shuffled_low, row.above_shuffled_high)} above 95 % of the other concepts' pivots, the harder null, by direction {parts.above_shuffled.min():.2f} to "
        f"{parts.above_shuffled.max():.2f}. Chance gives .05 each."
    )


def answer_sentences(answers: pd.DataFrame, found: pd.DataFrame) -> str:
    """Pivot mass by whether the answer is right, and what part of the mass on neither word it is.

    Args:
        answers: from ``pivot_evidence.by_answer``.
        found: from ``pivot_evidence.found_share``.
    """
    lines = []
    for name, rows in answers.groupby("directions", sort=False):
        sides = [
            f"{interval(r.mass_pivot, r.low, r.high, 3)} where it is {r.answer} ({r.n_cases} cases of {r.n} concepts; {r.above:.2f} above their controls)"
            for r in rows.itertuples()
        ]
        where = "in all directions" if name == "all" else "in the directions without English"
        lines.append(f"* By the model's own answer, {where}: {', '.join(sides)}.")
    for row in found.itertuples():
        where = "in all directions" if row.directions == "all" else "in the directions without English"
        lines.append(
            f"* Of what the middle layers give to tokens of neither word because of the word, {interval(row.share, row.low, row.high)} is given to discovered pivots, {where} (n = {row.n} concepts)."
        )
    return "\n".join(lines) or NOTHING


def one_answer(own: pd.DataFrame, correct: float | None) -> str:
    """What the model makes of the word that is shown in full; ``own``: its rows of ``pivot_mass``, background-corrected."""
    last = own[own.layer == own.layer.max()].iloc[0]
    answer = "" if correct is None else f"The model's own answer to this word is {'right' if correct >= 0.5 else 'wrong'}. "
    return f"{answer}After the last block the accepted translations have {last.mass_target:.3f} beyond the background."


def carrier_sentences(types: pd.DataFrame, contrasts: pd.DataFrame) -> str:
    """Which types carry the mass in directions without English: is the pivot English, or any language?"""
    lines = []
    apart = types[(types.source_lang != "en") & (types.target_lang != "en")]
    for (a, b), rows in apart.groupby(PAIR, sort=False):
        beyond = (rows.mass - rows.control).set_axis(rows.type)
        real = rows[rows.low > rows.control_high].type.tolist()
        whole = beyond.sum()
        largest = ", ".join(f"{k} {v / whole:.0%}" for k, v in beyond.sort_values(ascending=False).head(4).items()) if whole > 0 else "no type"
        lines.append(
            f"* **{a} → {b}** (n = {rows.n.max()}): of the mass on discovered pivots beyond the controls {largest}; above the band of the controls: {', '.join(real) or 'none'}."
        )
    whole = contrasts[contrasts.source_lang == "all"].set_index("contrast")
    for contrast, row in whole.iterrows():
        verdict = "more" if row.low > 0 else "less" if row.high < 0 else "not clearly more or less"
        each = "more" if row.each_low > 0 else "less" if row.each_high < 0 else "not clearly more or less"
        other = contrast.split(" − ")[1]
        lines.append(
            f"* Against {other}s, over the directions without English: English translations carry {verdict} mass ({row['first']:.4f} to {row['second']:.4f}; difference {interval(row.difference, row.low, row.high, 4)}, "
            f"n = {row.n} concepts), and {each} per token ({interval(row.difference_each, row.each_low, row.each_high, 4)})."
        )
    return "\n".join(lines)


def label_sentences(hits: pd.DataFrame) -> str:
    """Labelled tokens and discovered pivots, over all directions."""
    lines = []
    for row in hits[hits.source_lang == "all"].to_dict("records"):
        kinds = sorted(((row[f"share: {g}"], g) for g in GROUPS), reverse=True)
        known = ", ".join(f"{k} {v:.2f}" for v, k in kinds[:3] if v > 0)
        verdict = "more than chance" if row["difference_low"] > 0 else "less than chance" if row["difference_high"] < 0 else "no more than chance"
        lines.append(
            f"* **{row['rule']}**: {interval(row['share'], row['low'], row['high'])} of {row['n']} items ({row['n_concepts']} concepts; {row['n_called']} items are called pivot, the rest belong to concepts without discovered pivots), against {row['chance']:.3f} for another concept's pivots: {verdict}"
            + (f" (by type: {known})." if known else ".")
        )
    return "\n".join(lines) or "No item called pivot belongs to a concept with pivots."


def regression_table(table: pd.DataFrame) -> pd.DataFrame:
    """The regression for the reader."""
    rows = [
        {
            "outcome": {"p_target": "P(y|w)", "log_p_target": "log P(y|w)"}[row.outcome],
            "predictor (1 standard deviation)": TERMS[row.term],
            "n": row.n,
            "concepts": row.n_concepts,
            "coefficient": interval(row.coefficient, row.low, row.high, 3),
            "of the outcome's deviation": f"{row.standardised:.2f}",
            "95 % of the null": f"[{row.null_low:.3f}, {row.null_high:.3f}]",
            "p (permutation)": p_value(row.p_perm),
            "p (Holm)": "" if row.term == "log_both" else p_value(row.p_holm),
            "R², with and without": f"{row.r2:.3f}, {row.r2_without:.3f}",
        }
        for row in table.itertuples()
    ]
    return pd.DataFrame(rows)


def regression_sentences(table: pd.DataFrame, outcome: str = "p_target") -> str:
    """What goes with P(y|w): direct co-occurrence, and pivots in each of the three measures, all else held fixed."""
    used, lines = table[table.outcome == outcome], []
    for row in used[(used.term != "log_both") | (used.model == "apart")].itertuples():
        lines.append(
            f"* **{TERMS[row.term]}**: one standard deviation more goes with {row.coefficient:+.3f} [{row.low:.3f}, {row.high:.3f}] of P(y|w); {_verdict(row)} "
            f"(n = {row.n} items of {row.n_concepts} concepts)."
        )
    return "\n".join(lines) or "There are too few items for a regression."


def _beyond(row, sign: int) -> bool:
    """Whether a coefficient has a sign, and lies beyond what frequency gives after Holm."""
    return sign * (row.coefficient - row.null_mean) > 0 and (row.low > 0 if sign > 0 else row.high < 0) and row.p_holm < 0.05


def _verdict(row) -> str:
    if row.low <= 0 <= row.high:
        return "not distinguished from zero"
    sign = "positive, as in the paper" if row.coefficient > 0 else "negative, the opposite of the paper's"
    p = p_value(row.p_perm) if row.term == "log_both" else f"{p_value(row.p_perm)}, Holm over the measures of pivots {p_value(row.p_holm)}"
    return (
        f"{sign}, and beyond what frequency gives ({p})"
        if _beyond(row, 1 if row.coefficient > 0 else -1)
        else f"{sign}, but not distinguished from what frequency gives ({p})"
    )


def _score_sentence(table: pd.DataFrame) -> str:
    used = table[table.outcome == "p_target"]
    if used.empty:
        return "There are too few items to tell."
    measures, direct = used[used.term != "log_both"], used[used.term == "log_both"]
    pivots, together = [_beyond(r, 1) for r in measures.itertuples()], [_beyond(r, 1) for r in direct.itertuples()]
    text = (
        f"Direct co-occurrence goes with a higher P(y|w) beyond what frequency gives, in all {len(direct)} regressions; "
        if all(together)
        else f"Direct co-occurrence does not go with a higher P(y|w) in all {len(direct)} regressions; "
    )
    text += (
        f"of the {len(pivots)} measures of pivots {sum(pivots)} do{'es' if sum(pivots) == 1 else ''} (coefficients {measures.coefficient.min():+.3f} to "
        f"{measures.coefficient.max():+.3f} per standard deviation). "
    )
    if against := [r for r in measures.itertuples() if _beyond(r, -1)]:
        text += f"{len(against)} of them go{'es' if len(against) == 1 else ''} with a lower one, beyond what frequency gives ({', '.join(f'Holm {p_value(r.p_holm)}' for r in against)}). "
    return text + (
        "The paper's second term is found here."
        if all(pivots)
        else "The paper's second term, that more pivots make for better translation, is not found here."
        if not any(pivots)
        else "The paper's second term depends on the measure."
    )


def conclusion(ranks: pd.DataFrame, summary: pd.DataFrame, contrasts: pd.DataFrame, hits: pd.DataFrame, regression: pd.DataFrame, model: str) -> str:
    """The notebook's findings, one line each, whichever way they turned out."""
    gain = ranks[(ranks.source_lang == "all") & (ranks.measure == "advantage")].iloc[0]
    lines = [
        f"1. **In the documents.** Words of two languages are linked by words that co-occur with both. The concept's own word in a third language has a reciprocal rank of "
        f"{_mean(ranks, 'translation_ours'):.2f} by our ranking and {_mean(ranks, 'translation_paper'):.2f} by the paper's formula on our corpus (both before the association filter), which has "
        f"{_mean(ranks, 'common_paper'):.0%} common words among its first ten (ours {_mean(ranks, 'common_ours'):.0%}); difference {interval(gain['mean'], gain.low, gain.high)}."
    ]
    for row in summary[summary.source_lang == "all"].itertuples():
        above = "stand out" if min(row.above_low, row.above_shuffled_low) > 0.05 else "do not stand out from both nulls"
        lines.append(
            f"2. **In the layers** of {short_name(model)} the discovered pivots {above}: {interval(row.above, row.above_low, row.above_high)} of the cases lie above 95 % of matched control sets, "
            f"{interval(row.above_shuffled, row.above_shuffled_low, row.above_shuffled_high)} above 95 % of other concepts' pivots (chance .05 each; n = {row.n} concepts). On average they get {row.mass_pivot:.3f} of probability in the middle layers (but half of the {row.n_cases} cases have less than {row.q50:.4f}), the source word {row.mass_source:.3f}, the translations {row.mass_target:.3f}."
        )
    third = contrasts[(contrasts.source_lang == "all") & contrasts.contrast.str.endswith("third-language translation")]
    if len(third):
        t = third.iloc[0]
        if t.low > 0 and t.each_low > 0:
            text = "English words carry more of this probability than the words of the other third language, also by the token (tokens that can begin either are left out): among the discovered pivots the lens shows the English word more."
        elif t.low > 0:
            text = "English words carry more of this probability than those of the other third language, but not by the token."
        elif t.high < 0:
            text = "the words of the other third language carry more of this probability than English ones."
        else:
            text = "English words and those of the other third language are not distinguished."
        lines.append(
            f"3. **English, or semantic?** Without English as source or target, {text} Difference {interval(t.difference, t.low, t.high, 4)} (n = {t.n} concepts)."
        )
    robust = hits[(hits.source_lang == "all") & (hits.rule == "robust")]
    if len(robust):
        h = robust.iloc[0]
        lines.append(
            f"4. **Labels.** {interval(h.share, h.low, h.high)} of the tokens that the robust rule calls pivots are pivots of the concept in the documents (another concept's: {h.chance:.3f}): "
            + (
                "more than chance, but most labelled tokens are not such words."
                if h.difference_low > 0 and h.share < 0.5
                else "more than chance."
                if h.difference_low > 0
                else "no more than chance."
            )
        )
    lines.append(f"5. **Does it matter for the score?** {_score_sentence(regression)}")
    return "\n".join(lines)


def _mean(ranks: pd.DataFrame, measure: str) -> float:
    return float(ranks[(ranks.source_lang == "all") & (ranks.measure == measure)]["mean"].iloc[0])
