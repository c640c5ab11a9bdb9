"""The project's own files agree with each other."""

import json
import re
import subprocess
import tomllib
from collections import defaultdict

import pyarrow.parquet as pq
import pytest
import yaml
from packaging.requirements import Requirement

from semantic_pivots import report_claims
from semantic_pivots.artifacts import ROOT, Store

CONDA_NAMES = {"pytorch": "torch"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RESULTS = ROOT / "data" / "results"
TEXT_SUFFIXES = {".py", ".md", ".toml", ".yml", ".yaml", ".txt", ".cff", ".ipynb", ".lock", ""}


def test_conda_environment_has_the_same_requirements():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    conda = [d for d in listed if isinstance(d, str)] + [p for d in listed if isinstance(d, dict) for p in d["pip"]]
    seen = {CONDA_NAMES.get(r.name, r.name): r.specifier for r in map(Requirement, conda)}
    seen.pop("pip")
    assert seen.pop("python") == Requirement("python" + PROJECT["requires-python"]).specifier
    wanted = PROJECT["dependencies"] + [r for extra in PROJECT["optional-dependencies"].values() for r in extra]
    assert seen == {r.name: r.specifier for r in map(Requirement, wanted)}


def test_lock_pins_every_requirement():
    pins = {
        r.name.lower().replace("_", "-"): r
        for r in map(Requirement, (line for line in (ROOT / "requirements.lock").read_text().splitlines() if line and line[0] != "#"))
    }
    for requirement in map(Requirement, PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]):
        (pin,) = pins[requirement.name.lower().replace("_", "-")].specifier
        assert pin.operator == "==" and requirement.specifier.contains(pin.version)


def test_readme_names_only_targets_and_files_that_exist():
    readme = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"^\s*make (?:[A-Z]+=\S+ )*([a-z]+)", readme, re.M)) | set(re.findall(r"`make (?:[A-Z]+=\S+ )*([a-z]+)", readme))
    assert named and named <= targets
    for link in re.findall(r"\]\(([^)#:]+)\)", readme):
        assert (ROOT / link).exists(), link


def test_readme_shows_the_claims_as_the_table_has_them(committed_results):
    readme = (ROOT / "README.md").read_text()
    assert report_claims.LEGEND in " ".join(readme.split())
    shown = re.search(r"<!-- claims: .*? -->\n(.*?)\n<!-- end of claims -->", readme, re.S).group(1)
    assert shown == report_claims.claims_markdown(Store("laptop").read("claims")), "put the second text into README.md"


def column_dictionary() -> tuple[set[str], dict[str, set[str]]]:
    """What the dictionary of results names in the first cells of its tables: columns that many tables share, and those of each table."""
    shared, own = set(), defaultdict(set)
    for section in re.split(r"^(?=#)", (RESULTS / "README.md").read_text(), flags=re.M):
        tables = re.findall("`(.+?)`", section.partition("\n")[0])
        names = {n for cell in re.findall(r"^\| (`.+?) \|", section, re.M) for n in re.findall("`(.+?)`", cell)}
        for table in tables:
            own[table] |= names
        shared |= set() if tables else names
    return shared, own


def as_pattern(name: str, columns: set[str]) -> str:
    """A name of the dictionary as a regular expression: COLUMN is another column of the table, other words in capitals are anything."""
    others = f"({'|'.join(map(re.escape, sorted(columns)))})"
    return re.sub("[A-Z]{2,}", lambda word: others if word[0] == "COLUMN" else ".+", re.escape(name))


def test_every_column_of_the_results_is_described(committed_results):
    shared, own = column_dictionary()
    columns, known = defaultdict(set), set()
    for profile in re.findall(r"^!data/results/(\w+)/$", (ROOT / ".gitignore").read_text(), re.M):
        for path in (RESULTS / profile).glob("*.parquet"):
            columns[path.stem] |= set(pq.read_schema(path).names)
        if (manifest := RESULTS / profile / "manifest.json").is_file():
            known |= set(json.loads(manifest.read_text())["tables"])
    assert columns and own.keys() <= known, f"no manifest has {sorted(own.keys() - known)}"
    used = set()
    for table, there in columns.items():
        assert table in own, f"data/results/README.md has no section on {table}"
        patterns = {name: re.compile(as_pattern(name, there)) for name in shared | own[table]}
        found = {column: {name for name, pattern in patterns.items() if pattern.fullmatch(column)} for column in there}
        assert all(found.values()), f"data/results/README.md does not describe {sorted(c for c in there if not found[c])} of {table}"
        matched = set().union(*found.values())
        assert own[table] <= matched, f"{table} has no column {sorted(own[table] - matched)}"
        used |= matched
    assert shared <= used, f"no table has a column {sorted(shared - used)}"


def test_make_help_lists_the_targets():
    text = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("help", "env", "all", "test", "smoke", "bench", "lab", "data", "clean"):
        assert f"make {target}" in text


def test_the_terms_of_the_gemma_weights_are_named_where_they_are_used():
    for name in ("README.md", "requirements-models.txt", "notebooks/01_task_construction.py"):
        assert "ai.google.dev/gemma/terms" in (ROOT / name).read_text(), name


def test_the_tree_names_no_machine():
    """No package index, no path of one machine."""
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if files.returncode:
        pytest.skip("not a git checkout")
    bad = re.compile(r"(--(extra-)?index-url|--find-links)|[\s\"'(=]/(root|home)/\w")
    for name in files.stdout.splitlines():
        path = ROOT / name
        if path.suffix in TEXT_SUFFIXES and path.is_file() and name != "tests/test_project.py":
            found = bad.search(path.read_text(errors="ignore"))
            assert not found, f"{name}: {found.group()}"
