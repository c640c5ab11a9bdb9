"""Text and tables of the notebooks: every number in their prose is computed here from an artifact."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pandas as pd

from . import scoring, stats
from .task import LANGUAGES, N_DISTRACTORS

__all__ = [
    "interval", "p_value", "short_name", "chance_mrr", "identical_shares", "scripts", "with_strata", "example_words", "stratified", "difference", "ability_sentences", "strata_sentences",
    "task_conclusion", "headline", "lexicon_sentence",
]  # fmt: skip

STRATA = {"pos": "part of speech", "frequency": "frequency (thirds)", "target_length": "tokens of the target", "spelling": "spelling"}
POS = {"n": "nouns", "v": "verbs", "a": "adjectives"}


def interval(value: float, low: float, high: float, digits: int = 2) -> str:
    """A value with its interval, as in ``0.31 [0.28, 0.34]``."""
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def p_value(p: float) -> str:
    """A p-value as text: three decimals, or that it is below the least one can see."""
    return "–" if not np.isfinite(p) else "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("0.", ".", 1)


def short_name(model: str) -> str:
    """A model id without its scheme and folder, for legends."""
    return model.split(":", 1)[-1].split("@")[0].rstrip("/").split("/")[-1]


def chance_mrr(n_candidates: int = N_DISTRACTORS + 1) -> float:
    """Mean reciprocal rank if the order of the candidates is random."""
    return float(np.mean(1 / np.arange(1, n_candidates + 1)))


def identical_shares(lexicon: pd.DataFrame) -> pd.DataFrame:
    """Share of concepts whose words are written alike, for each pair of languages, in per cent."""
    shares = {f"{LANGUAGES[a]} = {LANGUAGES[b]}": [100 * _alike(lexicon[a], lexicon[b]).mean()] for a, b in itertools.combinations(LANGUAGES, 2)}
    return pd.DataFrame(shares, index=["written alike (%)"]).round(1)


def scripts(lexicon: pd.DataFrame) -> pd.DataFrame:
    """How many words of each language are written in which script; a word with two of them is `mixed`."""
    ranges = {"Han": r"[\u3005\u3400-\u9fff]", "hiragana": r"[\u3041-\u309f]", "katakana": r"[\u30a0-\u30ff]", "Latin": r"[A-Za-z\u00c0-\u024f]"}
    counts = {}
    for code, language in LANGUAGES.items():
        has = pd.DataFrame({name: lexicon[code].str.normalize("NFKC").str.contains(pattern) for name, pattern in ranges.items()})
        script = has.idxmax(axis=1).where(has.sum(axis=1) == 1, "mixed")
        counts[language] = script.value_counts()
    return pd.DataFrame(counts).reindex([*ranges, "mixed"]).fillna(0).astype(int)


def _alike(a: pd.Series, b: pd.Series) -> pd.Series:
    return a.str.normalize("NFKC").str.casefold() == b.str.normalize("NFKC").str.casefold()


def with_strata(scores: pd.DataFrame, lexicon: pd.DataFrame) -> pd.DataFrame:
    """Scores with the strata of each item: part of speech, frequency, length of the target, spelling.

    Frequency is the lower Zipf value of source and target word, cut at the thirds of all items.
    """
    zipf = {la: lexicon[f"zipf_{la}"].to_dict() for la in LANGUAGES}
    rarer = np.array([min(zipf[r.source_lang][r.concept_id], zipf[r.target_lang][r.concept_id]) for r in scores.itertuples()], dtype=float)
    cuts = np.quantile(rarer, [1 / 3, 2 / 3])
    return scores.assign(
        pos=scores.concept_id.map(lexicon.pos).map(POS),
        zipf=rarer,
        frequency=np.array(["rare", "middle", "frequent"])[np.searchsorted(cuts, rarer, side="right")],
        target_length=np.where(scores.n_target_tokens >= 3, "3 or more", scores.n_target_tokens.astype(str)),
        spelling=np.where(_alike(scores.source_word, scores.target_word), "alike", "different"),
    )


def example_words(scores: pd.DataFrame, pair: tuple[str, str], n: int = 4) -> pd.DataFrame:
    """Items of one direction from the best known to the least, evenly spaced, with P(y|w) and the mean of P(y|w′)."""
    items = scores[(scores.source_lang == pair[0]) & (scores.target_lang == pair[1])].sort_values("score", ascending=False, kind="stable")
    rows = items.iloc[np.unique(np.linspace(0, len(items) - 1, n).astype(int))]
    return pd.DataFrame(
        {
            "direction": f"{LANGUAGES[pair[0]]} → {LANGUAGES[pair[1]]}",
            "word": rows.source_word,
            "translation": rows.target_word,
            "P after the word": rows.p_target.round(3),
            "P after distractors (mean)": [round(float(np.mean(p)), 4) for p in rows.p_distractors],
            "score": rows.score.round(3),
            "rank of the word": rows["rank"],
        }
    )


def stratified(scores: pd.DataFrame, stratum: str, n_resamples: int, seed: int) -> pd.DataFrame:
    """Ability by model, in the order of the scores, and stratum, over all directions; concepts are resampled."""
    levels = {v: i for i, v in enumerate([*POS.values(), "rare", "middle", "frequent", "1", "2", "3 or more", "different", "alike"])}
    models = {v: i for i, v in enumerate(scores.model.unique())}
    table = scoring.summarise(scores, ["model", stratum], n_resamples, seed).rename(columns={stratum: "level"})
    table.insert(1, "stratum", stratum)
    return table.sort_values(["model", "level"], key=lambda c: c.map(levels if c.name == "level" else models), ignore_index=True)


def difference(a: pd.DataFrame, b: pd.DataFrame, value: str = "score", seed: int = 0) -> tuple[float, float, float, int]:
    """Mean difference of a value between two sets of items over the concepts in both, with its interval and their number."""
    per_concept = pd.concat([s.groupby("concept_id")[value].mean() for s in (a, b)], axis=1, join="inner")
    gap = (per_concept.iloc[:, 0] - per_concept.iloc[:, 1]).to_numpy()
    return *stats.bootstrap_interval(gap, seed=seed), len(gap)


def _extreme(ability: pd.DataFrame, pick: Callable) -> str:
    row = ability.loc[pick(ability.mean_score)]
    return f"{LANGUAGES[row.source_lang]} to {LANGUAGES[row.target_lang]} ({_score(row.mean_score, row.ci_low, row.ci_high)})"


def _score(value: float, low: float, high: float) -> str:
    return interval(value, low, high, 2 if high >= 0.02 else 4)  # an interval above zero is not to read as zero


def ability_sentences(ability: pd.DataFrame) -> str:
    """What one model's ability table says, in words."""
    above, ranked = (ability.ci_low > 0).sum(), (ability.mrr_low > chance_mrr()).sum()
    return (
        f"**{short_name(ability.model.iloc[0])}** ({ability.n.min()} concepts in each of {len(ability)} directions): the interval of the score lies above "
        f"zero in {above} of {len(ability)} directions, that of the MRR above chance ({chance_mrr():.3f}) in {ranked}. Strongest: "
        f"{_extreme(ability, pd.Series.idxmax)}; weakest: {_extreme(ability, pd.Series.idxmin)}. The true source ranks first of ten in "
        f"{100 * ability.top1.min():.0f} to {100 * ability.top1.max():.0f} % of the items of a direction (chance 10 %), and the next token is the "
        f"translation's first in {100 * ability.first_token_accuracy.min():.1f} to {100 * ability.first_token_accuracy.max():.1f} %."
    )


def strata_sentences(ability_by: pd.DataFrame, model: str) -> str:
    """One line a stratum for one model."""
    lines = []
    for stratum, rows in ability_by[ability_by.model == model].groupby("stratum", sort=False):
        levels = "; ".join(f"{r.level}: {interval(r.mean_score, r.ci_low, r.ci_high)} (n = {r.n})" for r in rows.itertuples())
        lines.append(f"* **{STRATA[stratum]}**: mean score {levels}")
    return f"For {short_name(model)}, n being concepts:\n\n" + "\n".join(lines)


def _with_english(scores: pd.DataFrame) -> pd.Series:
    return (scores.source_lang == "en") | (scores.target_lang == "en")


def task_conclusion(scores: pd.DataFrame, model: str, comparison_model: str) -> str:
    """What the scores of the two models show, with every comparison paired by concept."""
    mine, other = (scores[scores.model == m] for m in (model, comparison_model))
    lines = []
    for name, part in (("Between two languages other than English", mine[~_with_english(mine)]), ("With English on one side", mine[_with_english(mine)])):
        if len(part):
            row, apart = scoring.summarise(part, ["model"]).iloc[0], part[part.spelling == "different"]
            without = scoring.summarise(apart, ["model"]).iloc[0] if len(apart) else None
            lines.append(
                f"{name}, {short_name(model)} scores {interval(row.mean_score, row.ci_low, row.ci_high)}"
                + (f" (without words written alike {interval(without.mean_score, without.ci_low, without.ci_high)})" if len(apart) else "")
                + f", with MRR {interval(row.mrr, row.mrr_low, row.mrr_high)} where chance is {chance_mrr():.3f} ({row.n} concepts)."
            )
    far = mine[(mine.source_lang.isin(["zh", "ja"]) & (mine.target_lang == "fr")) | ((mine.source_lang == "fr") & mine.target_lang.isin(["zh", "ja"]))]
    if len(far):
        row = scoring.summarise(far, ["model"]).iloc[0]
        lines.append(
            f"Between French and Chinese or Japanese, which share no script, it scores {interval(row.mean_score, row.ci_low, row.ci_high)}, with MRR "
            f"{interval(row.mrr, row.mrr_low, row.mrr_high)} ({row.n} concepts)."
        )
    # the same target words on both sides: their synonyms and spellings weigh alike
    foreign = mine[mine.target_lang != "en"]
    sides = foreign[foreign.source_lang != "en"], foreign[foreign.source_lang == "en"]
    if all(map(len, sides)):
        value, low, high, n = difference(*sides)
        lines.append(
            f"Into the same languages ({', '.join(LANGUAGES[la] for la in LANGUAGES if la in set(foreign.target_lang))}), from a language other than English "
            f"minus from English: {interval(value, low, high)} in score (paired over {n} concepts){_apart(*sides)}."
        )
    shared = ["source_lang", "target_lang", "concept_id"]
    both = mine.merge(other[shared], on=shared)
    if len(both):
        # their tokenizers cut a target differently, so ranks are compared before scores
        sides = [part.assign(reciprocal_rank=1 / part["rank"]) for part in (both, other.merge(mine[shared], on=shared))]
        rank, score = (difference(*sides, value) for value in ("reciprocal_rank", "score"))
        lines.append(
            f"On the same items, {short_name(model)} minus {short_name(comparison_model)} is {interval(*rank[:3])} in MRR and {interval(*score[:3])} in score (the two models tokenize the targets differently, so compare the MRR) "
            f"({rank[3]} concepts, {both.groupby(shared[:2]).ngroups} directions)."
        )
    return "\n".join(f"* {line}" for line in lines)


def _apart(a: pd.DataFrame, b: pd.DataFrame) -> str:
    """The difference of two sets of items without words written alike, in brackets; "" if nothing is left."""
    a, b = (part[part.spelling == "different"] for part in (a, b))
    if not len(a) or not len(b):
        return ""
    value, low, high, _ = difference(a, b)
    return f"; without words written alike {interval(value, low, high)}"


def headline(ability: pd.DataFrame) -> pd.DataFrame:
    """Score, log-ratio, MRR and first-token accuracy of every direction and model, with intervals, for the overview."""
    return pd.DataFrame(
        {
            "model": ability.model.map(short_name),
            "from": ability.source_lang.map(LANGUAGES),
            "to": ability.target_lang.map(LANGUAGES),
            "n": ability.n,
            "score": [_score(*v) for v in ability[["mean_score", "ci_low", "ci_high"]].to_numpy()],
            "log-ratio": [interval(*v) for v in ability[["log_ratio", "log_ratio_low", "log_ratio_high"]].to_numpy()],
            f"MRR (chance {chance_mrr():.3f})": [interval(*v) for v in ability[["mrr", "mrr_low", "mrr_high"]].to_numpy()],
            "first token right": [interval(*v) for v in ability[["first_token_accuracy", "first_token_accuracy_low", "first_token_accuracy_high"]].to_numpy()],
        }
    )


def lexicon_sentence(lexicon: pd.DataFrame, scores: pd.DataFrame) -> str:
    """How large the data set is and how much of it was scored."""
    counts = lexicon.split.value_counts()
    parts = []
    for model, rows in scores.groupby("model", sort=False):
        n_directions = rows.groupby(["source_lang", "target_lang"]).ngroups
        parts.append(f"{short_name(model)} {rows.concept_id.nunique()} concepts × {n_directions} directions = {len(rows)} items")
    return (
        f"**{len(lexicon)} concepts** in four languages ({counts.get('test', 0)} for tests, of which {int((lexicon.bijective & (lexicon.split == 'test')).sum())} are one-to-one in all languages and can be drawn; {counts.get('heldout', 0)} held out for the training experiment, "
        f"{counts.get('demo', 0)} for demonstrations). Scored here, each item with nine distractors: {'; '.join(parts)}."
    )
