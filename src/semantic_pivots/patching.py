"""Patching and steering: put another run's state in the place of the own, or add a direction to it.

*Patching* (after Dumas et al., arXiv 2411.08745). While the model translates concept A from s to t, the state of the answer position after one
block is replaced by that of another run. If the output then is concept B in t, the layer held the concept apart from the language; if it is
B in the other run's language, it held both. Prompts of different lengths are aligned by role: answer position for answer position, never
by index.

*Steering.* To an item that the model fails, the direction of the pivot tokens is added once, in units of the state's length.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from . import interventions, tokens
from .artifacts import Store
from .control_spans import transplant
from .fingerprint import module_code
from .interventions import Answers
from .progress import progress
from .subjects import Subject, matched_tokens
from .task import LANGUAGES

__all__ = ["CELLS", "Steering", "donors", "layers_to_patch", "patch_pairs", "steer_pairs"]

# The four outputs that a patch can lead to: whose concept, in whose language.
CELLS = ("own concept, own language", "other concept, own language", "own concept, other language", "other concept, other language")
STEERED = {"control": str, "number": int, "cosine": "float32", "dose": float, "clean": float, "delta": float, "right": bool, "english": bool}
STEERED |= {"source_lang": str, "target_lang": str, "concept_id": str, "layer": int}
KINDS = ("same", "concept", "language", "both", "mean")


@functools.cache
def _starts(subject: Subject, concept_id: str, lang: str) -> frozenset[int]:
    """All tokens that can start an accepted word of a concept, short ones included: this is about what is said, not about what stands for a word."""
    return frozenset(tokens.word_starts(subject.lm.tokenizer, subject.lexicon.loc[concept_id, f"valid_{lang}"]))


def layers_to_patch(n_layers: int, first: int) -> list[int]:
    """Blocks after which states are put in: every second one up to the first pivot layer, then all."""
    return sorted({*range(1, first, 2), *range(max(first - 2, 0), n_layers)})


def donors(subject: Subject, concept_ids: Sequence[str], langs: Sequence[str]) -> list[int]:
    """For each concept the place of the next one of which no word starts like one of its own in the given languages; −1 where there is none."""
    chosen, n = [], len(concept_ids)
    for i, own in enumerate(concept_ids):
        mine = {la: _starts(subject, own, la) for la in langs}
        for j in [(i + step) % n for step in range(1, n)]:
            other = concept_ids[j]
            theirs = {la: _starts(subject, other, la) for la in langs}
            if other not in subject.lexicon.loc[own, "conflicts"] and all(theirs.values()) and not any(a & b for a in mine.values() for b in theirs.values()):
                chosen.append(j)
                break
        else:
            chosen.append(-1)
    return chosen


def _cells(subject: Subject, own: str, other: str, target: str, language: str) -> list[list[int]]:
    """Tokens that start each of the four possible outputs; one that would start several is left out of all."""
    sets = [_starts(subject, c, la) for la in (target, language) for c in (own, other)]
    return [sorted(s - frozenset().union(*(o for o in sets if o is not s))) for s in sets]


@torch.inference_mode()
def _read(subject: Subject, items: pd.DataFrame, source: str, target: str, prompt_set: int = 0) -> tuple[Answers, Tensor]:
    words = [subject.lexicon.loc[items.concept_id, la].tolist() for la in (source, target)]
    sequences, first = interventions.answer_sequences(subject.lm, subject.prompts[source, target][prompt_set], *words)
    return interventions.read_answers(subject.lm, sequences), torch.tensor(first, device=subject.lm.device)


def patch_pairs(subject: Subject, items: pd.DataFrame, layers: Sequence[int], language: str, store: Store) -> pd.DataFrame:
    """Patch the answer position of every item, layer by layer; each direction is kept on disk when it is done.

    Kinds, for concept A translated from s to t and another concept B: `same` (A, s → t, other demonstrations: what patching itself does),
    `concept` (B, s → t), `language` (A, s → ``language``), `both` (B, s → ``language``), `mean` (the mean of B from every other language to
    ``language``), `none` (not patched; its layer is −1).

    Args:
        items: of :func:`.subjects.choose_items`; every direction with the same concepts.
        layers: blocks after which the state is replaced, from 0.
        language: target language of the other runs; not one of the items'.

    Returns:
        model, source_lang, target_lang, concept_id, donor, kind, layer, the summed probability of the tokens that start each of ``CELLS`` (``p_0`` … ``p_3``), top (place in
        ``CELLS`` of the most probable token, −1 for none), clean (log-odds of the own target before) and delta.

    Raises:
        ValueError: if ``language`` is one of the items', a layer is not the model's, or no item has a concept that can stand in for its own.
    """
    if language in set(items.source_lang) | set(items.target_lang):
        raise ValueError(f"the other runs' language {language!r} is also a language of the items")
    if bad := [la for la in layers if not 0 <= la < subject.lm.n_layers]:
        raise ValueError(f"layer {bad[0]}: the model has blocks 0…{subject.lm.n_layers - 1}")
    parts, code = [], module_code("patching")
    for pair, own in progress(list(items.groupby(["source_lang", "target_lang"], sort=False)), f"patching {subject.lm.id}"):
        own = own.reset_index(drop=True)
        prompts = {p: subject.prompts[p] for p in [pair, *((la, language) for la in _sources(subject, language))]}
        key = {"code": code, "model": subject.lm.facts(), "prompts": {"-".join(p): v for p, v in prompts.items()}, "items": own.to_dict("records")}
        key |= {"layers": list(layers), "language": language}
        parts.append(store.unit("patches", lambda p=pair, o=own: _patch_pair(subject, p, o, layers, language), **key))
    return pd.concat(parts, ignore_index=True).assign(model=subject.lm.id)


def _sources(subject: Subject, language: str) -> list[str]:
    """Languages from which there is a prompt to the given one."""
    return [la for la in LANGUAGES if (la, language) in subject.prompts]


def _patch_pair(subject: Subject, pair: tuple[str, str], items: pd.DataFrame, layers: Sequence[int], language: str) -> pd.DataFrame:
    source, target = pair
    other = np.array(donors(subject, items.concept_id.tolist(), [target, language]))
    if (other < 0).all():
        raise ValueError(f"{source}-{target}: no two of {len(items)} concepts have words that all start differently in {target} and {language}")
    keep = other >= 0  # donors are looked up among all items, so states are read of all, and rows without a donor left out at the end
    other = torch.from_numpy(np.where(keep, other, 0))
    answers, targets = _read(subject, items, source, target)
    abroad = {la: _read(subject, items, la, language)[0].states for la in _sources(subject, language)}
    states = {"concept": answers.states[other], "language": abroad[source], "both": abroad[source][other]}
    states["mean"] = torch.stack(list(abroad.values())).mean(0)[other]
    if len(subject.prompts[pair]) > 1:
        states = {"same": _read(subject, items, source, target, 1)[0].states} | states
    ids = items.concept_id.tolist()
    cells = [_cells(subject, ids[i], ids[j], target, language) for i, j in enumerate(other.tolist())]
    patches = [(-1, "none", answers.states[:, -1])]  # what leaves the last block needs no further run
    for layer in layers:
        patches += [(layer, kind, s[:, layer + 1]) for kind, s in states.items()]
    table = _outputs(subject, answers, targets, cells, patches)
    table["clean"] = table["item"].map(table[table.kind == "none"].set_index("item").odds)
    table["delta"] = table.odds - table.clean
    table["donor"] = [ids[j] for j in other.tolist()] * len(patches)
    table = table[keep[table["item"]]]
    return table.merge(items[["source_lang", "target_lang", "concept_id", "correct"]], left_on="item", right_index=True).drop(columns=["item", "odds"])


@torch.inference_mode()
def _outputs(subject: Subject, answers: Answers, targets: Tensor, cells: list[list[list[int]]], patches: list[tuple[int, str, Tensor]]) -> pd.DataFrame:
    """What is said when the state after a block is replaced, for each of some (layer, kind, states [items, d]); rows by patch, then item."""
    lm, n = subject.lm, len(answers)
    hidden = []
    for layer, same in itertools.groupby(patches, key=lambda p: p[0]):
        put = torch.stack([state for _, _, state in same], 1)
        parts = torch.arange(n, device=lm.device).split(max(1, interventions.BATCH_STATES // put.shape[1]))
        done = torch.cat([interventions.run_on(lm, answers, rows, layer if layer >= 0 else lm.n_layers - 1, put[rows]) for rows in parts])
        hidden.append(done.transpose(0, 1).flatten(0, 1))
    hidden = torch.cat(hidden)
    normaliser, top = (torch.cat(x) for x in zip(*(lm.normaliser(h) for h in hidden.split(interventions.HEAD_STATES))))
    odds = interventions.odds_of(lm.logits_of(hidden, targets.repeat(len(patches))) - normaliser)
    places = [(k * n + i, c, t) for k in range(len(patches)) for i in range(n) for c in range(len(CELLS)) for t in cells[i][c]]
    row, cell, token = (torch.tensor(x, device=lm.device) for x in zip(*places))
    p = torch.cat([(lm.logits_of(hidden[r], t) - normaliser[r]).exp() for r, t in zip(row.split(4096), token.split(4096))])
    mass = torch.zeros(len(hidden), len(CELLS), device=lm.device).index_put_((row, cell), p, accumulate=True).cpu().numpy()
    of = {(r, t): c for r, c, t in places}
    table = pd.DataFrame([(kind, i, layer) for layer, kind, _ in patches for i in range(n)], columns=["kind", "item", "layer"])
    table = table.assign(odds=odds.cpu().numpy(), top=[of.get((r, t), -1) for r, t in enumerate(top.tolist())])
    return table.assign(**{f"p_{c}": mass[:, c] for c in range(len(CELLS))})


# --- steering ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Steering:
    """How items are steered.

    Attributes:
        layer: block after which the direction is added, from 0.
        doses: lengths of what is added, in units of the length of the item's state there.
        n_matched: directions of matched tokens an item.
        n_transplanted: directions with exactly the pivots' cosine to the target, the rest another concept's pivots.
        n_random: random directions.
    """

    layer: int
    doses: tuple[float, ...]
    n_matched: int = 3
    n_transplanted: int = 3
    n_random: int = 2
    seed: int = 0


def steer_pairs(subject: Subject, items: pd.DataFrame, pivots: list[list[int]], plan: Steering, store: Store) -> pd.DataFrame:
    """Add the mean direction of an item's pivot tokens to the items that the model fails.

    Args:
        pivots: token ids of each item; those without any are left out.

    Returns:
        model, source_lang, target_lang, concept_id, layer, dose, control (`own`, `matched`, `transplanted`, `random`), number, cosine (to the target's direction), clean, delta (log-odds of the
        target), right (the most probable token starts an accepted translation), english (it starts an English word of the concept). Without rows where the model fails no item.

    Raises:
        ValueError: if the layer is not one of the model's, or a dose is not positive.
    """
    if not 0 <= plan.layer < subject.lm.n_layers or min(plan.doses) <= 0:
        raise ValueError(f"layer {plan.layer} and doses {plan.doses}: the model has blocks 0…{subject.lm.n_layers - 1}, and doses are positive")
    parts, code = [], module_code("patching")
    for pair, own in progress(list(items.groupby(["source_lang", "target_lang"], sort=False)), f"steering {subject.lm.id}"):
        failing = own[~own.correct.to_numpy(bool) & np.array([bool(pivots[i]) for i in own.index])]
        sets, prompt = [pivots[i] for i in failing.index], subject.prompts[pair][0]
        if len(failing) < 2:
            continue
        key = {"code": code, "model": subject.lm.facts(), "prompt": prompt, "items": failing.to_dict("records"), "pivots": sets, "plan": asdict(plan)}
        key["tokens"] = float(subject.facts.frequency.sum())
        parts.append(store.unit("steering", lambda p=pair, f=failing.reset_index(drop=True), s=sets: _steer_pair(subject, p, f, s, plan), **key))  # noqa: B008
    # also without rows the columns have their types, or what stands beside them in one table would lose its own
    nothing = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in STEERED.items()})
    return (pd.concat(parts, ignore_index=True) if parts else nothing).assign(model=subject.lm.id)


def _steer_pair(subject: Subject, pair: tuple[str, str], items: pd.DataFrame, pivots: list[list[int]], plan: Steering) -> pd.DataFrame:
    lm, facts = subject.lm, subject.facts
    answers, targets = _read(subject, items, *pair)
    generator = torch.Generator().manual_seed(plan.seed)
    own = torch.nn.functional.normalize(torch.stack([facts.directions[ids].mean(0) for ids in pivots]), dim=-1)
    vectors, names = [], []
    cosines = (facts.directions @ facts.directions[targets.cpu()].T).T.contiguous().numpy()
    for i, ids in enumerate(pivots):
        target = facts.directions[targets[i]]
        matched = matched_tokens(subject, items.concept_id[i], ids, int(targets[i]), plan.n_matched, cosines[i])
        kinds = {"own": own[i, None], "matched": facts.directions[torch.from_numpy(matched)].mean(1)}
        others = own[[(i + j) % len(own) for j in range(1, 1 + min(plan.n_transplanted, len(own) - 1))]]
        kinds["transplanted"] = transplant(own[i].expand(len(others), 1, -1), target.expand(len(others), 1, -1), others[:, None])[:, 0]
        kinds["random"] = torch.randn(plan.n_random, own.shape[1], generator=generator)
        vectors.append(torch.nn.functional.normalize(torch.cat(list(kinds.values())), dim=-1))
        names.append([(i, kind, number) for kind, v in kinds.items() for number in range(len(v))])
    vectors = torch.stack(vectors)
    clean, _ = interventions.log_odds(lm, lm.normed(answers.states[:, -1]), targets)
    state = answers.states[:, plan.layer + 1, None]
    names = pd.DataFrame([n for one in names for n in one], columns=["item", "control", "number"])
    names["cosine"] = torch.einsum("ncd,nd->nc", vectors, facts.directions[targets.cpu()]).flatten().numpy()
    hidden = []
    for dose in plan.doses:
        changed = state + dose * state.norm(dim=-1, keepdim=True) * vectors.to(lm.device)
        rows = torch.arange(len(items), device=lm.device).split(max(1, interventions.BATCH_STATES // changed.shape[1]))
        hidden += [interventions.run_on(lm, answers, r, plan.layer, changed[r]).flatten(0, 1) for r in rows]
    ids = targets.repeat_interleave(vectors.shape[1]).repeat(len(plan.doses))
    odds, top = (
        torch.cat(x).cpu().numpy()
        for x in zip(
            *(interventions.log_odds(lm, h, t) for h, t in zip(torch.cat(hidden).split(interventions.HEAD_STATES), ids.split(interventions.HEAD_STATES)))
        )
    )
    table = pd.concat([names.assign(dose=dose) for dose in plan.doses], ignore_index=True).assign(odds=odds, top=top)
    table["clean"] = clean.cpu().numpy()[table["item"]]
    table["delta"] = table.odds - table.clean
    for name, lang in (("right", pair[1]), ("english", "en")):
        sets = [_starts(subject, c, lang) for c in items.concept_id]
        table[name] = [t in sets[i] for i, t in zip(table["item"], table.top)]
    return (
        table.merge(items[["source_lang", "target_lang", "concept_id"]], left_on="item", right_index=True)
        .drop(columns=["item", "odds", "top"])
        .assign(layer=plan.layer)
    )
