"""The known-corpus model, from the corpus to committed checkpoints (``make pretrain``).

``python -m semantic_pivots.pretrain`` reads ``data/models/known-corpus/experiment.yaml``, draws which words may meet
(:mod:`.severance`), cuts the corpus accordingly, trains a tokenizer and the model (:mod:`.training`), and puts the
checkpoints where ``known-corpus`` is loaded from (:mod:`.models`). A killed run goes on where it was; committed
checkpoints stay until the new ones are complete.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd

from . import task
from .artifacts import ROOT, atomic_path
from .experiment import ASSIGNMENT, HOME, Severance, cut_corpus, draw_groups, read_assignment, read_manifest, read_settings, require_same_corpus
from .fingerprint import canonical, sha256_text
from .matching import read_forms
from .mixture import corpus_digest
from .models import ModelError, cache_directory
from .severance import assignment_digest
from .training import TrainingConfig, train

__all__ = ["publish", "main"]

LOG = "log.csv"


def publish(run: Path, home: Path, assignment: pd.DataFrame, severance: Severance, last_only: bool = False) -> None:
    """Put the checkpoints of a complete run, its log and its manifest where the model is loaded from.

    Args:
        last_only: leave out all checkpoints but the last: every reader downloads what is committed.
    """
    manifest = json.loads((run / "manifest.json").read_text())
    if last_only:
        last = max(manifest["checkpoints"], key=lambda name: manifest["checkpoints"][name]["tokens"])
        manifest["checkpoints"] = {last: manifest["checkpoints"][last]}
    manifest |= {"severance": asdict(severance), "assignment_sha256": assignment_digest(assignment)}
    manifest["config"] |= {"corpus": "", "tokenizer": ""}  # folders of this machine; the checksums say what they held
    home.mkdir(parents=True, exist_ok=True)
    for left in home.glob(".new-*"):  # of a killed run
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=home) as scratch:
        for name in manifest["checkpoints"]:
            shutil.copytree(run / name, Path(scratch) / name)
        for name in manifest["checkpoints"]:
            shutil.rmtree(home / name, ignore_errors=True)
            os.replace(Path(scratch) / name, home / name)
    with atomic_path(home / LOG) as temporary:
        shutil.copyfile(run / LOG, temporary)
    with atomic_path(home / ASSIGNMENT) as temporary:
        assignment.to_parquet(temporary, index=False, compression="zstd")
    with atomic_path(home / "manifest.json") as temporary:
        temporary.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    for old in home.glob("tokens-*"):
        if old.name not in manifest["checkpoints"]:
            shutil.rmtree(old)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m semantic_pivots.pretrain", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--home", type=Path, default=HOME, help="folder with experiment.yaml, where the checkpoints go")
    parser.add_argument(
        "--seed", type=int, help="another seed of the weights and the order of the text; the draw of groups stays, and of the checkpoints the last is kept"
    )
    parser.add_argument("--cut-only", action="store_true", help="only cut the corpus as the committed draw says, which the notebooks need too")
    given = parser.parse_args(arguments)
    settings = given.home / "experiment.yaml"
    severance, values = read_settings(settings)
    if given.cut_only:
        cut_corpus(severance, read_assignment(given.home), read_forms(task.read_lexicon(ROOT / "data" / "lexicon.parquet")))
        return
    assignment, funnel, forms = draw_groups(severance, task.read_lexicon(ROOT / "data" / "lexicon.parquet"))
    print(funnel.to_string(index=False), f"{len(assignment)} concepts in {assignment.block.nunique()} blocks", sep="\n", flush=True)
    corpus, log = cut_corpus(severance, assignment, forms)
    if given.seed is not None:  # a repetition is of the model that is there
        manifest = read_manifest(given.home)
        if (digest := assignment_digest(assignment)) != manifest["assignment_sha256"]:
            raise ModelError(
                f"the groups drawn now ({digest}) are not those of the model in {given.home} ({manifest['assignment_sha256']}); train that anew first: make pretrain"
            )
        require_same_corpus(corpus, manifest)
    print(f"{len(log)} documents taken apart", flush=True)
    config, home = replace(TrainingConfig.from_values(values, str(settings)), corpus=str(corpus)), given.home
    if given.seed is not None:
        if given.seed == config.seed:
            parser.error(f"seed {given.seed} is that of the model itself ({settings}); give another")
        config, home = replace(config, seed=given.seed), given.home / f"seed-{given.seed}"
    key = sha256_text(canonical([asdict(replace(config, corpus="")), assignment_digest(assignment), corpus_digest(corpus)]))[:16]
    run = cache_directory() / "pretrain" / key
    print(f"the run: {run}", flush=True)
    train(config, run)
    publish(run, home, assignment, severance, last_only=given.seed is not None)
    print(f"checkpoints: {home}", flush=True)


if __name__ == "__main__":
    main()
