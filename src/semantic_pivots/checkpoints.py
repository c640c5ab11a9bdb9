"""What the known-corpus model learns of words that could and of words that could not meet, checkpoint by checkpoint.

The concepts of the randomised severance (:mod:`.severance`) are scored at every checkpoint in the six directions of their
triple. Two things are set beside the true translation: the translation of *another* concept, which no group should
favour, and what the layers of the last checkpoint say.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from . import models, scoring, task
from .artifacts import Store
from .association import holm
from .experiment import HOME, read_manifest
from .factorial import contrasts
from .fingerprint import module_code
from .models import KNOWN_CORPUS
from .progress import progress
from .severance import GROUPS
from .stats import bootstrap_interval, mean_intervals

__all__ = ["list_checkpoints", "read_log", "scorable", "score_checkpoints", "foreign_targets", "outcomes", "pooled", "confirmatory"]
__all__ += ["layer_outcomes", "layer_curves", "label_shares", "PRIMARY"]

# The tests that were fixed before the results: one outcome, one pooled direction, four contrasts, Holm over them.
PRIMARY = ("direct", "pivot", "interaction", "pivot_only - none")


def list_checkpoints(home: Path = HOME) -> pd.DataFrame:
    """The checkpoints of the known-corpus model, fewest tokens first.

    Returns:
        model (its id in the registry), tokens, step, epoch, and the validation losses ``val_en`` … ``parallel_ja`` in nats per token.
    """
    found = read_manifest(home)["checkpoints"]
    rows = [{"model": f"{KNOWN_CORPUS}@{name}", **{k: c[k] for k in ("tokens", "step", "epoch")}, **c["validation"]} for name, c in found.items()]
    return pd.DataFrame(rows).sort_values("tokens", ignore_index=True)


def read_log(home: Path = HOME) -> pd.DataFrame:
    """The training log: a row a step with step, tokens, epoch, loss, lr, tokens_per_s and, at some steps, validation losses."""
    return pd.read_csv(home / "log.csv")


def scorable(lexicon: pd.DataFrame, assignment: pd.DataFrame) -> pd.DataFrame:
    """The assigned concepts that have nine distractors in every language of their triple; a block is left out whole."""
    pool = task.Pool(lexicon, ["test"])
    enough = [pool.enough(c, t.split("-")) for c, t in zip(assignment.concept_id, assignment.triple)]
    bad = assignment[["triple", "block"]][~np.array(enough, bool)].drop_duplicates()
    left = assignment.merge(bad, on=["triple", "block"], how="left", indicator="where")
    return left[left["where"] == "left_only"].drop(columns="where").reset_index(drop=True)


def foreign_targets(items: pd.DataFrame, lexicon: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Items with the translation of another concept in the place of their own: a null that no edge of the concept can move.

    The other concept is drawn among the items, of the same part of speech where there is one; it shares no sense with the item's
    concept and is none of its distractors.
    """
    ids, words = items.concept_id.to_numpy(), items.source_word.to_numpy()
    pos, conflicts = lexicon.pos.loc[ids].to_numpy(), lexicon.conflicts.loc[ids].to_numpy()
    generator, targets = np.random.default_rng(seed), []
    for own, distractors in enumerate(items.distractors):
        barred, known = {ids[own], *conflicts[own]}, {*distractors, words[own]}
        order = generator.permutation(len(items))
        order = order[np.argsort(pos[order] != pos[own], kind="stable")]
        other = next((i for i in order if ids[i] not in barred and words[i] not in known), None)
        if other is None:
            row = items.iloc[own]
            raise ValueError(f"{row.concept_id} ({row.source_lang}-{row.target_lang}): no other concept's translation can stand for its own")
        targets.append(items.target_word.iloc[other])
    return items.assign(target_word=targets)


def score_checkpoints(
    names: Sequence[str],
    lexicon: pd.DataFrame,
    assignment: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    prompt_format: str,
    n_prompt_sets: int,
    seed: int,
    store: Store,
    device: str = "auto",
    dtype: str = "auto",
) -> tuple[pd.DataFrame, list[dict]]:
    """Score the assigned concepts with several checkpoints, true translations and foreign ones (:func:`foreign_targets`).

    Returns:
        The scores of :func:`.scoring.score_items` with ``target`` (`own` or `foreign`; foreign ones of the last checkpoint only); and the models' facts.
    """
    concepts, code, parts, facts = lexicon.loc[assignment.concept_id], module_code("scoring"), [], []
    asked = []  # made once: the same for all checkpoints
    for pair in progress(pairs, "building items"):
        own = task.build_items(lexicon, concepts, pair, seed)
        prompts = task.build_prompts(lexicon, pair, n_prompt_sets, seed, concepts.index, prompt_format)
        asked.append((prompts, {"own": own, "foreign": foreign_targets(own, lexicon, seed)}))
    for name in names:
        lm = models.load(name, device, dtype)
        facts.append(lm.facts())
        for prompts, kinds in progress(asked, f"scoring {name}"):
            for target, items in kinds.items():
                if target == "foreign" and name != names[-1]:
                    continue
                key = {"code": code, "model": lm.facts(), "prompts": prompts, "items": items.to_dict("records")}
                # called before the loop goes on, so the function sees this pair's values
                table = store.unit("scores", lambda lm=lm, p=prompts, i=items: scoring.score_items(lm, p, i), **key)
                parts.append(table.assign(target=target))
    return pd.concat(parts, ignore_index=True), facts


def outcomes(scores: pd.DataFrame) -> pd.DataFrame:
    """The outcomes of the experiment: concept_id, direction (`fr-ja`), score, log_ratio (nats), reciprocal_rank and what else the scores hold."""
    return scores.assign(direction=scores.source_lang + "-" + scores.target_lang, reciprocal_rank=1 / scores["rank"])


def pooled(table: pd.DataFrame, directions: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
    """Outcomes averaged over some directions for every concept; the direction is then called `fr-ja + ja-fr`."""
    kept = table[table.direction.isin(directions)]
    return kept.groupby("concept_id", sort=False)[list(names)].mean().reset_index().assign(direction=" + ".join(directions))


def confirmatory(
    outcome: pd.DataFrame, assignment: pd.DataFrame, chance: float, n_permutations: int = 9999, n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """The tests that were fixed in advance: ``PRIMARY`` contrasts of the reciprocal rank, Holm over them; and the two groups whose words never meet against chance.

    Args:
        outcome: of :func:`pooled`.
        chance: reciprocal rank of a random order.

    Returns:
        As :func:`.factorial.contrasts`, with p_holm over the four contrasts (null in the rows of chance, which are no contrasts of groups).
    """
    table = contrasts(outcome, assignment, ["reciprocal_rank"], {"reciprocal_rank": chance}, n_permutations, n_resamples, seed=seed)
    table = table.set_index("contrast").loc[[*PRIMARY, "pivot_only - chance", "none - chance"]].reset_index()
    table["p_holm"] = np.nan
    main = table.contrast.isin(PRIMARY)
    table.loc[main, "p_holm"] = holm(table.p[main].to_numpy())
    return table


def layer_outcomes(traces: pd.DataFrame, first: int, last: int) -> pd.DataFrame:
    """What the middle layers say of the concept's English word, beyond what they say of another concept's.

    Args:
        traces: table ``traces`` of one model and lens.
        first: first layer counted.
        last: last layer counted, inclusive.

    Returns:
        concept_id, direction, english (mean over the layers and prompt sets of p_en − p_control_en), source and target the same of the
        source word and of accepted translations.
    """
    middle = traces[traces.layer.between(first, last)]
    values = pd.DataFrame(
        {
            "concept_id": middle.concept_id,
            "direction": middle.source_lang + "-" + middle.target_lang,
            "english": middle.p_en - middle.p_control_en,
            "source": middle.p_source - middle.p_control_source,
            "target": middle.p_accepted - middle.p_control_accepted,
        }
    )
    return values.groupby(["concept_id", "direction"], sort=False).mean().reset_index()


def label_shares(behaviors: pd.DataFrame, assignment: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Share of pivot among the items with one of the two behaviors, by rule and group; concepts are resampled.

    Returns:
        rule, group, n (concepts with a labelled item), n_items, n_wrong, share, low, high.
    """
    table = behaviors.merge(assignment[["concept_id", "group"]], on="concept_id")
    rows = []
    for rule, part in table.groupby("rule", sort=False):
        for group in GROUPS:
            own = part[part.group == group]
            two = own[own.label.isin(("pivot", "cooccurrence"))]
            per_concept = (two.label == "pivot").groupby(two.concept_id).mean().to_numpy(float)
            interval = bootstrap_interval(per_concept, n_resamples=n_resamples, seed=seed) if len(per_concept) else (np.nan,) * 3
            rows.append((rule, group, len(per_concept), len(two), int((own.label == "wrong").sum()), *interval))
    return pd.DataFrame(rows, columns=["rule", "group", "n", "n_items", "n_wrong", "share", "low", "high"])


def layer_curves(traces: pd.DataFrame, assignment: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """:func:`layer_outcomes` layer by layer, averaged over directions, by group with intervals over concepts.

    Returns:
        group, layer, measure (`english`, `source`, `target`), n, mean, low, high.
    """
    rows = []
    for layer in sorted(traces.layer.unique()):
        table = layer_outcomes(traces, layer, layer).groupby("concept_id")[["english", "source", "target"]].mean()
        table = table.join(assignment.set_index("concept_id").group, how="inner")
        for group, part in table.groupby("group"):
            intervals = mean_intervals(part.drop(columns="group").to_numpy(), n_resamples, seed)
            for measure, (mean, low, high) in zip(("english", "source", "target"), intervals):
                rows.append((group, layer, measure, len(part), mean, low, high))
    return pd.DataFrame(rows, columns=["group", "layer", "measure", "n", "mean", "low", "high"])
