"""The known-corpus model trained again with other seeds: the fixed tests by training, and for all trainings together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from .checkpoints import confirmatory
from .comparison import mixed_difference
from .experiment import HOME, read_manifest
from .factorial import CONTRASTS, blocked
from .models import KNOWN_CORPUS, ModelError
from .training import NOT_COMPARED

__all__ = ["find_repetitions", "precisions", "tests_by_training"]

# What may differ between two trainings of one model: the seed, and how a machine computes.
FREE = (*NOT_COMPARED, "seed", "precision", "threads", "compile")


def find_repetitions(home: Path = HOME) -> dict[str, str]:
    """Models trained again on the same cut corpus, by the same recipe (``python -m semantic_pivots.pretrain --seed N``).

    Returns:
        Ids of their last checkpoints in the registry, by name (`seed 1`), in the order of the seeds.

    Raises:
        ModelError: if one was trained on another draw, corpus or tokenizer, by another recipe, or with a seed that was already used.
    """
    own, found = _facts(home), {}
    names = {own["seed"]: home.name}
    for folder in sorted((p.parent for p in home.glob("seed-*/manifest.json")), key=lambda p: (len(p.name), p.name)):
        facts = _facts(folder)
        if differs := [f"{k}: {facts[k]}, not {own[k]}" for k in own if k != "seed" and facts[k] != own[k]]:
            raise ModelError(
                f"{folder} is no training of the model in {home} with another seed ({differs[0]}). Train it anew: python -m semantic_pivots.pretrain --seed N"
            )
        if facts["seed"] in names:
            raise ModelError(f"{folder}: its seed {facts['seed']} is that of {names[facts['seed']]}")
        names[facts["seed"]] = folder.name
        checkpoints = read_manifest(folder)["checkpoints"]
        last = max(checkpoints, key=lambda name: checkpoints[name]["tokens"])
        found[f"seed {facts['seed']}"] = f"{KNOWN_CORPUS}/{folder.name}@{last}"
    return found


def precisions(home: Path = HOME) -> dict[str, str]:
    """In which precision each training multiplied, the model's own first, by name (`seed 1`): it is the one thing besides the seed that may differ and be felt."""
    folders = [home, *(home / model_id.split("/")[1].split("@")[0] for model_id in find_repetitions(home).values())]
    return {f"seed {m['seed']}": m["config"]["precision"] for m in map(read_manifest, folders)}


def _facts(home: Path) -> dict:
    manifest = read_manifest(home)
    recipe = {k: v for k, v in manifest["config"].items() if k not in FREE}
    return {k: manifest[k] for k in ("seed", "assignment_sha256", "corpus_sha256", "tokenizer_sha256")} | recipe


def tests_by_training(
    trainings: dict[str, pd.DataFrame], assignment: pd.DataFrame, chance: float, n_permutations: int = 9999, n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """The fixed tests (:func:`.checkpoints.confirmatory`) for each training and, where there are several, for every concept's mean over them.

    All trainings share one draw of the groups, so the test of the mean draws them anew for all trainings alike: its p and its interval are given these trainings.

    Args:
        trainings: by name, outcomes of :func:`.checkpoints.pooled`, of the same concepts.

    Returns:
        As :func:`.checkpoints.confirmatory`, with training (a name, or `mean of N`) and, for contrasts of the mean, sd_trainings (of their estimates) and mixed_low, mixed_high: 95 %
        interval with random effects of blocks and of trainings (:func:`.comparison.mixed_difference`), which also covers a training that was not made.

    Raises:
        ValueError: if the trainings are not of the same concepts.
    """
    first = next(iter(trainings.values()))
    if other := [name for name, own in trainings.items() if set(own.concept_id) != set(first.concept_id)]:
        raise ValueError(f"{other[0]} was scored on other concepts than {next(iter(trainings))}")
    together, several = dict(trainings), len(trainings) > 1
    if several:
        together[f"mean of {len(trainings)}"] = pd.concat(trainings.values()).groupby(["concept_id", "direction"], sort=False).mean().reset_index()
    tests = pd.concat(
        [confirmatory(own, assignment, chance, n_permutations, n_resamples, seed).assign(training=name) for name, own in together.items()], ignore_index=True
    ).assign(sd_trainings=np.nan, mixed_low=np.nan, mixed_high=np.nan)
    if several:
        cells = np.stack([blocked(own.merge(assignment, on="concept_id"), "reciprocal_rank") for own in trainings.values()])  # [training × block × group]
        for contrast, weights in CONTRASTS.items():
            effects = (cells @ np.array(weights)).T  # [block × training]
            mixed = mixed_difference(effects)
            rows = (tests.training == f"mean of {len(trainings)}") & (tests.contrast == contrast)
            tests.loc[rows, ["sd_trainings", "mixed_low", "mixed_high"]] = effects.mean(0).std(ddof=1), mixed["low"], mixed["high"]
    return tests
