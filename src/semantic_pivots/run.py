"""The driver: executes the numbered notebooks of a profile, those that need it, in the order of what they read and write.

    python -m semantic_pivots.run --profile laptop --set "n_concepts=500 target_langs=[fr,ja]"

Each notebook is a pair: the ``.py`` is the source, the ``.ipynb`` its executed copy. A notebook names in its header the
artifacts it reads and writes (``stage``). It runs again when its fingerprint differs from that of its last good run on
this machine, or an output is gone or changed.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import logging
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbformat
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from .artifacts import COMMITTED, ROOT, ArtifactError, Store, atomic_path, files_at, input_files, notebooks_folder, results_folder
from .fingerprint import canonical, code_fingerprint, code_only, describe_difference, sha256_file, sha256_text
from .progress import VARIABLE, Follower

__all__ = ["Stage", "RunError", "find_stages", "read_profile", "parse_overrides", "resolve_parameters", "stage_fingerprint", "run_stage", "main"]

SOURCES = ROOT / "notebooks"
LIBRARY_LOGS = ("asyncio", "papermill", "traitlets")
RUN_NOISE = ("execution", "papermill")  # cell and notebook metadata that differs from run to run


class RunError(RuntimeError):
    """The run cannot go on; the message says what to change."""


@dataclass(frozen=True)
class Stage:
    """A numbered notebook.

    Attributes:
        name: file name without suffix.
        source: text of the .py.
        reads: names of the artifacts it reads; ``PROFILE/TABLE`` is another profile's table, read if it is there.
        writes: names of the tables it writes.
        defaults: its parameters with their default values (those of the laptop profile).
    """

    name: str
    source: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    defaults: dict[str, object]

    def code(self) -> str:
        """Source of its code cells but for the parameters, which the fingerprint holds apart."""
        cells = jupytext.reads(self.source, fmt="py:percent").cells
        return "\n\n".join(c.source for c in cells if c.cell_type == "code" and "parameters" not in c.metadata.get("tags", []))


# --- notebooks and parameters -----------------------------------------------------------------------------------------


def find_stages(folder: Path = SOURCES) -> list[Stage]:
    """All numbered notebooks, each after those that write what it reads.

    Raises:
        RunError: for a header without ``stage``, parameters that are not literals, or reads that nobody writes.
    """
    stages = {p.stem: _read_stage(p) for p in sorted(folder.glob("[0-9][0-9]_*.py"))}
    if not stages:
        raise RunError(f"no numbered notebooks in {folder}")
    writers = {table: s.name for s in stages.values() for table in s.writes}
    for stage in stages.values():
        if unknown := [r for r in stage.reads if r.rpartition("/")[2] not in writers and r not in COMMITTED]:
            raise RunError(f"{stage.name} reads {unknown[0]!r}, which no notebook writes")
    ordered: list[Stage] = []
    waiting = dict(stages)
    while waiting:
        ready = [n for n, s in waiting.items() if not any(writers.get(r) in waiting.keys() - {n} for r in s.reads)]
        if not ready:
            raise RunError(f"the notebooks {', '.join(waiting)} wait for each other")
        ordered.append(waiting.pop(ready[0]))
    return ordered


def _read_stage(path: Path) -> Stage:
    source = path.read_text(encoding="utf-8")
    notebook = jupytext.reads(source, fmt="py:percent")
    header = notebook.metadata.get("stage")
    if not isinstance(header, dict) or set(header) != {"reads", "writes"}:
        raise RunError(f"{path.name}: its header needs 'stage' with 'reads' and 'writes'")
    cells = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    if len(cells) != 1:
        raise RunError(f"{path.name}: has {len(cells)} cells tagged 'parameters' instead of one")
    defaults = {}
    for statement in ast.parse(cells[0].source).body:
        try:
            defaults[statement.targets[0].id] = ast.literal_eval(statement.value)
        except (AttributeError, ValueError, IndexError) as error:
            raise RunError(f"{path.name}: its parameters cell may hold only NAME = literal, not {ast.unparse(statement)!r}") from error
    return Stage(path.stem, source, tuple(header["reads"]), tuple(header["writes"]), defaults)


def read_profile(name: str, folder: Path = SOURCES / "profiles") -> dict[str, object]:
    """Parameters of a profile that differ from the notebooks' own."""
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise RunError(f"profile {name!r} is not known; known: {', '.join(sorted(p.stem for p in folder.glob('*.yaml')))}")
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def parse_overrides(text: str) -> dict[str, object]:
    """Parameters from "name=value name=[a,b]"; values are YAML.

    Raises:
        RunError: if a part is not of that form.
    """
    parts = re.findall(r"""[^\s=\[\]"']+=(?:\[[^\]]*\]|"[^"]*"|'[^']*'|[^\s\[\]]+)|\S+""", text)
    overrides = {}
    for part in parts:
        name, equals, value = part.partition("=")
        try:
            if not equals or not name.isidentifier():
                raise yaml.YAMLError
            overrides[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise RunError(f"SET: {part!r} is not of the form name=value or name=[value,value]") from error
    return overrides


def resolve_parameters(stages: list[Stage], given: dict[str, object]) -> dict[str, dict[str, object]]:
    """Parameters of each stage: its own, replaced by the given ones that it has.

    Raises:
        RunError: for a parameter that no notebook has, or a value of another type than the notebook's own.
    """
    known = {n for s in stages for n in s.defaults}
    if unknown := sorted(set(given) - known):
        raise RunError(f"unknown parameter {unknown[0]!r}; known: {', '.join(sorted(known - {'profile'}))}")
    resolved = {}
    for stage in stages:
        mine = {n: _typed(n, given[n], default) for n, default in stage.defaults.items() if n in given}
        resolved[stage.name] = stage.defaults | mine
    return resolved


def _typed(name: str, value: object, default: object) -> object:
    """The value as the default's type, or an error that names the parameter."""
    if isinstance(default, float) and isinstance(value, str):
        with contextlib.suppress(ValueError):  # YAML reads 1e-3 as a string
            value = float(value)
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if default is not None and type(value) is not type(default):
        raise RunError(f"parameter {name!r} is {value!r} ({type(value).__name__}), expected {type(default).__name__} such as {default!r}")
    if isinstance(default, list) and default:
        if wrong := [v for v in value if type(v) is not type(default[0])]:
            raise RunError(
                f"parameter {name!r} holds {wrong[0]!r} ({type(wrong[0]).__name__}), expected a list of {type(default[0]).__name__} such as {default!r}"
            )
    return value


# --- fingerprints -----------------------------------------------------------------------------------------------------


def stage_fingerprint(stage: Stage, parameters: dict[str, object], profile: str) -> dict[str, object]:
    """What the stage's outputs depend on: code, parameters, contents of its inputs."""
    inputs = {}
    for name in stage.reads:
        other, _, table = name.rpartition("/")
        if other != profile:  # what a run writes is no input of it
            sums = [sha256_file(p) for p in input_files(table, other or profile)]
            inputs[name] = sha256_text(canonical(sums)) if sums else None
    # a parameter ..._table names a file, or a folder of files, of the user's own: what is in it counts, not its name alone
    for name in (n for n, v in parameters.items() if n.endswith("_table") and v):
        sums = [sha256_file(p) for p in files_at(ROOT / str(parameters[name]))]
        inputs[name] = sha256_text(canonical(sums)) if sums else None
    # a model of the user's own can be trained on under the same name; it is large, so times and sizes tell
    for name in (n for n, v in parameters.items() if isinstance(v, str) and v.startswith("path:")):
        folder = Path(parameters[name].removeprefix("path:")).expanduser()
        inputs[name] = [[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in sorted(folder.glob("*")) if p.is_file()]
    return {"code": code_fingerprint(stage.code()), "parameters": parameters, "inputs": inputs}


def _stamp_path(stage: Stage, profile: str) -> Path:
    return results_folder(profile) / "stamps" / f"{stage.name}.json"


def _outputs(stage: Stage, profile: str) -> list[Path]:
    return [results_folder(profile) / f"{t}.parquet" for t in stage.writes]


def _complete(path: Path) -> bool:
    """Whether all input of a table could be read; tables for which some may be missing say so in a column ``complete``."""
    return "complete" not in pq.read_schema(path).names or pc.all(pq.read_table(path, columns=["complete"])["complete"]).as_py() is not False


def _why_stale(stage: Stage, fingerprint: dict, profile: str) -> str:
    """Why the stage has to run, "" if it need not.

    The stamp of the last good run is not committed: a fresh clone runs everything once.
    """
    path = _stamp_path(stage, profile)
    if not path.is_file() or not (notebooks_folder(profile) / f"{stage.name}.ipynb").is_file():
        return "not run yet"
    try:
        stamp = json.loads(path.read_text())
    except json.JSONDecodeError:
        return "its stamp is damaged"
    if difference := describe_difference(stamp["fingerprint"], json.loads(canonical(fingerprint))):
        return f"changed: {difference}"
    changed = [p.name for p in _outputs(stage, profile) if not p.is_file() or sha256_file(p) != stamp["outputs"].get(p.name)]
    return f"output missing or changed: {', '.join(changed)}" if changed else ""


# --- running ----------------------------------------------------------------------------------------------------------


def run_stage(stage: Stage, parameters: dict[str, object], profile: str, force: bool = False) -> bool:
    """Run a stage if it has to; returns whether it ran.

    Raises:
        RunError: if a cell fails. The notebook up to there is kept as NAME.failed.ipynb; earlier outputs stay.
    """
    fingerprint = stage_fingerprint(stage, parameters, profile)
    why = "forced" if force else _why_stale(stage, fingerprint, profile)
    final = notebooks_folder(profile) / f"{stage.name}.ipynb"
    failed = final.with_name(f"{stage.name}.failed.ipynb")
    if not why:
        _refresh_prose(stage, final)
        print(f"{stage.name}: up to date", flush=True)
        return False
    print(f"{stage.name}: running ({why})", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="semantic-pivots-") as scratch:
        executed = _execute(stage, parameters, Path(scratch), failed)
    if missing := [p.name for p in _outputs(stage, profile) if not p.is_file()]:
        raise RunError(f"{stage.name} ran but did not write {', '.join(missing)}")
    executed.metadata["fingerprint"] = json.loads(canonical(fingerprint))
    _write_notebook(executed, final)
    failed.unlink(missing_ok=True)
    _write_html(executed, results_folder(profile) / "html" / f"{stage.name}.html")
    if incomplete := [p.name for p in _outputs(stage, profile) if not _complete(p)]:
        _stamp_path(stage, profile).unlink(missing_ok=True)
        print(f"{stage.name}: done, but not all input could be read for {', '.join(incomplete)}; it will run again", flush=True)
        return True
    with atomic_path(_stamp_path(stage, profile)) as path:
        path.write_text(canonical({"fingerprint": fingerprint, "outputs": {p.name: sha256_file(p) for p in _outputs(stage, profile)}}))
    print(f"{stage.name}: done in {time.monotonic() - started:.0f} s", flush=True)
    return True


def _kernel_manager(log: Path) -> type:
    """Kernels that are spoken to through files, not through TCP ports (where the system has such sockets).

    What a kernel itself says, as when it is interrupted, goes to a log and not between the driver's lines.
    """
    from jupyter_client.manager import AsyncKernelManager

    class LocalKernelManager(AsyncKernelManager):
        transport = "tcp" if os.name == "nt" else "ipc"

        async def _async_launch_kernel(self, kernel_cmd, **options):
            with log.open("ab") as stream:
                return await super()._async_launch_kernel(kernel_cmd, **options | {"stderr": stream})

    return LocalKernelManager


def _execute(stage: Stage, parameters: dict[str, object], scratch: Path, failed: Path) -> nbformat.NotebookNode:
    import papermill
    from nbclient.exceptions import DeadKernelError

    source, target, log = scratch / "source.ipynb", scratch / "executed.ipynb", scratch / "kernel.log"
    jupytext.write(jupytext.reads(stage.source, fmt="py:percent"), source)
    # values that are the notebook's own need no injected cell
    changed = {n: v for n, v in parameters.items() if v != stage.defaults[n]}
    with _kernel_environment(scratch / "progress.jsonl"):
        try:
            papermill.execute_notebook(
                source, target, parameters=changed, kernel_name="python3", cwd=str(SOURCES), progress_bar=False, kernel_manager_class=_kernel_manager(log)
            )
        except DeadKernelError as error:
            raise RunError(f"{stage.name}: its Python process died, perhaps for want of memory\n{log.read_text(errors='replace')[-2000:]}") from error
        except papermill.PapermillExecutionError as error:
            failed.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(failed) as path:
                path.write_bytes(target.read_bytes())
            raise RunError(f"{stage.name} failed: {error.ename}: {error.evalue}\n    the notebook up to there: {failed}") from error
    return _without_noise(nbformat.read(target, as_version=4))


@contextlib.contextmanager
def _kernel_environment(progress_file: Path) -> Iterator[None]:
    """Environment of the kernel, which inherits ours: this interpreter's own kernel, quiet libraries, a progress file."""
    new = {
        VARIABLE: str(progress_file),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "TOKENIZERS_PARALLELISM": "true",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TQDM_DISABLE": "1",
    }
    old = {name: os.environ.get(name) for name in new}
    os.environ.update(new)
    follower = Follower(progress_file)
    follower.start()
    try:
        yield
    finally:
        follower.stop()
        for name, value in old.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


def _without_noise(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without times, paths, versions and ids, which differ from run to run."""
    for noise in RUN_NOISE:
        notebook.metadata.pop(noise, None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02d}"
        for noise in RUN_NOISE:
            cell.metadata.pop(noise, None)
        if not cell.metadata.get("tags", True):  # papermill gives every cell a list of tags
            del cell.metadata["tags"]
    return notebook


def _write_notebook(notebook: nbformat.NotebookNode, path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(nbformat.writes(notebook, version=4) + "\n", encoding="utf-8")


def _refresh_prose(stage: Stage, path: Path) -> None:
    """Bring changed prose and comments into an executed notebook whose outputs still hold."""
    executed = nbformat.read(path, as_version=4)
    merged = with_source_of(stage, executed)
    if merged != executed:
        _write_notebook(merged, path)
        print(f"{stage.name}: prose refreshed", flush=True)


def with_source_of(stage: Stage, executed: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The stage's cells with the outputs of an executed notebook, matched by their order."""
    fresh = _without_noise(jupytext.reads(stage.source, fmt="py:percent"))
    injected = [c for c in executed.cells if "injected-parameters" in c.metadata.get("tags", [])]
    outputs = [c for c in executed.cells if c.cell_type == "code" and c not in injected]
    code = [c for c in fresh.cells if c.cell_type == "code"]
    if len(outputs) == len(code):
        for cell, old in zip(code, outputs):
            if code_only(cell.source) == code_only(old.source):
                cell.outputs, cell.execution_count = old.outputs, old.execution_count
    if injected:
        place = next(i for i, c in enumerate(fresh.cells) if "parameters" in c.metadata.get("tags", []))
        fresh.cells.insert(place + 1, injected[0])
    fresh = _without_noise(fresh)
    fresh.metadata = executed.metadata
    fresh.nbformat_minor = executed.nbformat_minor
    return fresh


def _write_html(notebook: nbformat.NotebookNode, path: Path) -> None:
    from nbconvert import HTMLExporter

    body, _ = HTMLExporter(embed_images=True).from_notebook_node(notebook, resources={"metadata": {"name": path.stem}})
    with atomic_path(path) as temporary:
        temporary.write_text(body, encoding="utf-8")


def synchronise(stages: list[Stage]) -> None:
    """Bring every committed .ipynb into step with its .py, outputs kept (before JupyterLab opens the pair)."""
    for stage in stages:
        path = SOURCES / f"{stage.name}.ipynb"
        if path.is_file():
            _refresh_prose(stage, path)
        else:
            _write_notebook(_without_noise(jupytext.reads(stage.source, fmt="py:percent")), path)


@contextlib.contextmanager
def _quiet_interrupt() -> Iterator[None]:
    """Ctrl-C without the libraries' lines: the kernel dies of it too, which they would report with a traceback, some of it only as the process ends."""

    def interrupt(*_) -> None:
        for name in LIBRARY_LOGS:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # deaf to Ctrl-C, or somebody else's to handle
        yield
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m semantic_pivots.run", description="Execute the notebooks of a profile.")
    parser.add_argument("--profile", default="laptop", help="a file of notebooks/profiles without its suffix (default: laptop)")
    parser.add_argument("--set", default="", help='parameters, as in "n_concepts=500 target_langs=[fr,ja]"')
    parser.add_argument("--only", default="", help="run only the notebooks whose names start like this, e.g. 01")
    parser.add_argument("--force", action="store_true", help="run also what is up to date")
    parser.add_argument("--sync", action="store_true", help="only bring the .ipynb files into step with the .py files")
    options = parser.parse_args(arguments)
    try:
        stages = find_stages()
        if options.sync:
            synchronise(stages)
            return 0
        given = read_profile(options.profile) | {"profile": options.profile} | parse_overrides(options.set)
        parameters = resolve_parameters(stages, given)
        chosen = [s for s in stages if s.name.startswith(options.only)]
        if not chosen:
            raise RunError(f"no notebook starts with {options.only!r}; there are {', '.join(s.name for s in stages)}")
        started = time.monotonic()
        for number, stage in enumerate(chosen, 1):
            print(f"[{number}/{len(chosen)}] ", end="")
            with _quiet_interrupt():
                run_stage(stage, parameters[stage.name], options.profile, options.force)
        print(
            f"profile {options.profile}: all notebooks are up to date after {time.monotonic() - started:.0f} s; tables in {_shown(Store(options.profile).folder)}"
        )
    except (RunError, ArtifactError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; finished parts are kept, the same command goes on from there", file=sys.stderr)
        return 130
    return 0


def _shown(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


if __name__ == "__main__":
    sys.exit(main())
