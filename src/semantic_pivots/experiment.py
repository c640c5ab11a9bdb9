"""The experiment behind the known-corpus model: which words may meet is drawn, and the corpus is cut accordingly.

Settings stand in ``data/models/known-corpus/experiment.yaml``; the draw and the cuts follow from them and the data, so
neither is kept in the repository but for the checksums that the model's manifest holds.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd
import yaml

from . import matching
from .artifacts import ROOT
from .corpus import shards
from .fingerprint import canonical, module_code, sha256_file, sha256_text
from .mixture import corpus_digest
from .models import KNOWN_CORPUS, ModelError, cache_directory
from .severance import Triple, assign, assignment_digest, eligible, sever_corpus

__all__ = ["HOME", "Severance", "read_settings", "read_severance", "read_manifest", "read_assignment", "draw_groups", "cut_corpus", "require_same_corpus"]

HOME = ROOT / "data" / "models" / KNOWN_CORPUS
CORPUS = ROOT / "data" / "corpus"
ASSIGNMENT = "assignment.parquet"
CUTS = "cuts.csv"


@dataclass(frozen=True)
class Severance:
    """What the draw of groups and the cuts depend on; see :func:`.severance.eligible` and :func:`.severance.sever_corpus`."""

    triple: str = "fr-en-ja"
    seed: int = 20251
    min_both: int = 4
    min_both_base: int = 4
    max_contamination: float = 0.1
    close_fourth: bool = True
    match_dose: bool = True


def read_settings(path: Path = HOME / "experiment.yaml") -> tuple[Severance, dict]:
    """Settings of the severance, and those of the training as they stand in the file.

    Raises:
        ValueError: for an unknown part or setting.
    """
    values = yaml.safe_load(Path(path).read_text())
    parts = {"severance": values.get("severance") or {}, "training": values.get("training") or {}}
    known = [f.name for f in fields(Severance)]
    for name, given, allowed in (("part", values, list(parts)), ("setting of severance", parts["severance"], known)):
        if unknown := set(given) - set(allowed):
            raise ValueError(f"{path}: unknown {name} {min(unknown)!r}; known: {', '.join(allowed)}")
    return Severance(**parts["severance"]), parts["training"]


def read_severance(path: Path = HOME / "experiment.yaml") -> Severance:
    """The severance of an experiment."""
    return read_settings(path)[0]


def read_manifest(home: Path = HOME) -> dict:
    """Manifest of the trained model.

    Raises:
        ModelError: if there is none.
    """
    if not (home / "manifest.json").is_file():
        raise ModelError(f"{KNOWN_CORPUS}: {home / 'manifest.json'} is not there. 'make pretrain' trains the model and writes it")
    return json.loads((home / "manifest.json").read_text())


def read_assignment(home: Path = HOME) -> pd.DataFrame:
    """The draw that the trained model's corpus was cut by (:func:`.severance.assign`).

    Raises:
        ModelError: if it is not there, or not the one of the manifest.
    """
    expected = read_manifest(home)["assignment_sha256"]
    if not (home / ASSIGNMENT).is_file():
        raise ModelError(f"{KNOWN_CORPUS}: {home / ASSIGNMENT} is not there. Restore data/ (git checkout -- data), or train anew: make pretrain")
    assignment = pd.read_parquet(home / ASSIGNMENT)
    if (seen := assignment_digest(assignment)) != expected:
        raise ModelError(f"{KNOWN_CORPUS}: {home / ASSIGNMENT} has digest {seen}, the manifest {expected}. Restore data/ (git checkout -- data)")
    return assignment


def draw_groups(severance: Severance, lexicon: pd.DataFrame, corpus: Path = CORPUS) -> tuple[pd.DataFrame, pd.DataFrame, matching.Vocabulary]:
    """Draw the groups.

    Returns:
        The assignment (:func:`.severance.assign`), how many concepts each condition left, and all forms of the lexicon's words.
    """
    forms = matching.read_forms(lexicon)
    conditions = {"min_both": severance.min_both, "min_both_base": severance.min_both_base, "max_contamination": severance.max_contamination}
    concepts, funnel = eligible(
        corpus, lexicon, forms, Triple(severance.triple), close_fourth=severance.close_fourth, cache=cache_directory() / "counts", **conditions
    )
    return assign(concepts, severance.seed), funnel, forms


def cut_corpus(severance: Severance, assignment: pd.DataFrame, forms: matching.Vocabulary, corpus: Path = CORPUS) -> tuple[Path, pd.DataFrame]:
    """Cut the corpus into a folder of the cache, or find it there.

    Returns:
        The folder and the log of :func:`.severance.sever_corpus`.
    """
    settings = {"seed": severance.seed, "close_fourth": severance.close_fourth, "match_dose": severance.match_dose}
    contents = [sha256_file(path) for path in shards(corpus)]
    key = canonical([settings, assignment_digest(assignment), forms.digest, contents, module_code("severance")])
    folder = cache_directory() / "severed" / sha256_text(key)[:16]
    if not (folder / CUTS).is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".severed-", dir=folder.parent) as scratch:
            made = Path(scratch) / "corpus"
            log = sever_corpus(corpus, made, forms, assignment, **settings)
            log.assign(groups=log.groups.map(" ".join)).to_csv(made / CUTS, index=False)
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(made, folder)
    return folder, pd.read_csv(folder / CUTS, keep_default_na=False)


def require_same_corpus(folder: Path, manifest: dict) -> None:
    """Refuse to compare a model with a corpus that it was not trained on.

    Raises:
        ModelError: if the corpus in ``folder`` is not the one of the manifest.
    """
    if (seen := corpus_digest(folder, cache_directory() / "tokens")) != manifest["corpus_sha256"]:
        raise ModelError(
            f"{KNOWN_CORPUS} was trained on a corpus with sha256 {manifest['corpus_sha256']}, {folder} has {seen}. Restore data/ "
            "(git checkout -- data), or train anew: make pretrain"
        )
