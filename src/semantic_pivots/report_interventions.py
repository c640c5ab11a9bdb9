"""Text and tables of the interventions (notebook 06, second half): every number in the prose is computed here from an artifact."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .association import holm
from .effects import DIRECTLY, LATER
from .report import interval, p_value, short_name
from .task import LANGUAGES

__all__ = [
    "pivot_sentence",
    "direction_sentences",
    "balance_text",
    "ablation_sentences",
    "use_table",
    "direction_table",
    "use_sentences",
    "spelling_table",
    "block_sentences",
    "reach_sentences",
    "word_table",
    "patch_sentences",
    "steering_sentences",
    "second_half_sentences",
    "known_sentences",
]
__all__ += ["effect_row", "beyond", "harms", "best_dose", "directions_of_use", "uses", "mean_text", "difference_text", "SPANS", "CONTROLS", "ASIDE"]

STEERED = {"transplanted": "same cosine to the target", "matched": "matched tokens", "random": "random directions"}
CONTROLS = {"matched": "matched tokens", "transplanted": "the same geometry", "equal removal": "the same geometry and as much removed"}
ASIDE = " beside target"  # of a span's name: its part along the target was left in
SPANS = {"english": "English forms", "discovered": "discovered pivots"}
COVARIATES = {
    "n_directions": "directions",
    "frequency": "log corpus frequency",
    "token_rank": "log rank in the vocabulary",
    "norm": "length of the direction",
    "span_cosine": "cosine of span and target",
    "mutual_cosine": "cosine among themselves",
    "removed": "log₁₀ share of the state removed",
}


def effect_row(effects: pd.DataFrame, **where) -> pd.Series | None:
    """The one row that fits, direction `all` if none is named; None if there is none."""
    where = {"direction": "all"} | where
    rows = effects[np.logical_and.reduce([effects[c] == v for c, v in where.items()])]
    return rows.iloc[0] if len(rows) else None


def harms(row: pd.Series | None, alpha: float = 0.05) -> bool:
    """Whether a difference is below zero by its interval and by its test both."""
    return row is not None and bool(row.difference_high < 0 and row.p < alpha)


def beyond(effects: pd.DataFrame, what: str, kind: str = "ablation", **where) -> dict[str, pd.Series]:
    """The rows of one intervention by control (:data:`CONTROLS`), those that are there."""
    rows = {control: effect_row(effects, kind=kind, what=what, control=control, **where) for control in CONTROLS}
    return {control: row for control, row in rows.items() if row is not None}


def best_dose(effects: pd.DataFrame, control: str = "transplanted") -> pd.Series | None:
    """The steering dose that moves the target most, beside a control; None if nothing was steered."""
    rows = effects[(effects.kind == "steering") & (effects.direction == "all") & (effects.control == control)]
    return rows.loc[rows["mean"].idxmax()] if len(rows) else None


def mean_text(row: pd.Series, digits: int = 2) -> str:
    """Mean with its interval."""
    return interval(row["mean"], row.low, row.high, digits)


def control_text(row: pd.Series, digits: int = 2) -> str:
    """Mean of the controls with its interval."""
    return interval(row.control_mean, row.control_low, row.control_high, digits)


def difference_text(row: pd.Series, digits: int = 2) -> str:
    """Paired difference to the controls with its interval."""
    return interval(row.difference, row.difference_low, row.difference_high, digits)


def pivot_sentence(pivots: dict[str, list[list[int]]], items: pd.DataFrame, n_second: int) -> str:
    """How many items have pivots to take out."""
    parts = []
    for name, sets in pivots.items():
        have = np.array([bool(s) for s in sets])
        sizes = np.array([len(s) for s in sets])[have]
        parts.append(f"{SPANS[name]}: {have.sum()} of {len(have)} items, {np.median(sizes) if len(sizes) else 0:.0f} tokens each (median)")
    n = items.concept_id.nunique()
    second = f" Of the discovered pivots those of the first {n_second} concepts are looked at." if "discovered" in pivots and n_second < n else ""
    return (
        f"{len(items)} items: {n} concepts in {items.groupby(['source_lang', 'target_lang']).ngroups} directions; the model's first token is right for "
        f"{items.correct.mean():.0%}. With pivot tokens that are no form of the concept's own words in the source or target language: {'; '.join(parts)}.{second} The others are left out of "
        "what concerns pivots, and not replaced."
    )


def direction_sentences(compared: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """What the choice of direction does to pivots and to another concept's; a table and a sentence."""
    table = compared.assign(pair=compared.source_lang + " → " + compared.target_lang).pivot_table(
        index="pair", columns=["direction", "control"], values="delta", sort=False
    )
    order = [(d, c) for d in ("u", "Mᵀu", "Mᵀ(u − ū)") for c in ("own", "shuffled")]
    table = table[order].round(1).rename(columns={"own": "English forms", "shuffled": "another concept's"})
    values = compared.groupby(["source_lang", "target_lang", "direction", "control"]).delta.mean().unstack()
    ahead = {d: int((v.own < v.shuffled).sum()) for d, v in values.groupby(level="direction")}
    n = len(values) // values.index.unique("direction").size
    plain = values.xs("u", level="direction").shuffled.mean()
    text = (
        f"English forms do more harm than another concept's in {ahead['u']} of {n} directions with the plain row u, in {ahead['Mᵀu']} with the norm taken into account, and "
        f"in {ahead['Mᵀ(u − ū)']} when also what all tokens share stays in the state. With the plain row, another concept's forms change the log-odds by {plain:.1f} nats on average. "
    )
    if ahead["Mᵀu"] < ahead["Mᵀ(u − ū)"]:
        text += (
            f"Had the shared part been removed with the rest, another concept's words would have seemed to matter more than the own in {n - ahead['Mᵀu']} directions: "
            "what all tokens share says how probable a script or a language is, not a word."
        )
    return table, text


def balance_text(balance: pd.DataFrame) -> pd.DataFrame:
    """How alike pivots and their matched controls are, for reading."""
    rows = balance[balance.covariate.isin(COVARIATES)]
    table = rows.assign(covariate=rows.covariate.map(COVARIATES), model=rows.model.map(short_name))
    table = table[["model", "span", "control", "covariate", "n", "own", "mean", "smd"]].rename(columns={"n": "items", "own": "pivots", "mean": "controls"})
    return table.round(2).reset_index(drop=True)


def ablation_sentences(effects: pd.DataFrame, span: str = "english", alpha: float = 0.05) -> str:
    """What taking the pivots out does beside three kinds of control."""
    name = f"the {SPANS[span]}"
    matched, exact, equal = map(beyond(effects, span).get, CONTROLS)
    if matched is None:
        return f"No item has {name}."
    singles = effects[(effects.kind == "ablation") & (effects.what == span) & (effects.control == "matched") & (effects.direction != "all")]
    worse = int(((singles.difference < 0) & (singles.p_holm < alpha)).sum())
    text = (
        f"Without {name} the target's log-odds change by {mean_text(matched)} nats (n = {matched.n} concepts, {matched.n_items} items), without matched tokens by {control_text(matched)}: "
        f"a difference of {difference_text(matched)} ({p_value(matched.p)}, sign flips), below zero with Holm-adjusted p < {alpha:g} in {worse} of {len(singles)} directions."
    )
    if exact is not None:
        text += (
            f" Directions with exactly the pivots' cosines to the target and among themselves do {control_text(exact)}; beyond them the difference is "
            f"{difference_text(exact)} ({p_value(exact.p)})."
        )
    if equal is not None:
        text += f" Such directions that also take as much out of each state do {control_text(equal)}; beyond them it is **{difference_text(equal)}** ({p_value(equal.p)})."
    shuffled = effect_row(effects, kind="ablation", what=span, control="shuffled")
    if shuffled is not None:
        text += f" Another concept's pivots, not matched, do {control_text(shuffled)}."
    source = effect_row(effects, kind="ablation", what="source", control="")
    target = effect_row(effects, kind="ablation", what="target", control="")
    if span == "english" and source is not None and target is not None:
        text += f" For comparison: the source word's tokens {mean_text(source)}, the target token itself {mean_text(target)}."
    ends = [(end, effect_row(effects, kind="ablation", what=span, control=f"{end} span")) for end in ("source", "target")]
    if paired := [f"without the {end}'s tokens is {difference_text(r)} ({p_value(r.p)}, n = {r.n})" for end, r in ends if r is not None]:
        text += f" On the items that have both, the change without {name} less that {', and less that '.join(paired)}."
    return text


def _text(row: pd.Series | None, alpha: float, holm: bool = False) -> str:
    """A difference, with a star where its interval and its test both tell it from zero."""
    if row is None:
        return "–"
    shown = row.difference_low * row.difference_high > 0 and (row.p_holm if holm else row.p) < alpha
    return difference_text(row) + "*" * bool(shown)


def use_table(effects: pd.DataFrame, alpha: float = 0.05) -> pd.DataFrame:
    """What the lack of each span does beyond each control, all directions together: all of it, by itself, and through other blocks; also with the part along the target left in."""
    checks = [("all of the loss", "ablation", ""), ("by itself", DIRECTLY, ""), ("through other blocks", LATER, "")]
    checks += [(f"{name}, part along the target left in", kind, ASIDE) for name, kind in (("all", "ablation"), ("through other blocks", LATER))]
    table = {}
    for span, name in SPANS.items():
        for check, kind, part in checks:
            rows = beyond(effects, f"{span}{part}", kind)
            if rows:
                table[f"{name} (n = {max(r.n for r in rows.values())} concepts)", check] = {label: _text(rows.get(c), alpha) for c, label in CONTROLS.items()}
    found = pd.DataFrame.from_dict(table, orient="index", columns=list(CONTROLS.values()))
    found.index = pd.MultiIndex.from_tuples(list(table), names=["removed", "change of log-odds (nats) beyond …"]) if table else found.index
    return found


def direction_table(effects: pd.DataFrame, span: str, alpha: float = 0.05) -> pd.DataFrame:
    """What other blocks make of the lack of a span, direction by direction, beyond each control; also with the part along the target left in."""
    rows = effects[(effects.kind == LATER) & (effects.what == span) & (effects.direction != "all")]
    table = {}
    for direction in dict.fromkeys(rows.direction):
        whole, aside = (beyond(effects, f"{span}{part}", LATER, direction=direction) for part in ("", ASIDE))
        cells = {label: _text(whole.get(c), alpha, True) for c, label in CONTROLS.items()}
        cells |= {f"part along the target left in: {label}": _text(aside.get(c), alpha, True) for c, label in CONTROLS.items() if c in aside}
        table[direction.replace("-", " → ")] = cells
    return pd.DataFrame.from_dict(table, orient="index").rename_axis(f"{SPANS[span]}: through other blocks, beyond …")


def _told(rows: dict[str, pd.Series], alpha: float) -> str:
    """By which controls a loss is shown."""
    yes, no = ([CONTROLS[c] for c, row in rows.items() if harms(row, alpha) == shown] for shown in (True, False))
    return f"beyond {' and '.join(yes)}, not beyond {' and '.join(no)}" if yes and no else "beyond every control" if yes else "beyond no control"


def directions_of_use(effects: pd.DataFrame, span: str, sign: int = -1, alpha: float = 0.05) -> list[str]:
    """Directions in which blocks add to the loss (or, with sign 1, make up for a part of it) beyond every control, Holm over the directions."""
    rows = effects[(effects.kind == LATER) & (effects.what == span) & (effects.direction != "all") & effects.control.isin(CONTROLS)]
    shown = (sign * rows.difference > 0) & (rows.difference_low * rows.difference_high > 0) & (rows.p_holm < alpha)
    every = shown.groupby(rows.direction, sort=False).all()
    return every.index[every].tolist()


def uses(effects: pd.DataFrame, span: str, alpha: float = 0.05) -> list[str]:
    """Directions in which blocks add to the loss beyond every control, and also where the part along the target is left in: its lack alone does not explain it."""
    aside = directions_of_use(effects, f"{span}{ASIDE}", -1, alpha)
    return [d for d in directions_of_use(effects, span, -1, alpha) if d in aside]


def _ways(directions: list[str]) -> str:
    return ", ".join(d.replace("-", " → ") for d in directions)


def _use(effects: pd.DataFrame, span: str, alpha: float) -> str:
    """What the checks on a span say."""
    aside, later, later_aside = beyond(effects, f"{span}{ASIDE}"), beyond(effects, span, LATER), beyond(effects, f"{span}{ASIDE}", LATER)
    said, own = [], beyond(effects, span, DIRECTLY).get("equal removal")
    if own is not None and own.difference_low > 0 and own.p < alpha:
        # the pivots' and the controls' products with the state and the target are the same, so the target's own logit changes alike
        said.append(
            f"by itself their lack costs less than an equally large one ({difference_text(own)}): the target's logit falls alike by construction, so its rivals lose more, and the pivots are among them"
        )
    if aside:
        said.append(f"with the part along the target left in, a loss is shown {_told(aside, alpha)}")
    if later:
        offset = all(r.difference_low > 0 and r.p < alpha for r in later.values())
        text = "other blocks make up for a part of the loss, by every control" if offset else f"a loss through other blocks is shown {_told(later, alpha)}"
        said.append(text + (f" (with the part along the target left in, {_told(later_aside, alpha)})" if later_aside else ""))
    worse, better = (directions_of_use(effects, span, sign, alpha) for sign in (-1, 1))
    if worse:
        used = uses(effects, span, alpha)
        where = "but in none of them" if not used else "and in all of them also" if used == worse else f"and in {_ways(used)} also"
        said.append(f"in {_ways(worse)} it is shown beyond every control, {where} with the part along the target left in")
    if better:
        said.append(f"in {_ways(better)} other blocks make up for a part of the loss, by every control")
    return f"{SPANS[span][0].upper()}{SPANS[span][1:]}: {'; '.join(said)}." if said else ""


def use_sentences(effects: pd.DataFrame, alpha: float = 0.05) -> str:
    """Whether other blocks use what was removed, or the target merely shares a direction with it: the verdicts on :func:`use_table` and :func:`direction_table`, a line a span."""
    return "\n".join(f"* {said}" for span in SPANS if (said := _use(effects, span, alpha)))


def spelling_table(spelled: pd.DataFrame, alpha: float = 0.05) -> pd.DataFrame:
    """:func:`.effects.by_spelling` for reading; a star where the interval and the test both tell a difference from zero."""
    names = {"alike": "spelled like an English word", "otherwise": "spelled otherwise"}
    cells = [f"{interval(r.difference, r.low, r.high, 2)}{'*' * bool(r.low * r.high > 0 and r.p < alpha)}" for r in spelled.itertuples()]
    part = np.where(spelled.what.str.endswith(ASIDE), "part along the target left in", "all of the span")
    rows = spelled.assign(
        cell=cells, part=part, beyond=spelled.control.map(CONTROLS), words=spelled.spelling.map(names), into=spelled.target_lang.map(LANGUAGES)
    )
    table = rows.pivot_table(index=["into", "words", "n"], columns=["part", "beyond"], values="cell", aggfunc="first", sort=False)
    return table.rename_axis(index={"n": "concepts"}, columns={"part": "", "beyond": "beyond …"})


def block_sentences(effects: pd.DataFrame, layer: int, control: str = "equal removal", alpha: float = 0.05) -> str:
    """English removed after a single block: what later blocks add to the loss, beyond what they add for the control; Holm over the blocks."""
    kinds = ("one block", "one block, directly", "one block, through later blocks")
    whole, direct, later = (effect_row(effects, kind=k, what="english", control=control, layer=layer) for k in kinds)
    if later is None:
        return "No item has English forms."
    name = f"directions of {CONTROLS[control]}" if control != "matched" else CONTROLS[control]
    text = (
        f"Removed after block {layer + 1} alone, English costs {mean_text(whole)} nats ({difference_text(whole)} beyond {name}). With later blocks held fast it would be {mean_text(direct)} "
        f"({difference_text(direct)} beyond them); later blocks add {mean_text(later)}."
    )
    rows = effects[(effects.kind == kinds[2]) & (effects.what == "english") & (effects.control == control) & (effects.direction == "all")]
    rows = rows[rows.layer < rows.layer.max()].sort_values("layer")  # nothing follows the last
    if rows.empty:
        return text
    p = holm(rows.p.to_numpy())
    each = "; ".join(f"after {int(r.layer) + 1} {difference_text(r)}{'' if q < alpha else ' (n.s.)'}" for (_, r), q in zip(rows.iterrows(), p))
    more, less = ([str(int(la) + 1) for la, d, q in zip(rows.layer, rows.difference, p) if q < alpha and sign * d > 0] for sign in (-1, 1))
    said = [f"they add to the loss after {', '.join(more)}"] * bool(more) + [f"they make up for a part of it after {', '.join(less)}"] * bool(less)
    return (
        f"{text} What they add beyond what they add for {name}, block by block (n = {int(rows.n.min())} concepts, Holm over the blocks): {each}. "
        f"So {' and '.join(said) if said else 'that they use what was removed is not shown'}."
    )


def reach_sentences(effects: pd.DataFrame) -> str:
    """Dose and specificity."""
    rows = effects[(effects.kind == "number of directions") & (effects.direction == "all") & (effects.control == "matched")].sort_values("n_directions")
    parts = []
    if len(rows):
        doses = "; ".join(f"{int(r.n_directions)}: {mean_text(r)} against {control_text(r)}" for _, r in rows.iterrows())
        parts.append(f"By number of directions (English forms against matched tokens, n = {rows.n.min()} concepts that have that many): {doses}.")
    names = {"kl own": "on the item itself", "kl other": "while another word is translated", "kl text": "in running text of the target language"}
    places = [(text, effect_row(effects, kind=kind, what="english", control="matched")) for kind, text in names.items()]
    shown = "; ".join(
        f"{mean_text(r)} nats {text} (matched tokens {control_text(r)}, difference {difference_text(r)}, {p_value(r.p)})" for text, r in places if r is not None
    )
    return " ".join([*parts, f"The whole output moves by a KL divergence of {shown}." if shown else ""])


def word_table(followed: pd.DataFrame) -> pd.DataFrame:
    """One concept's translations before and after, for reading."""
    return pd.DataFrame(
        {
            "from": followed.source_word,
            "to": followed.target_word,
            "removed": [", ".join(t.strip() for t in x) or "–" for x in followed.taken_out],
            "says before": [t.strip() or "␣ (blank)" for t in followed.before],
            "says after": [t.strip() or "␣ (blank)" for t in followed.after.fillna("–")],
            "log-odds": followed.clean.map("{:.1f}".format),
            "change": followed.delta.map(lambda x: "–" if np.isnan(x) else f"{x:.1f}"),
            "matched tokens": ["–" if np.isnan(m) else f"{m:.1f} (sd {sd:.1f})" for m, sd in zip(followed.control_mean, followed.control_sd)],
            "p": followed.p.map(lambda p: "–" if np.isnan(p) else f"{p:.2f}"),
        }
    )


def patch_sentences(curves: pd.DataFrame, crossings: pd.DataFrame) -> str:
    """When the output follows the other concept, when the other language; and what the mean over source languages changes."""
    both = crossings[crossings.kind == "both"].set_index("measure")

    def when(row: pd.Series) -> str:
        if not np.isfinite(row.layer):
            return "after no block that was tried"
        tried = sorted(curves[curves.kind == "both"].layer.unique())
        before = [la for la in tried if la < row.layer]
        ends = f"95 % of resamples: {int(row.low) + 1}" + (f" to {int(row.high) + 1}" if row.high > row.low else "")
        ends += f"; {row.resolved:.0%} of them have such a block" if row.resolved < 1 else ""
        place = f"between blocks {int(before[-1]) + 1} and {int(row.layer) + 1}" if before else f"by block {int(row.layer) + 1}"
        return f"{place} ({ends}, of the blocks tried)"

    concept, language = both.loc["concept"], both.loc["language"]
    text = (
        f"With the state of another concept's run into English, what is said goes more than half of the way to English {when(language)}, and to the other concept {when(concept)} "
        f"(n = {concept.n} concepts; without a patch {language.before:.0%} of the four outcomes' probability is English and {concept.before:.0%} the other concept's, with the state "
        f"after the last block {language.after:.0%} and {concept.after:.0%}). "
    )
    order = both.loc["concept − language"]
    if np.isfinite(order.layer):
        if order.low > 0:
            text += (
                "At this position the language comes first. The prompt names it right before, so this alone does not speak against a pivot; what would speak for one, a block that holds the other "
                "concept while the language is still the own, does not show. "
            )
        elif order.high < 0:
            text += "So there are layers that hold the concept while the language is still open. "
        else:
            text += "Which of them comes first is not settled. "
    tried = curves[(curves.kind == "concept") & (curves.measure == "p_1")].sort_values("layer")
    tried = tried[tried.layer < tried.layer.max()]  # after the last block the output is the other run's own
    best = tried.loc[tried["mean"].idxmax()]
    clean = curves[(curves.kind == "none") & (curves.measure == "p_0")].iloc[0]
    text += f"Within one direction, the other concept's translation reaches a probability of {mean_text(best)} (after block {int(best.layer) + 1}; the last block left out), where the own has {mean_text(clean)} unpatched. "
    other = {k: curves[(curves.kind == k) & (curves.measure == "p_1")].set_index("layer") for k in ("both", "mean")}
    if all(len(o) for o in other.values()):
        peak = {k: (kept := o[o.index < o.index.max()]).loc[kept["mean"].idxmax()] for k, o in other.items()}
        text += f"From a run into English, the other concept in the *own* language never exceeds {mean_text(peak['both'])}; from the mean over source languages {mean_text(peak['mean'])}. "
    same = curves[(curves.kind == "same") & (curves.measure == "p_0")]
    if len(same):
        low = same.loc[same["mean"].idxmin()]
        text += f"The control, the same item after other demonstrations, leaves the own translation at {mean_text(low)} or more."
    return f"{text} States were patched in after the blocks {', '.join(str(int(la) + 1) for la in sorted(curves[curves.kind == 'both'].layer.unique()))}."


def steering_sentences(effects: pd.DataFrame, shares: pd.DataFrame) -> str:
    """Whether the pivot direction helps failing items."""
    rows = effects[(effects.kind == "steering") & (effects.direction == "all")]
    own = best_dose(effects, "matched")
    if own is None:
        return "There was nothing to steer."
    at = rows[rows.dose == own.dose].set_index("control")
    helped = own["low"] > 0
    text = (
        f"Of the {own.n_items} items that the model fails and that have pivots ({own.n} concepts), the target's log-odds rise most at a dose of {own.dose:g}, by {mean_text(own)} nats. "
        + ("" if helped else "That is no rise that can be told from none. ")
        + "Controls at that dose change them by "
        + ", ".join(
            f"{control_text(at.loc[c])} ({label}; pivots less control {difference_text(at.loc[c])}, {p_value(at.loc[c].p)})"
            for c, label in STEERED.items()
            if c in at.index
        )
        + ". "
    )
    if (toward := [c for c in ("transplanted", "matched") if c in at.index]) and all(at.loc[c].difference_high < 0 for c in toward):
        text += "**Controls that point at the target help more than the pivot does.** "
    picked = shares[(shares.control == "own")].set_index(["measure", "dose"])
    largest = max(rows.dose)
    english = picked.loc[("english", largest)]
    others = shares[(shares.measure == "right") & (shares.dose == own.dose) & (shares.control != "own")]
    beside = ", ".join(f"{r['mean']:.3f} ({STEERED.get(r.control, r.control)})" for _, r in others.iterrows())
    text += f"The answer becomes right in {mean_text(picked.loc[('right', own.dose)])} of them at that dose{f', with controls in {beside}' if beside else ''}; at {largest:g} the model answers with the English word in {mean_text(english)}"
    return text + (": pushed hard along a pivot, it says the pivot." if english.low > 0.1 else ".")


def second_half_sentences(effects: pd.DataFrame, crossings: pd.DataFrame, alpha: float = 0.05) -> str:
    """What the interventions say together; one model."""
    parts = []
    for span, name in SPANS.items():
        if rows := beyond(effects, span):
            costs = ", ".join(f"{difference_text(row)} beyond {CONTROLS[control]}" for control, row in rows.items())
            parts.append(
                f"**Removed,** {name} change the target's log-odds by {costs} (nats; n = {max(r.n for r in rows.values())} concepts). {_use(effects, span, alpha)}"
            )
    both = crossings[crossings.kind == "both"].set_index("measure")
    if len(both) and np.isfinite(both.layer["concept − language"]):
        order = both.loc["concept − language"]
        parts.append(
            f"**Patched in,** another run's concept takes over {order.layer:+.0f} blocks [{order.low:+.0f}, {order.high:+.0f}] after its language: "
            + (
                "layers in which the concept is there and the language still open are not seen, at a position right after the language's name."
                if order.low > 0
                else "there are layers in which the concept is there and the language still open."
                if order.high < 0
                else "which comes first is not settled."
            )
        )
    best = best_dose(effects)
    if best is not None:
        parts.append(
            f"**Added** where the model fails, the pivot moves the right word by {mean_text(best)} nats at its best dose, {difference_text(best)} beyond a direction as near to the target (n = {best.n} concepts)"
            + (
                ": it helps more than its nearness does."
                if best.difference_low > 0
                else f": less than a direction that is only as near ({control_text(best)})."
                if best.difference_high < 0
                else ": no more than its nearness does."
            )
        )
    return "\n".join(f"* {p}" for p in parts)


def known_sentences(effects: pd.DataFrame, items: pd.DataFrame) -> str:
    """The same ablation in the model whose corpus is known."""
    row = effect_row(effects, kind="ablation", what="english", control="matched")
    if row is None:
        return "In the known-corpus model no item has an English token to take out."
    rows = beyond(effects, "english")
    held = all(map(harms, [*rows.values(), *beyond(effects, f"english{ASIDE}").values()]))
    return (
        f"In the known-corpus model ({items.concept_id.nunique()} concepts; {items.correct.mean():.1%} of the first tokens right), English tokens change the target's log-odds by {mean_text(row)} and matched ones by "
        f"{control_text(row)}: {difference_text(row)} ({p_value(row.p)}, n = {row.n} concepts with an English token that is a word). "
        + _known_controls(effects, "english")
        + ("So something depends on English here." if held else "So a use of English beyond what it shares with the target is not shown here.")
        + _known_others(effects)
        + f" Where {items.correct.mean():.1%} of the answers are right, {'little' if items.correct.mean() < 0.2 else 'something'} can be broken."
    )


def _known_controls(effects: pd.DataFrame, span: str) -> str:
    """A span beyond the other controls, and beyond each with its part along the target left in."""
    rows = [(CONTROLS[c], row) for c, row in beyond(effects, span).items() if c != "matched"]
    rows += [(f"{CONTROLS[c]}, with the part along the target left in,", row) for c, row in beyond(effects, f"{span}{ASIDE}").items()]
    return f"Beyond {'; beyond '.join(f'{name} {difference_text(row)} ({p_value(row.p)})' for name, row in rows)}. " if rows else ""


def _known_others(effects: pd.DataFrame) -> str:
    discovered = effect_row(effects, kind="ablation", what="discovered", control="matched")
    best = best_dose(effects)
    text = (
        f" Discovered pivots: {difference_text(discovered)} beyond matched tokens ({p_value(discovered.p)}, n = {discovered.n}). {_known_controls(effects, 'discovered')}".rstrip()
        if discovered is not None
        else ""
    )
    if best is not None:
        text += f" Added where it fails, English moves the target by {mean_text(best)}, {difference_text(best)} beyond a direction as near to the target ({p_value(best.p)}, n = {best.n})."
    return text
