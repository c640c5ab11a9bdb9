"""Ablation: take the span of the pivot tokens out of the residual stream, and see what becomes of the translation.

The span is projected out at the answer position after every block of a range, so that what a later block writes back is taken out as
well. The outcome is the change of the log-odds of the target's first token. Beside the pivots stand the source word's tokens, the
target token itself (what complete removal costs), and controls (:mod:`.control_spans`), 50 and more an item.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from . import interventions
from .artifacts import Store
from .control_spans import TokenFacts, describe, pivot_tokens, transplant
from .fingerprint import module_code
from .interventions import Answers, spans, without
from .matching import read_forms
from .models import VOCABULARY_SLICE, LanguageModel, matmul_precision
from .progress import progress
from .subjects import Subject, matched_tokens
from .task import Prompt

__all__ = ["Plan", "ablated", "ablated_directly", "ablate_pairs", "directions_compared", "follow_word"]

FOLLOWED = ["source_lang", "target_lang", "source_word", "target_word", "taken_out", "before", "after", "clean", "delta", "control_mean", "control_sd", "p"]
EQUAL = "equal removal"
ROWS = 64  # states whose probabilities over the whole vocabulary are held at a time


@dataclass(frozen=True)
class Plan:
    """What is done to each item.

    Attributes:
        first: first block after which the span is taken out, from 0.
        last: last such block, inclusive.
        layers: blocks after which it is taken out one at a time.
        most: tokens of a span, at most.
        n_controls: matched spans an item.
        n_built: transplanted spans an item, and as many that remove as much of the state.
        n_shuffled: other concepts' spans an item.
        n_second: concepts for pivot sets after the first, which are not looked at by blocks, doses and unrelated prompts.
        n_few: matched spans an item where single blocks, doses, unrelated prompts, blocks held fast, and spans without their part along the target are looked at.
        n_few_concepts: concepts for these; the first block of the pivot layers alone is looked at for all.
        doses: numbers of directions; items with fewer are left out.
    """

    first: int
    last: int
    layers: tuple[int, ...]
    most: int = 6
    n_controls: int = 50
    n_built: int = 5
    n_shuffled: int = 3
    n_second: int = 60
    n_few: int = 5
    n_few_concepts: int = 25
    doses: tuple[int, ...] = (1, 2, 4)

    @classmethod
    def at(cls, n_layers: int, first: float, last: float, **settings) -> Plan:
        """A plan for a model of ``n_layers`` blocks: from one share of its depth to another, the last block left out; single blocks from the middle on."""
        if not 0 <= first <= last <= 1:
            raise ValueError(f"from {first} to {last} of the depth: two shares are needed, the lower first")
        begin = min(int(first * n_layers), n_layers - 2)
        return cls(begin, max(begin, min(int(last * n_layers), n_layers - 2)), tuple(range(n_layers // 2 + 1, n_layers)), **settings)

    def check(self, n_layers: int) -> None:
        """Raise a ValueError if a block is not one of the model's."""
        if not 0 <= self.first <= self.last < n_layers or any(not 0 <= la < n_layers for la in self.layers):
            raise ValueError(f"blocks {self.first}…{self.last} and {list(self.layers)}: the model has blocks 0…{n_layers - 1}")


@torch.inference_mode()
def ablated(lm: LanguageModel, answers: Answers, bases: Tensor, first: int, last: int) -> Tensor:
    """Final-normed hidden states when spans are projected out after blocks first … last.

    Args:
        bases: orthonormal bases, several spans an item, [items, spans, d, k]; a span of zeros changes nothing.

    Returns:
        [items, spans, d].
    """
    found, bases = [], bases.to(lm.device)
    for rows in torch.arange(len(answers), device=lm.device).split(max(1, interventions.BATCH_STATES // bases.shape[1])):
        change = without(bases[rows])
        states = change(answers.states[rows, first + 1, None].expand(-1, bases.shape[1], -1))
        found.append(interventions.run_on(lm, answers, rows, first, states, dict.fromkeys(range(first + 1, last + 1), change)))
    return torch.cat(found)


@torch.inference_mode()
def ablated_directly(lm: LanguageModel, answers: Answers, bases: Tensor, layer: int) -> Tensor:
    """:func:`ablated` after one block, with all later blocks held at what they wrote before: what the lack does by itself, and no block makes of it."""
    found, bases = [], bases.to(lm.device)
    for rows in torch.arange(len(answers), device=lm.device).split(max(1, interventions.BATCH_STATES // bases.shape[1])):
        before = answers.states[rows, layer + 1, None].expand(-1, bases.shape[1], -1)
        states = answers.states[rows, -1, None] + without(bases[rows])(before) - before
        found.append(lm.normed(states.flatten(0, 1)).view(states.shape))
    return torch.cat(found)


# --- the spans of one direction ---------------------------------------------------------------------------------------


class Spans:
    """Spans of several items, gathered one by one: what they are, and their directions."""

    def __init__(self, n_items: int, d: int):
        self.d = d
        self.held: list[list[Tensor]] = [[] for _ in range(n_items)]
        self.names: list[list[tuple[str, str, int]]] = [[] for _ in range(n_items)]

    def add(self, item: int, span: str, control: str, directions: Tensor) -> None:
        """Add one span [k, d] or several [n, k, d]."""
        for number, one in enumerate(directions if directions.ndim == 3 else [directions]):
            self.held[item].append(one)
            self.names[item].append((span, control, number))

    def _kept(self, n: int, keep: Callable[[tuple[str, str, int], Tensor], bool], k: int | None = None) -> Spans:
        """The first n items' spans that are to be kept, cut to their first k directions."""
        other = Spans(n, self.d)
        for i in range(n):
            pairs = [(v[:k], name) for v, name in zip(self.held[i], self.names[i]) if keep(name, v)]
            other.held[i], other.names[i] = [v for v, _ in pairs], [name for _, name in pairs]
        return other

    def first(self, n: int) -> Spans:
        """The spans of the first n items."""
        return self._kept(n, lambda name, v: True)

    def without(self, span: str) -> Spans:
        """All but one."""
        return self._kept(len(self.held), lambda name, v: name[0] != span)

    def truncated(self, spans: tuple[str, ...], k: int, least: int) -> Spans | None:
        """Some spans cut to their first k directions, of those that have at least ``least``; None if there are none."""
        short = self._kept(len(self.held), lambda name, v: name[0] in spans and len(v) >= least, k)
        return short if any(short.names) else None

    def bases(self) -> Tensor:
        """Orthonormal bases, padded with zeros: [items, spans, d, k]."""
        most, widest = max(map(len, self.held)), max((len(v) for h in self.held for v in h), default=1)
        padded = torch.zeros(len(self.held), max(most, 1), widest, self.d)
        for i, held in enumerate(self.held):
            for j, one in enumerate(held):
                padded[i, j, : len(one)] = one
        return torch.cat([spans(part) for part in padded.split(16)])

    def table(self, **values: Tensor) -> pd.DataFrame:
        """One row a span: item, span, control, number and the values, each [items, spans]."""
        rows = pd.DataFrame([(i, *n) for i, names in enumerate(self.names) for n in names], columns=["item", "span", "control", "number"])
        return rows.assign(**{k: np.concatenate([v[i, : len(n)].numpy() for i, n in enumerate(self.names)]) for k, v in values.items()})


def _beside(directions: Tensor, target: Tensor) -> Tensor:
    """What is left of directions [..., k, d] beside the target's."""
    return directions - (directions @ target)[..., None] * target


def ablate_pairs(
    subject: Subject, items: pd.DataFrame, pivots: dict[str, list[list[int]]], plan: Plan, texts: dict[str, list[str]], store: Store
) -> pd.DataFrame:
    """All ablations of all directions, each direction kept on disk when it is done.

    Args:
        items: of :func:`.subjects.choose_items`.
        pivots: named pivot sets, token ids of each item; an item without any is left out where that name is concerned.
        texts: running text in each language, for prompts that have nothing to do with translation.

    Returns:
        model, source_lang, target_lang, concept_id, correct, experiment (`main`, `layer`, `direct` (:func:`ablated_directly` after one block), `held` (the same after the last of the range), `dose`, `kl own`, `kl other`, `kl text`), span (a name of
        ``pivots``, `source`, `target`, `none`; followed by ` beside target` where the part along the target was left in), control (`own`, `matched`,
        `transplanted`, `equal removal`, `shuffled`), number, layer (first block), last_layer, n_directions, rank, removed (share of the state's squared length after the first block), clean (log-odds
        before), delta (change of log-odds, or KL divergence in nats) and what spans are matched on.
    """
    plan.check(subject.lm.n_layers)
    parts, code = [], module_code("ablation")
    for pair, own in progress(list(items.groupby(["source_lang", "target_lang"], sort=False)), f"ablations in {subject.lm.id}"):
        sets = {name: [ids[i] for i in own.index] for name, ids in pivots.items()}
        own, running = own.reset_index(drop=True), texts[pair[1]]
        prompt = subject.prompts[pair][0]
        key = {
            "code": code,
            "model": subject.lm.facts(),
            "prompt": prompt,
            "items": own.to_dict("records"),
            "pivots": sets,
            "plan": asdict(plan),
            "texts": running,
        }
        key["tokens"] = float(subject.facts.frequency.sum())
        parts.append(store.unit("ablations", lambda p=prompt, o=own, s=sets, t=running: _ablate_pair(subject, p, o, s, plan, t), **key))
    return pd.concat(parts, ignore_index=True).assign(model=subject.lm.id)


def _ablate_pair(subject: Subject, prompt: Prompt, items: pd.DataFrame, pivots: dict[str, list[list[int]]], plan: Plan, texts: list[str]) -> pd.DataFrame:
    lm, facts = subject.lm, subject.facts
    sequences, first_tokens = interventions.answer_sequences(lm, prompt, items.source_word.tolist(), items.target_word.tolist())
    answers, targets = interventions.read_answers(lm, sequences), torch.tensor(first_tokens, device=lm.device)
    (main, few, kl, ends), described = (Spans(len(items), facts.directions.shape[1]) for _ in range(4)), []
    n_few, begin = min(plan.n_few_concepts, len(items)), min(plan.first, *plan.layers)
    cosines = (facts.directions @ facts.directions[first_tokens].T).T.contiguous().numpy()
    for i, concept_id in enumerate(items.concept_id):
        target = facts.directions[first_tokens[i]]
        source = pivot_tokens(
            facts, subject.starts(concept_id, items.source_lang[i]), subject.words(concept_id, items.target_lang[i]), plan.most, plan.n_controls
        )
        plain = {"none": torch.zeros(1, len(target)), "target": target[None]} | ({"source": facts.directions[source]} if source else {})
        for name, directions in plain.items():
            main.add(i, name, "own", directions)
            if name != "none":
                few.add(i, name, "own", directions)
        for place, (name, sets) in enumerate(pivots.items()):
            if not (ids := sets[i]) or place and i >= plan.n_second:
                continue
            matched = matched_tokens(subject, concept_id, ids, first_tokens[i], plan.n_controls, cosines[i])
            matched = matched[np.random.default_rng(i).permutation(len(matched))]  # they come nearest first; the few that stand for all are a sample
            own, controls = facts.directions[ids], facts.directions[torch.from_numpy(matched)]
            main.add(i, name, "own", own)
            main.add(i, name, "matched", controls)
            described += [
                describe(facts, x, first_tokens[i]).assign(item=i, span=name, control=c, number=range(len(x)))
                for c, x in (("own", np.array([ids])), ("matched", matched))
            ]
            # of the others' pivots what is none of its own, and akin to none of its words
            barred = {*ids, *facts.related(subject.words(concept_id)).tolist()}
            others = [[t for t in sets[(i + j) % len(sets)] if t not in barred] for j in range(1, len(sets))]
            others = [o for o in others if o]
            donors = _donors(facts, others, len(ids), plan.n_built)
            kept = {"transplanted": target[None], EQUAL: torch.cat([target[None], answers.states[i, begin + 1 :].cpu()])} if len(donors) else {}
            for control, vectors in kept.items():
                built = transplant(*(x.expand(len(donors), -1, -1) for x in (own, vectors)), donors)
                for held in (main, ends) if place or control != EQUAL else (main, ends, few):
                    held.add(i, name, control, built)
                if control == EQUAL:
                    for held in (main, ends):
                        held.add(i, f"{name} beside target", control, _beside(built, target))
            for number, other in enumerate(others[: plan.n_shuffled]):
                main.add(i, name, "shuffled", facts.directions[other])
                described.append(describe(facts, np.array([other]), first_tokens[i]).assign(item=i, span=name, control="shuffled", number=number))
            for held in (main, ends):
                held.add(i, f"{name} beside target", "own", _beside(own, target))
                held.add(i, f"{name} beside target", "matched", _beside(controls[: plan.n_few], target))
            for held in (ends,) if place else (ends, few, kl):
                held.add(i, name, "own", own)
                held.add(i, name, "matched", controls[: plan.n_few])
    runs, some, short = [_run(lm, answers, main, plan.first, plan.last, "main")], _first(answers, n_few), few.first(n_few)
    for layer in sorted({plan.first, *plan.layers}):
        where, held = (answers, few) if layer == plan.first else (some, short)
        runs += [_run(lm, where, held, layer, layer, "layer"), _run(lm, where, held.without("target"), layer, layer, "direct")]
    # what the lack does by itself where the range ends; all that the ablation does beyond it, some block has made of the lack
    runs.append(_run(lm, answers, ends, plan.last, plan.last, "held"))
    if not described:
        raise ValueError(
            f"none of the {len(items)} words from {items.source_lang.iloc[0]} into {items.target_lang.iloc[0]} has a pivot token that could be taken out; take more concepts"
        )
    doses = {k: dose for k in plan.doses if (dose := short.truncated(tuple(pivots), k, max(plan.doses)))}
    runs += [_run(lm, some, dose, plan.first, plan.last, "dose", k) for k, dose in doses.items()]
    table = _changes(lm, runs, targets).merge(pd.concat(described), on=["item", "span", "control", "number"], how="left", suffixes=("", "_matched"))
    table["n_directions"] = table.n_directions.fillna(table.pop("n_directions_matched"))
    running = interventions.read_answers(lm, _text_prompts(lm, texts, n_few))
    places = {"kl own": some, "kl other": _first(answers, n_few, 1), "kl text": running}
    table = pd.concat([table, *(_divergences(lm, place, kl.first(n_few), plan, name) for name, place in places.items())], ignore_index=True)
    return table.merge(items[["source_lang", "target_lang", "concept_id", "correct"]], left_on="item", right_index=True).drop(columns="item")


def _donors(facts: TokenFacts, others: list[list[int]], k: int, n: int) -> Tensor:
    """Tokens of other concepts' pivots, k for each of n spans, [n, k, d]; fewer spans where there are not enough other concepts."""
    found = []
    for start in range(min(n, len(others))):
        ids = list(dict.fromkeys(i for other in others[start:] + others[:start] for i in other))[:k]
        found += [facts.directions[ids]] if len(ids) == k else []
    return torch.stack(found) if found else torch.zeros(0, k, facts.directions.shape[1])


def _first(answers: Answers, n: int, shift: int = 0) -> Answers:
    """The first items of some answers; with a shift, each one's place is taken by a later one."""
    rows = (torch.arange(n) + shift) % len(answers)
    lines = [(k[rows], v[rows]) for k, v in answers.lines]
    return Answers(answers.states[rows], answers.prefix, lines, answers.lengths[rows], answers.positions[rows], answers.read[rows])


def _run(lm: LanguageModel, answers: Answers, held: Spans, first: int, last: int, experiment: str, n_directions: float = np.nan) -> tuple[Tensor, pd.DataFrame]:
    """Hidden states of all spans [rows, d], and what they are."""
    bases = held.bases()
    hidden = ablated_directly(lm, answers, bases, first) if experiment in ("direct", "held") else ablated(lm, answers, bases, first, last)
    state = answers.states[:, first + 1].cpu()
    removed = torch.einsum("nd,ncdk->nck", state, bases).square().sum(-1) / state.square().sum(-1)[:, None]
    table = held.table(removed=removed, rank=(bases.norm(dim=2) > 0.5).sum(-1))
    real = torch.cat([hidden[i, : len(names)] for i, names in enumerate(held.names)])
    return real, table.assign(experiment=experiment, layer=first, last_layer=last, n_directions=n_directions)


@torch.inference_mode()
def _changes(lm: LanguageModel, runs: list[tuple[Tensor, pd.DataFrame]], targets: Tensor) -> pd.DataFrame:
    """Log-odds of the targets, and their change against the span `none` of the same run; the unembedding sees all runs at once."""
    table = pd.concat([t for _, t in runs], ignore_index=True)
    hidden, ids = torch.cat([h for h, _ in runs]), targets[torch.tensor(table["item"].tolist())]
    table["odds"] = (
        torch.cat([interventions.log_odds(lm, h, t)[0] for h, t in zip(hidden.split(interventions.HEAD_STATES), ids.split(interventions.HEAD_STATES))])
        .cpu()
        .numpy()
    )
    clean = table[(table.span == "none") & (table.experiment == table.experiment.iloc[0])].set_index("item").odds
    table["clean"] = table["item"].map(clean)
    return table[table.span != "none"].assign(delta=lambda t: t.odds - t.clean).drop(columns="odds")


def _text_prompts(lm: LanguageModel, texts: list[str], n: int) -> list[tuple[int, ...]]:
    """Beginnings of running text, cut after half of their tokens."""
    ids = [tuple(i) for i in lm.tokenizer(texts, return_attention_mask=False)["input_ids"] if len(i) >= 8]
    if not ids:
        raise ValueError(f"none of {len(texts)} texts has eight tokens")
    return [ids[j % len(ids)][: len(ids[j % len(ids)]) // 2] for j in range(n)]


def _divergences(lm: LanguageModel, answers: Answers, held: Spans, plan: Plan, experiment: str) -> pd.DataFrame:
    """KL(before ‖ after) of the whole output, nats."""
    bases = held.bases()
    bases = torch.cat([torch.zeros_like(bases[:, :1]), bases], 1)
    found = []
    for hidden in ablated(lm, answers, bases, plan.first, plan.last).split(max(1, ROWS // bases.shape[1])):
        log_p = _log_softmax(lm, hidden.flatten(0, 1)).view(*hidden.shape[:2], -1)
        found.append((log_p[:, :1].exp() * (log_p[:, :1] - log_p[:, 1:])).sum(-1).cpu())
    return held.table(delta=torch.cat(found)).assign(experiment=experiment, layer=plan.first, last_layer=plan.last)


def _log_softmax(lm: LanguageModel, hidden: Tensor) -> Tensor:
    """Log probabilities of the whole vocabulary, final-normed [rows, d] -> [rows, vocabulary]."""
    with matmul_precision(lm.dtype):
        logits = torch.cat([hidden @ rows.float().T for rows in lm.unembedding.split(VOCABULARY_SLICE)], 1)
    return lm.softcap(logits).log_softmax(-1)


def directions_compared(subject: Subject, items: pd.DataFrame, pivots: list[list[int]], plan: Plan, store: Store) -> pd.DataFrame:
    """What difference it makes which direction is taken for a token's.

    `u`: the row of the unembedding; `Mᵀu`: with the final norm; `Mᵀ(u − ū)`: and without what all tokens share.

    Returns:
        source_lang, target_lang, concept_id, direction, control (`own`, `shuffled`), delta.
    """
    parts, code = [], module_code("ablation")
    for pair, own in progress(list(items.groupby(["source_lang", "target_lang"], sort=False)), f"directions in {subject.lm.id}"):
        sets, own, prompt = [pivots[i] for i in own.index], own.reset_index(drop=True), subject.prompts[pair][0]
        key = {"code": code, "model": subject.lm.facts(), "prompt": prompt, "items": own.to_dict("records"), "pivots": sets, "plan": asdict(plan)}
        parts.append(store.unit("directions", lambda p=prompt, o=own, s=sets: _compare_directions(subject, p, o, s, plan), **key))
    return pd.concat(parts, ignore_index=True).assign(model=subject.lm.id)


def _compare_directions(subject: Subject, prompt: Prompt, items: pd.DataFrame, pivots: list[list[int]], plan: Plan) -> pd.DataFrame:
    lm = subject.lm
    sequences, first_tokens = interventions.answer_sequences(lm, prompt, items.source_word.tolist(), items.target_word.tolist())
    answers, targets = interventions.read_answers(lm, sequences), torch.tensor(first_tokens, device=lm.device)
    rows = {"u": lm.unembedding.float(), "Mᵀ(u − ū)": subject.facts.directions}
    rows["Mᵀu"] = rows["u"] @ interventions.norm_map(lm).T
    held = Spans(len(items), lm.unembedding.shape[1])
    for i in range(len(items)):
        held.add(i, "none", "own", torch.zeros(1, lm.unembedding.shape[1]))
        for name, of in rows.items():
            for j in range(1 + plan.n_shuffled):
                if ids := pivots[(i + j) % len(pivots)]:
                    held.add(i, name, "shuffled" if j else "own", of[ids].cpu())
    table = _changes(lm, [_run(lm, answers, held, plan.first, plan.last, "direction")], targets).rename(columns={"span": "direction"})
    table = table.groupby(["item", "direction", "control"], sort=False).delta.mean().reset_index()
    return table.merge(items[["source_lang", "target_lang", "concept_id"]], left_on="item", right_index=True).drop(columns="item")


@torch.inference_mode()
def follow_word(subject: Subject, concept_id: str, pairs: list[tuple[str, str]], plan: Plan) -> pd.DataFrame:
    """What becomes of one concept's translations when its English forms are taken out.

    Returns:
        One row a direction: source_lang, target_lang, source_word, target_word, taken_out (texts of the tokens; empty where all are words of the source or
        target language), before, after (texts of the most probable first token), clean (log-odds of the target), delta, control_mean, control_sd (of ``n_controls`` matched spans) and p
        (share of controls and the own that cost at least as much).

    Raises:
        ValueError: if the lexicon does not have the concept, or the prompts show its translation.
    """
    if concept_id not in subject.lexicon.index:
        raise ValueError(f"concept {concept_id!r} is not in the lexicon")
    if shown := [p for p in pairs if concept_id in subject.prompts[p][0].demonstrations]:
        raise ValueError(f"concept {concept_id!r} is a demonstration in the prompts ({'-'.join(shown[0])})")
    lm, facts, word, rows = subject.lm, subject.facts, subject.lexicon.loc[concept_id], []
    subject = replace(subject, forms=read_forms(subject.lexicon.loc[[concept_id]]))
    for source, target in pairs:
        sequences, first = interventions.answer_sequences(lm, subject.prompts[source, target][0], [word[source]], [word[target]])
        answers = interventions.read_answers(lm, sequences)
        ids = pivot_tokens(facts, subject.starts(concept_id, "en"), subject.words(concept_id, source, target), plan.most, plan.n_controls)
        held = Spans(1, facts.directions.shape[1])
        held.add(0, "none", "own", torch.zeros(1, held.d))
        if ids:
            held.add(0, "english", "own", facts.directions[ids])
            held.add(0, "english", "matched", facts.directions[torch.from_numpy(matched_tokens(subject, concept_id, ids, first[0], plan.n_controls))])
        hidden = ablated(lm, answers, held.bases(), plan.first, plan.last)[0]
        odds, top = interventions.log_odds(lm, hidden, torch.tensor(first * len(hidden), device=lm.device))
        texts, change = lm.tokenizer.batch_decode([[t] for t in top[:2].tolist()]), (odds[1:] - odds[0]).cpu().numpy()
        row = {
            "source_lang": source,
            "target_lang": target,
            "source_word": word[source],
            "target_word": word[target],
            "before": texts[0],
            "clean": float(odds[0]),
        }
        row["taken_out"] = lm.tokenizer.batch_decode([[i] for i in ids]) if ids else []
        if ids:
            row |= {"after": texts[1], "delta": change[0], "control_mean": change[1:].mean(), "control_sd": change[1:].std(ddof=1)}
            row["p"] = (1 + (change[1:] <= change[0]).sum()) / len(change)
        rows.append(row)
    return pd.DataFrame(rows).reindex(columns=FOLLOWED)
