"""Artifacts: the tables through which the notebooks speak to each other, written whole or not at all.

A table is one Parquet file under ``data/results/<profile>/``. Its own metadata holds what made it (parameters, models,
seeds, inputs), so that the same run gives the same bytes; ``manifest.json`` beside it adds what differs from run to
run (commit, package versions, time taken).
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .fingerprint import canonical, sha256_file, sha256_text

__all__ = [
    "ROOT",
    "COMMITTED",
    "SCHEMAS",
    "ArtifactError",
    "Store",
    "atomic_path",
    "input_files",
    "files_at",
    "literals",
    "results_folder",
    "figures_folder",
    "notebooks_folder",
    "write_table",
]

ROOT = Path(os.environ.get("SEMANTIC_PIVOTS_ROOT", Path(__file__).resolve().parents[2]))
COMMITTED_PROFILE = "laptop"  # its notebooks and figures are the ones on the repository page
# What a notebook can read beside tables: files under data/, which no notebook makes. The manifests of models hold the checksums of their checkpoints.
COMMITTED = {
    "lexicon": "lexicon.parquet",
    "corpus": "corpus/*.parquet",
    "corpus_dictionary": "corpus_dictionary.parquet",
    "forms": "forms.parquet",
    "parallel": "heldout/parallel.parquet",
    "known_corpus": "models/known-corpus/*.*",
    "trained_again": "models/known-corpus/seed-*/*.*",
}
METADATA_KEY = b"semantic_pivots"
PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "numpy",
    "pandas",
    "pyarrow",
    "scipy",
    "statsmodels",
    "ahocorasick_rs",
    "matplotlib",
    "papermill",
    "jupytext",
)

# Columns a table must have; more are welcome.
SCHEMAS: dict[str, tuple[str, ...]] = {
    "prompts": ("model", "source_lang", "target_lang", "prompt_set", "prefix", "line", "joiner"),
    "scores": (
        "model", "source_lang", "target_lang", "concept_id", "source_word", "target_word", "n_target_tokens", "distractors",
        "p_target", "p_distractors", "score", "rank", "first_token_correct",
    ),
    "traces": (
        "model", "source_lang", "target_lang", "concept_id", "layer", "top1_id", "top1_token", "top1_prob", "info_id", "info_token", "info_nats",
        "information", "p_source", "p_target", "entropy",
    ),
    "behaviors": ("model", "source_lang", "target_lang", "concept_id", "rule", "label", "layer", "token", "correct"),
    "cooccurrence": ("corpus", "source_lang", "target_lang", "concept_id", "n_docs", "n_source", "n_target", "n_both", "npmi"),
    "attribution": (
        "model", "corpus", "source_lang", "target_lang", "rule", "predictor", "n_pos", "n_neg", "auc", "ci_low", "ci_high", "p_perm",
    ),
    "severance": (
        "concept_id", "group", "block", "triple", "edge", "cut", "n_both_before", "n_both_after",
        "n_first_before", "n_first_after", "n_second_before", "n_second_after",
    ),
    "pivots": (
        "source_lang", "target_lang", "concept_id", "pivot", "pivot_ids", "df_source", "df_target", "df_background", "lift",
        "npmi_source", "npmi_target", "similarity", "type", "kept",
    ),
    "pivot_mass": (
        "model", "source_lang", "target_lang", "concept_id", "layer", "mass_source", "mass_pivot", "mass_target", "mass_control", "control_sd", "z",
    ),
    "interventions": (
        "model", "source_lang", "target_lang", "concept_id", "kind", "layer", "delta_logodds", "control_mean", "control_sd", "p",
    ),
    "selection": ("arm", "doc_id", "n_tokens", "pivot_share", "rank"),
    "training": ("arm", "seed", "step", "tokens", "loss", "lr"),
    "transfer": (
        "arm", "seed", "tokens", "metric", "source_lang", "target_lang", "split", "n", "value", "ci_low", "ci_high",
    ),
    "ability": ("model", "source_lang", "target_lang", "n", "mean_score", "ci_low", "ci_high", "top1", "mrr", "first_token_accuracy"),
}  # fmt: skip


class ArtifactError(RuntimeError):
    """An artifact is missing, damaged or cannot be written; the message names it and the way out."""


def results_folder(profile: str) -> Path:
    """Folder of a profile's tables; $SEMANTIC_PIVOTS_RESULTS moves the folder of all profiles."""
    return Path(os.environ.get("SEMANTIC_PIVOTS_RESULTS", ROOT / "data" / "results")) / profile


def _in_repository(profile: str) -> bool:
    return profile == COMMITTED_PROFILE and "SEMANTIC_PIVOTS_RESULTS" not in os.environ


def figures_folder(profile: str) -> Path:
    """Where a profile's figures go: figures/ for the committed profile, beside its tables for others."""
    return ROOT / "figures" if _in_repository(profile) else results_folder(profile) / "figures"


def notebooks_folder(profile: str) -> Path:
    """Where a profile's executed notebooks go: notebooks/ for the committed profile, beside its tables for others."""
    return ROOT / "notebooks" if _in_repository(profile) else results_folder(profile) / "notebooks"


def input_files(name: str, profile: str) -> list[Path]:
    """Files behind the name of an input: one of :data:`COMMITTED`, or a table of results."""
    if name in COMMITTED:
        return sorted(p for p in (ROOT / "data").glob(COMMITTED[name]) if p.is_file())
    return files_at(results_folder(profile) / f"{name}.parquet")


def files_at(path: Path) -> list[Path]:
    """A file, or the files of a folder; empty if there is neither."""
    return [p for p in (sorted(path.iterdir()) if path.is_dir() else [path]) if p.is_file()]


def literals(names: dict[str, object]) -> dict[str, object]:
    """The parameters among a notebook's globals, called right after its parameters cell."""
    simple = (str, int, float, bool, list, dict, type(None))
    return {n: v for n, v in names.items() if isinstance(v, simple) and not n.startswith("_") and n not in ("In", "Out")}


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well, and vanishes when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be written ({error.strerror or error}); what was there before is untouched") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_table(table: pd.DataFrame, path: Path, metadata: dict | None = None) -> str:
    """Write a table as Parquet (zstd, no index) in one step; returns the file's sha256. The same table gives the same bytes."""
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    arrow = arrow.replace_schema_metadata({METADATA_KEY: canonical(metadata or {}).encode()})
    with atomic_path(path) as temporary:
        pq.write_table(arrow, temporary, compression="zstd", compression_level=9)
        digest = sha256_file(temporary)
    return digest


def read_table(path: Path) -> pd.DataFrame:
    """Read a Parquet file; a damaged one is named in the error."""
    try:
        return pq.read_table(path).to_pandas()
    except (pa.ArrowInvalid, OSError) as error:
        raise ArtifactError(f"{path} is damaged ({str(error).splitlines()[0]}); delete it and run 'make all' again") from error


class Store:
    """The tables of one profile.

    Args:
        profile: name of the profile.
        stage: notebook that writes, for the manifest.
        parameters: its parameters, kept with every table it writes.
    """

    def __init__(self, profile: str, stage: str = "", parameters: dict | None = None):
        self.profile, self.stage, self.parameters = profile, stage, parameters or {}
        self.folder = results_folder(profile)
        self.started = time.monotonic()

    @property
    def manifest_path(self) -> Path:
        """Path of the manifest."""
        return self.folder / "manifest.json"

    def manifest(self) -> dict:
        """The manifest, empty where there is none yet."""
        if not self.manifest_path.is_file():
            return {"profile": self.profile, "tables": {}}
        try:
            return json.loads(self.manifest_path.read_text())
        except json.JSONDecodeError as error:
            raise ArtifactError(f"{self.manifest_path} is damaged ({error}); delete it and run 'make all' again") from error

    def path(self, name: str) -> Path:
        """Path of a table."""
        return self.folder / f"{name}.parquet"

    def exists(self, name: str) -> bool:
        """Whether a table is there."""
        return self.path(name).is_file()

    def read(self, name: str) -> pd.DataFrame:
        """Read a table.

        Raises:
            ArtifactError: if it is missing, damaged, or not the one the manifest knows.
        """
        path = self.path(name)
        if not path.is_file():
            raise ArtifactError(f"{path} is not there; 'make all' makes it")
        known = self.manifest()["tables"].get(name, {}).get("sha256")
        if known and sha256_file(path) != known:
            raise ArtifactError(f"{path} is not the file its manifest describes (damaged or changed by hand); delete it and run 'make all' again")
        return _checked(name, read_table(path), path)

    def write(self, name: str, table: pd.DataFrame, models: list[dict] | None = None, inputs: list[str] | None = None) -> pd.DataFrame:
        """Write a table and note it in the manifest; returns the table.

        Args:
            models: facts of the models that made it (``LanguageModel.facts``); those of the tables it was made from if not given.
            inputs: names of the inputs it was made from, or of parameters that name a file or folder; their checksums are kept.

        Raises:
            ArtifactError: if a column is missing or the file cannot be written.
        """
        _checked(name, table, self.path(name))
        # an input can also be a parameter that names a file, or a folder of files, of the user's own
        own = {i: files_at(ROOT / str(self.parameters[i])) if i in self.parameters else input_files(i, self.profile) for i in inputs or []}
        sums = {i: [sha256_file(p) for p in files] for i, files in own.items()}
        known = self.manifest()["tables"]
        inherited = {canonical(m): m for i in inputs or [] for m in known.get(i, {}).get("models", [])}
        models = list(inherited.values()) if models is None else models
        metadata = {"table": name, "profile": self.profile, "stage": self.stage, "parameters": self.parameters, "models": models, "inputs": sums}
        entry = metadata | {"rows": len(table), "sha256": write_table(table, self.path(name), metadata)}
        manifest = self.manifest()
        before = manifest["tables"].get(name, {})
        same = all(before.get(key) == json.loads(canonical(value)) for key, value in entry.items())
        # the same table keeps the facts of the run that made it first; but one that names a commit with changes beside it tells little
        if not same or not before["run"].get("clean"):
            facts = self._run_facts()
            if same and not facts["clean"]:
                return table
            manifest["tables"][name] = entry | {"run": facts}
            with atomic_path(self.manifest_path) as temporary:
                temporary.write_text(json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        return table

    def unit(self, name: str, compute: Callable[[], pd.DataFrame], **key: object) -> pd.DataFrame:
        """A part of a long computation, kept on disk so that a killed run goes on where it was.

        Args:
            name: what the parts are parts of.
            compute: makes the part.
            key: everything that the part depends on; a part with another key is another part.
        """
        path = self.folder / "parts" / f"{name}-{sha256_text(canonical(key))[:24]}.parquet"
        if path.is_file():
            try:
                return read_table(path)
            except ArtifactError:  # damaged: made again below
                path.unlink()
        table = compute()
        write_table(table, path)
        # also when new, the part is taken from disk: resumed and uninterrupted runs see the same types
        return read_table(path)

    def _run_facts(self) -> dict:
        return {
            "commit": _git("rev-parse", "HEAD"),
            # what a run itself writes does not count
            "clean": _git("status", "--porcelain", "--", ".", ":!notebooks/*.ipynb", ":!figures", ":!data/results") == "",
            "seconds": round(time.monotonic() - self.started, 1),
            "python": platform.python_version(),
            "machine": platform.machine(),
            "packages": {p: importlib.metadata.version(p) for p in PACKAGES},
        }


def _checked(name: str, table: pd.DataFrame, path: Path) -> pd.DataFrame:
    if missing := [c for c in SCHEMAS.get(name, ()) if c not in table.columns]:
        raise ArtifactError(f"{path}: the table {name!r} lacks the columns {', '.join(missing)}")
    return table


def _git(*arguments: str) -> str | None:
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
