"""Two behaviors: straight from input to output (co-occurrence), or through an intermediate token (semantic pivot).

Three rules stand side by side. ``released`` and ``paper`` follow He et al. 2025, §4, as their scripts do it and as their
text has it; ``robust`` is ours. All take the layers of an item and name one (layer, token) and one label:
`cooccurrence`, `pivot`, `wrong` (the answer is not the translation; robust only) or `excluded` (source and target word
can start with the same token, so no layer can tell them apart; one of them is unreadable, since the tokenizer begins it with
a part of a character; or, robust only, no layer is informative).
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from . import association
from .layers import Layers, layers_of
from .matching import Vocabulary, fold
from .stats import mean_intervals
from .task import LANGUAGES

__all__ = ["RULES", "BEHAVIORS", "released", "paper", "robust", "label_items", "label_models", "shares", "agreement", "examples"]
__all__ += ["pivot_mass", "mass_by_direction", "specifications", "mark_forms", "pivot_languages"]

BEHAVIORS = ("cooccurrence", "pivot")

FRAGMENT = 4  # letters a token must have to pass for the beginning of a word in a script with spaces; a Han character or kana says as much


def mark_forms(traces: pd.DataFrame, forms: Vocabulary) -> pd.DataFrame:
    """Recognise inflected forms, spellings in capitals and beginnings of words among the most informative tokens.

    The columns ``info_is_*`` of the traces know the tokens that can start a word as the lexicon has it. A token such as
    ``" livres"``, ``" tradu"`` or ``"ceau"`` (of *berceau*) is no other word for it, and a rule that calls all other tokens pivots would count it as
    one. A token is taken for a word's if it is one of its forms, the beginning of one with at least four letters (one
    character in Chinese and Japanese), or another piece of one with at least four letters (two characters). Words of the source and the target language go before those of others, and a token
    that fits two other languages fits neither.

    Args:
        traces: the table ``traces``.
        forms: all forms of the traced concepts (``matching.read_forms``).

    Returns:
        The traces with ``info_is_source``, ``info_is_accepted`` and ``info_is_en`` … ``info_is_ja`` widened.
    """
    index = {c: i for i, c in enumerate(forms.concept_ids)}
    texts = traces[["concept_id", "info_text"]].drop_duplicates()
    fits = pd.DataFrame(
        {la: [_is_of(fold(t).strip(), forms.forms[k][index[c]]) for c, t in texts.itertuples(index=False)] for k, la in enumerate(forms.languages)}
    )
    fits = traces[["concept_id", "info_text"]].merge(texts.reset_index(drop=True).join(fits), on=["concept_id", "info_text"], how="left")
    fits = {la: fits[la].to_numpy(bool) for la in forms.languages}
    known = traces[[f"info_is_{r}" for r in ("source", "accepted", *LANGUAGES)]].to_numpy(bool).any(1)
    new = {"source": np.select([traces.source_lang == la for la in fits], list(fits.values()), False).astype(bool) & ~known}
    new["accepted"] = np.select([traces.target_lang == la for la in fits], list(fits.values()), False).astype(bool) & ~known
    # another accepted word of the source language ("end" for "ending") is no pivot either
    new["source"] |= np.select([traces.source_lang == la for la in fits], [traces[f"info_is_{la}"] for la in fits], False).astype(bool)
    one = sum(f.astype(int) for f in fits.values()) == 1
    new |= {la: f & one & ~known for la, f in fits.items()}
    return traces.assign(**{f"info_is_{r}": traces[f"info_is_{r}"].to_numpy(bool) | found for r, found in new.items()})


def _is_of(token: str, forms: tuple[str, ...]) -> bool:
    """Whether a folded token is one of a word's forms, the beginning of one, or a longer piece of one."""
    if not token or token in forms:
        return bool(token)
    spaced = token[0] < "\u2e80"
    if any(f.startswith(token) for f in forms):
        return len(token) >= (FRAGMENT if spaced else 1)
    return len(token) >= (FRAGMENT if spaced else 2) and any(token in f for f in forms)


def _at(values: np.ndarray, layer: np.ndarray) -> np.ndarray:
    return np.take_along_axis(values, layer[:, None], 1)[:, 0]


def _most_confident(layers: Layers, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Among layers 0 … last − 1, the one whose top token has the highest probability; and the label of that token."""
    layer = layers["top1_prob"][:, :last].argmax(1)
    same = _at(layers["top1_id"], layer) == layers["top1_id"][:, -1]
    direct = same | _at(layers["top1_is_source"], layer).astype(bool)
    return layer, np.where(direct, "cooccurrence", "pivot")


def released(layers: Layers) -> tuple[np.ndarray, np.ndarray, str]:
    """The rule of the released scripts.

    Over all layers, the last included, take the token with the highest top-1 probability. If it is the final prediction
    or a source token: co-occurrence, else pivot. Whether the prediction is right is never looked at.

    Returns:
        Layer [n], label [n], and the trace column that holds the token.
    """
    return *_most_confident(layers, layers.shape[1]), "top1"


def paper(layers: Layers) -> tuple[np.ndarray, np.ndarray, str]:
    """The rule of the paper's text: as :func:`released`, on intermediate layers only."""
    return *_most_confident(layers, layers.shape[1] - 1), "top1"


def robust(layers: Layers, exclude_last: int = 2, min_information: float = 1.0, check: bool = True) -> tuple[np.ndarray, np.ndarray, str]:
    """Our rule, on the background-corrected lens.

    Among the layers before the last ``exclude_last`` that tell at least ``min_information`` nats of which word is
    translated, take the token with the largest p·log(p/p_bg). An item whose answer is no accepted translation is
    `wrong`; one without such a layer is `excluded`; a token of the source word or of an accepted
    translation, inflected forms and beginnings included if :func:`mark_forms` was run, is co-occurrence; any other is a pivot.
    """
    informative = _informative(layers, exclude_last, min_information)
    last = informative.shape[1]
    layer = np.where(informative, layers["info_nats"][:, :last], -np.inf).argmax(1)
    direct = (_at(layers["info_is_source"], layer) | _at(layers["info_is_accepted"], layer)).astype(bool)
    label = np.where(direct, "cooccurrence", "pivot").astype(object)
    label[~informative.any(1)] = "excluded"
    if check:
        label[~layers.correct] = "wrong"
    return layer, label, "info"


def _informative(layers: Layers, exclude_last: int = 2, min_information: float = 1.0) -> np.ndarray:
    """Which layers before the last ``exclude_last`` tell at least ``min_information`` nats of the word, [n, layers − exclude_last]."""
    last = layers.shape[1] - exclude_last
    if last < 1:
        raise ValueError(f"exclude_last is {exclude_last}, the model has {layers.shape[1]} layers")
    return layers["information"][:, :last] >= min_information


def any_third(layers: Layers) -> np.ndarray:
    """Whether in some layer that :func:`robust` looks at the most informative token is of neither word, not in the one it chooses alone, [n]."""
    informative = _informative(layers)
    of_either = (layers["info_is_source"] | layers["info_is_accepted"]).astype(bool)[:, : informative.shape[1]]
    return (informative & ~of_either).any(1)


RULES = {"released": released, "paper": paper, "robust": robust}


def label_items(traces: pd.DataFrame) -> pd.DataFrame:
    """Label every item by every rule (table ``behaviors``).

    Returns:
        The item's columns, rule, label, layer, token, text, token_language (`source` and `target`: the item's
        source word and accepted translations; a language: any other word of the concept; or `other`), correct, readable, any_third (:func:`any_third`).
    """
    layers = layers_of(traces)
    parts = []
    for name, rule in RULES.items():
        layer, label, which = rule(layers)
        label = np.where(layers.usable, label, "excluded")
        columns = {k: _at(layers[f"{which}_{k}"], layer) for k in ("token", "text")}
        parts.append(layers.items.assign(rule=name, label=label, layer=layer, **columns, token_language=_token_language(layers, layer, which)))
        parts[-1] = parts[-1].assign(correct=layers.correct, readable=layers.readable, any_third=any_third(layers))
    return pd.concat(parts, ignore_index=True)


def label_models(traces: pd.DataFrame) -> pd.DataFrame:
    """:func:`label_items` for traces of several models and lenses, which may have different numbers of layers."""
    return pd.concat([label_items(group) for _, group in traces.groupby(["model", "lens"], sort=False, observed=True)], ignore_index=True)


def shares(behaviors: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """How many items of a direction have each label, the share of pivot among the two behaviors, and the commonest pivots.

    Returns:
        model, rule, source_lang, target_lang (and `all`), n_cooccurrence, n_pivot, n_wrong, n_excluded, n_unreadable (items,
        whatever their label), pivot_share, low, high (95 %, concepts resampled; null without items of either behavior),
        n_tokens (different tokens among the pivots), first, first_share, second, second_share (the two commonest of them as
        text, and their shares of the pivots; null without).
    """
    rows = []
    for (model, rule), whole in behaviors.groupby(["model", "rule"], sort=False):
        for (a, b), group in [*whole.groupby(["source_lang", "target_lang"], sort=False), (("all", "all"), whole)]:
            counts = {f"n_{label}": int((group.label == label).sum()) for label in (*BEHAVIORS, "wrong", "excluded")}
            counts["n_unreadable"] = int((~group.readable).sum())
            two = group[group.label.isin(BEHAVIORS)]
            share = association.share_interval((two.label == "pivot").to_numpy(), two.concept_id.to_numpy(), n_resamples, seed=seed)
            # by token: a byte-level tokenizer has many whose text alone is the same replacement character
            common = two[two.label == "pivot"].groupby(["token", "text"], observed=True, dropna=False).size().sort_values(ascending=False, kind="stable")
            common = common / common.sum()
            tokens = {"n_tokens": len(common), "first": None, "first_share": np.nan, "second": None, "second_share": np.nan}
            for name, ((_, text), part) in zip(("first", "second"), common.head(2).items()):
                tokens |= {name: text, f"{name}_share": part}
            head = {"model": model, "rule": rule, "source_lang": a, "target_lang": b}
            rows.append(head | counts | dict(zip(("pivot_share", "low", "high"), share)) | tokens)
    return pd.DataFrame(rows)


def pivot_languages(behaviors: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Whose words the pivots are: of the items called pivot, the share whose token starts the concept's word in a language.

    Args:
        behaviors: labelled items of one lens and prompt set.

    Returns:
        model, rule, source_lang, target_lang (and `all`, and `apart`: the directions without English), language (a language that
        is neither source nor target, `source`, `target` or `other`), n (items called pivot), share, low, high (95 %, concepts resampled).
    """
    rows = []
    pivots = behaviors[behaviors.label == "pivot"]
    for (model, rule), whole in pivots.groupby(["model", "rule"], sort=False):
        apart = whole[(whole.source_lang != "en") & (whole.target_lang != "en")]
        for (a, b), group in [*whole.groupby(["source_lang", "target_lang"], sort=False), (("apart", "apart"), apart), (("all", "all"), whole)]:
            for language in (*LANGUAGES, "source", "target", "other"):
                share = association.share_interval((group.token_language == language).to_numpy(), group.concept_id.to_numpy(), n_resamples, seed=seed)
                row = {"model": model, "rule": rule, "source_lang": a, "target_lang": b, "language": language, "n": len(group)}
                rows.append(row | dict(zip(("share", "low", "high"), share)))
    return pd.DataFrame(rows, columns=["model", "rule", "source_lang", "target_lang", "language", "n", "share", "low", "high"])


def agreement(behaviors: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Cohen's kappa between rules, over the items that both call one of the two behaviors; concepts are resampled.

    Returns:
        model, rule_a, rule_b, n (items), same (share labelled alike), kappa, low, high (null where a rule gives one label only),
        largest (the kappa that the two shares of pivot allow at most), pivot_too (of rule_b's pivots, the share that rule_a calls pivot).
    """
    rows = []
    for model, group in behaviors.groupby("model", sort=False):
        wide = group.pivot(index=["source_lang", "target_lang", "concept_id"], columns="rule", values="label")
        for a, b in itertools.combinations([r for r in RULES if r in wide], 2):
            both = wide[wide[a].isin(BEHAVIORS) & wide[b].isin(BEHAVIORS)]
            row = {"model": model, "rule_a": a, "rule_b": b, "n": len(both)}
            if len(both):
                clusters = both.index.get_level_values("concept_id").to_numpy()
                kappa = association.cohen_kappa(both[a].to_numpy(), both[b].to_numpy(), clusters, n_resamples, seed=seed)
                pivot = both[[a, b]].to_numpy() == "pivot"
                share, tells = pivot.mean(0), bool(pivot.any(0).all() and not pivot.all(0).any())
                chance = float(share.prod() + (1 - share).prod())
                row |= {"same": float((both[a] == both[b]).mean())} | dict(zip(("kappa", "low", "high"), kappa if tells else (np.nan,) * 3))
                row["largest"] = float((1 - abs(share[0] - share[1]) - chance) / (1 - chance)) if tells else np.nan
                row["pivot_too"] = float(pivot[pivot[:, 1], 0].mean()) if pivot[:, 1].any() else np.nan
            rows.append(row)
    return pd.DataFrame(rows)


def examples(
    behaviors: pd.DataFrame, traces: pd.DataFrame, scores: pd.DataFrame, label: str, n: int = 6, seed: int = 0, min_information: float = 1.0
) -> pd.DataFrame:
    """Items of one behavior, at most one a direction, with what the informative layers say one after the other.

    The token that decided stands in ‹ ›; what follows a bar is said by layers after it, up to the last.

    Args:
        behaviors: of one model, lens, prompt set and rule.
        traces: of the same model, lens and prompt set.
        scores: source_word and target_word of the items.
    """
    item = ["source_lang", "target_lang", "concept_id"]
    chosen = behaviors[behaviors.label == label].sample(frac=1, random_state=seed).drop_duplicates(item[:2]).drop_duplicates("concept_id").head(n)
    chosen = chosen.merge(scores[[*item, "source_word", "target_word"]].drop_duplicates(item), on=item)
    rows = []
    for row in chosen.itertuples():
        own = traces[(traces[item] == [row.source_lang, row.target_lang, row.concept_id]).all(axis=1) & (traces.information >= min_information)]
        own = own.sort_values("layer")
        parts = [[t.strip() or "␣" for t in own.info_text[where]] for where in (own.layer < row.layer, own.layer == row.layer, own.layer > row.layer)]
        before, at, after = ([t for t, _ in itertools.groupby(p)] for p in parts)
        path = " → ".join([*(t for t in before if [t] != at), *(f"‹{t}›" for t in at)]) + (f" | {' → '.join(after)}" if after else "")
        rows.append({"direction": f"{row.source_lang} → {row.target_lang}", "word": row.source_word, "translation": row.target_word, "layers say": path})
    return pd.DataFrame(rows, columns=["direction", "word", "translation", "layers say"])


def _token_language(layers: Layers, layer: np.ndarray, which: str) -> np.ndarray:
    """Whose word the token starts: the source's, the target's, the concept's in a third language, or none."""
    result = np.full(len(layer), "other", dtype=object)
    for language in ("ja", "zh", "fr", "en"):
        result[_at(layers[f"{which}_is_{language}"], layer).astype(bool)] = language
    result[_at(layers[f"{which}_is_accepted"], layer).astype(bool)] = "target"
    result[_at(layers[f"{which}_is_source"], layer).astype(bool)] = "source"
    return result


def pivot_mass(traces: pd.DataFrame, exclude_last: int = 2, min_information: float = 1.0) -> pd.DataFrame:
    """A continuous measure of the pivot behavior, with no threshold on tokens.

    The excess probability Σ max(0, p − p_bg) of a layer is what it says because of the word. Of the excess of the
    informative layers before the last ``exclude_last``, the share that is neither the source word's nor an accepted
    translation's is the pivot mass; the share of the concept's English word is the English mass.

    Returns:
        The item's columns, pivot_mass, english_mass (both in 0…1, null where no layer is informative), usable, correct.
    """
    layers = layers_of(traces)
    last = layers.shape[1] - exclude_last
    used = layers["information"][:, :last] >= min_information
    total = (layers["excess"][:, :last] * used).sum(1)

    def share(name: str) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return (layers[f"excess_{name}"][:, :last] * used).sum(1) / total

    mass = np.clip(1 - share("source") - share("accepted"), 0, 1)
    return layers.items.assign(pivot_mass=mass, english_mass=share("en"), usable=layers.usable, correct=layers.correct)


def mass_by_direction(mass: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Mean pivot mass and, in the directions without English, English mass, over right answers whose words can be told apart.

    Args:
        mass: from :func:`pivot_mass`, one model and lens.

    Returns:
        source_lang, target_lang (and `all`), measure, n (concepts), mean, low, high.
    """
    used = mass[mass.correct & mass.usable]
    # where English is the source or the target, its mass is theirs
    used = used.assign(english_mass=used.english_mass.where((used.source_lang != "en") & (used.target_lang != "en")))
    rows = []
    for (a, b), group in [*used.groupby(["source_lang", "target_lang"], sort=False), (("all", "all"), used)]:
        per_concept = group.groupby("concept_id")[["pivot_mass", "english_mass"]].mean()
        for measure, (mean, low, high) in zip(per_concept, mean_intervals(per_concept.to_numpy(), n_resamples, seed)):
            n = int(per_concept[measure].notna().sum())
            rows.append({"source_lang": a, "target_lang": b, "measure": measure, "n": n, "mean": mean, "low": low, "high": high})
    return pd.DataFrame(rows)


def specifications(
    traces: pd.DataFrame, exclude_last: tuple[int, ...] = (1, 2, 3, 4), min_information: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0)
) -> pd.DataFrame:
    """Labels under every reasonable setting, for the specification curve.

    Settings: layers left out at the end × least information × whether wrong answers are left out, for the prompt sets
    and lenses in the traces, and beside them the two naive rules.

    Returns:
        The item's columns, specification (its name), rule, exclude_last, min_information, check, label.
    """
    layers = layers_of(traces)
    settings = [("robust", k, m, c) for k in exclude_last if k < layers.shape[1] for m in min_information for c in (True, False)]
    parts = []
    for rule, k, m, c in [*settings, ("released", None, None, False), ("paper", None, None, False)]:
        _, label, _ = robust(layers, k, m, c) if rule == "robust" else RULES[rule](layers)
        name = f"robust k={k} i≥{m} {'right only' if c else 'all'}" if rule == "robust" else rule
        label = np.where(layers.usable, label, "excluded")
        parts.append(layers.items.assign(specification=name, rule=rule, exclude_last=k, min_information=m, check=c, label=label))
    return pd.concat(parts, ignore_index=True)
