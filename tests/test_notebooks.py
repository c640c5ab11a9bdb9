"""The committed notebooks: pairs in step, outputs not older than the code, readable as a story."""

import json
import re
from pathlib import Path

import nbformat
import pytest

from semantic_pivots import report_claims, run
from semantic_pivots.artifacts import COMMITTED_PROFILE, ROOT
from semantic_pivots.fingerprint import canonical, describe_difference

STAGES = {s.name: s for s in run.find_stages()}
PARAMETERS = run.resolve_parameters(list(STAGES.values()), run.read_profile(COMMITTED_PROFILE))


@pytest.fixture(params=sorted(STAGES))
def stage(request):
    return STAGES[request.param]


@pytest.fixture
def notebook(stage, committed_results):
    return nbformat.read(ROOT / "notebooks" / f"{stage.name}.ipynb", as_version=4)


def test_pair_is_in_step(stage, notebook):
    """The .ipynb is the .py with outputs: bringing it into step changes nothing."""
    assert run.with_source_of(stage, notebook) == notebook, "run 'make all', or 'python -m semantic_pivots.run --sync' if only prose changed"


def test_outputs_are_not_older_than_the_code(stage, notebook):
    expected = json.loads(canonical(run.stage_fingerprint(stage, PARAMETERS[stage.name], COMMITTED_PROFILE)))
    assert describe_difference(notebook.metadata.get("fingerprint"), expected) == "", "run 'make all' and commit"


def test_every_cell_ran_in_order_without_error(notebook):
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    assert not [o for c in code for o in c.outputs if o.output_type in ("error",) or o.get("name") == "stderr"]


def test_what_is_read_is_declared(stage):
    """Else a new table would not make the notebook run again."""
    tables = {name for other in STAGES.values() for name in other.writes}
    named = {name for call in re.findall(r"store\.read\(([^f][^)]*)\)(.*)", stage.source) for name in re.findall(r'"(\w+)"', " ".join(call))}
    if "report_claims.TABLES" in stage.source:
        named |= set(report_claims.TABLES)
    assert named & tables <= {*stage.reads, *stage.writes}


def test_it_reads_as_a_story(notebook):
    """At least as much prose as code, short cells (the list of parameters apart), a title first and the way on last."""
    code = [c for c in notebook.cells if c.cell_type == "code" and "parameters" not in c.metadata.get("tags", [])]
    prose = [c for c in notebook.cells if c.cell_type == "markdown"]
    assert max(len(c.source.splitlines()) for c in code) <= 15
    assert sum(len(c.source) for c in prose) >= sum(len(c.source) for c in code)
    assert notebook.cells[0].source.startswith("# ")
    assert "**Next:**" in notebook.cells[-1].source


def test_there_is_no_noise_in_it(notebook):
    text = nbformat.writes(notebook)
    assert str(ROOT) not in text and str(Path.home()) + "/" not in text
    assert '"papermill"' not in text and '"iopub' not in text


def test_one_parameter_has_one_default():
    seen = {}
    for stage in STAGES.values():
        for name, value in stage.defaults.items():
            assert seen.setdefault(name, value) == value, f"{stage.name}: {name}"


@pytest.mark.parametrize("profile", sorted(p.stem for p in (ROOT / "notebooks" / "profiles").glob("*.yaml")))
def test_profiles_name_known_parameters(profile):
    run.resolve_parameters(list(STAGES.values()), run.read_profile(profile))
