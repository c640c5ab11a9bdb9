"""The driver, on toy notebooks in a folder of their own."""

import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest

from semantic_pivots import run

HEADER = """# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
#   stage:
#     reads: [{reads}]
#     writes: [{writes}]
# ---

# %% [markdown]
# # {title}

# %% tags=["parameters"]
profile = "laptop"
{parameters}

# %%
import pandas as pd
from semantic_pivots.artifacts import Store
store = Store(profile, "{title}", {{}})
{code}
"""
FIRST = "table = store.write('first', pd.DataFrame({'x': [n] * len(names)}))\ntable"
SECOND = "store.write('second', store.read('first').assign(y=scale))"


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A project with two notebooks, the second reading what the first writes."""
    notebooks = tmp_path / "notebooks"
    (notebooks / "profiles").mkdir(parents=True)
    (notebooks / "profiles" / "laptop.yaml").write_text("")
    (notebooks / "profiles" / "smoke.yaml").write_text("n: 1\n")
    write(notebooks, "01_first", "", "first", 'n = 3\nnames = ["a", "b"]', FIRST)
    write(notebooks, "02_second", "first", "second", "scale = 1.5", SECOND)
    monkeypatch.setattr(run, "SOURCES", notebooks)
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr("semantic_pivots.artifacts.ROOT", tmp_path)
    monkeypatch.setenv("SEMANTIC_PIVOTS_ROOT", str(tmp_path))  # for the kernels
    monkeypatch.delenv("SEMANTIC_PIVOTS_RESULTS", raising=False)
    return tmp_path


def write(folder, title, reads, writes, parameters, code):
    (folder / f"{title}.py").write_text(HEADER.format(title=title, reads=reads, writes=writes, parameters=parameters, code=code))


def driver(root, *arguments, profile="laptop"):
    """Run the driver in this process; returns the names of the stages that ran."""
    ran = []
    stages = run.find_stages(root / "notebooks")
    given = run.read_profile(profile, root / "notebooks" / "profiles") | {"profile": profile} | run.parse_overrides(" ".join(arguments))
    parameters = run.resolve_parameters(stages, given)
    for stage in stages:
        if run.run_stage(stage, parameters[stage.name], profile):
            ran.append(stage.name)
    return ran


def test_only_what_changed_runs_again(root):
    assert driver(root) == ["01_first", "02_second"]
    assert driver(root) == []
    assert driver(root, "scale=2.5") == ["02_second"]
    assert driver(root, "scale=2.5", "n=4") == ["01_first", "02_second"]
    # a parameter that changes nothing in the table runs its own stage alone
    assert driver(root, "scale=2.5", "n=4", "names=[c,d]") == ["01_first"]
    source = root / "notebooks" / "02_second.py"
    source.write_text(source.read_text().replace("assign(y=scale)", "assign(y=scale, z=1)"))
    assert driver(root, "scale=2.5", "n=4", "names=[c,d]") == ["02_second"]


def test_a_file_that_a_parameter_names_is_an_input(root):
    write(root / "notebooks", "02_second", "first", "second", 'scale = 1.5\ncounts_table = ""', SECOND)
    (root / "counts.csv").write_text("a\n1\n")
    assert driver(root, "counts_table=counts.csv") == ["01_first", "02_second"]
    assert driver(root, "counts_table=counts.csv") == []
    (root / "counts.csv").write_text("a\n2\n")
    assert driver(root, "counts_table=counts.csv") == ["02_second"]
    (root / "folder").mkdir()
    (root / "counts.csv").rename(root / "folder" / "counts.csv")
    assert driver(root, "counts_table=folder") == ["02_second"]
    (root / "folder" / "more.csv").write_text("a\n3\n")
    assert driver(root, "counts_table=folder") == ["02_second"]


def test_a_model_in_a_folder_is_an_input(root):
    write(root / "notebooks", "02_second", "first", "second", 'scale = 1.5\nmodel = "packaged:a"', SECOND)
    (root / "model").mkdir()
    (root / "model" / "config.json").write_text("{}")
    given = f"model=path:{root / 'model'}"
    assert driver(root, given) == ["01_first", "02_second"]
    assert driver(root, given) == []
    (root / "model" / "config.json").write_text("{ }")
    assert driver(root, given) == ["02_second"]


def test_a_table_that_is_not_complete_is_never_up_to_date(root, capsys):
    source = root / "notebooks" / "01_first.py"
    whole = source.read_text()
    source.write_text(whole.replace("* len(names)}", "* len(names), 'complete': [True, n > 3]}"))
    assert driver(root) == ["01_first", "02_second"]
    assert "not all input could be read for first.parquet; it will run again" in capsys.readouterr().out
    assert driver(root)[0] == "01_first"
    assert driver(root, "n=4")[0] == "01_first" and driver(root, "n=4") == []


def test_a_table_of_another_profile_is_an_input_where_it_is_there(root):
    write(root / "notebooks", "02_second", "first, smoke/first, smoke/second", "second", "scale = 1.5", SECOND)
    assert driver(root) == ["01_first", "02_second"] and driver(root) == []
    assert driver(root, profile="smoke") == ["01_first", "02_second"]
    assert driver(root, profile="smoke") == []  # its own tables are no inputs
    assert driver(root) == ["02_second"] and driver(root) == []


def test_prose_is_refreshed_without_a_run(root):
    driver(root)
    source = root / "notebooks" / "01_first.py"
    source.write_text(source.read_text().replace("# # 01_first", "# # A better title"))
    assert driver(root) == []
    notebook = nbformat.read(root / "notebooks" / "01_first.ipynb", as_version=4)
    assert notebook.cells[0].source == "# A better title"
    assert notebook.cells[-1].outputs and notebook.metadata.fingerprint


def test_two_runs_give_the_same_bytes(root):
    driver(root)
    files = [
        root / "notebooks" / "01_first.ipynb",
        root / "data" / "results" / "laptop" / "second.parquet",
        root / "data" / "results" / "laptop" / "manifest.json",
    ]
    before = [f.read_bytes() for f in files]
    for stamp in (root / "data" / "results" / "laptop" / "stamps").iterdir():
        stamp.unlink()
    assert driver(root) == ["01_first", "02_second"]
    assert [f.read_bytes() for f in files] == before
    assert b"papermill" not in before[0] and b"iopub" not in before[0]


def test_other_profiles_leave_the_committed_notebooks_alone(root):
    driver(root)
    before = (root / "notebooks" / "01_first.ipynb").read_bytes()
    assert driver(root, profile="smoke") == ["01_first", "02_second"]
    assert (root / "notebooks" / "01_first.ipynb").read_bytes() == before
    assert (root / "data" / "results" / "smoke" / "notebooks" / "01_first.ipynb").is_file()


def test_a_failure_keeps_the_last_good_notebook(root):
    driver(root)
    source = root / "notebooks" / "01_first.py"
    good = source.read_text()
    before = (root / "notebooks" / "01_first.ipynb").read_bytes()
    source.write_text(good.replace("[n] * len(names)", "[1 / 0]"))
    with pytest.raises(run.RunError, match="01_first failed: ZeroDivisionError"):
        driver(root)
    failed = root / "notebooks" / "01_first.failed.ipynb"
    assert (root / "notebooks" / "01_first.ipynb").read_bytes() == before
    assert any(o.output_type == "error" for c in nbformat.read(failed, as_version=4).cells for o in c.get("outputs", []))
    source.write_text(good)
    assert driver(root) == []  # the earlier result still stands
    source.write_text(good.replace("{'x'", "{'w': 1, 'x'"))
    driver(root)
    assert not failed.exists()


def test_a_damaged_output_is_made_again(root):
    driver(root)
    table = root / "data" / "results" / "laptop" / "first.parquet"
    good = table.read_bytes()
    table.write_bytes(good[:-9])
    assert driver(root) == ["01_first"]
    assert table.read_bytes() == good


def test_a_killed_run_goes_on_where_it_was(root):
    """kill -9 in the second notebook: its earlier result stays whole, the first is not run again, parts are kept."""
    code = (
        "import time\nfrom pathlib import Path\n"
        "part = store.unit('part', lambda: (time.sleep(0.1), pd.DataFrame({'t': [time.time()]}))[1], key=1)\n"
        "wait = Path(store.folder) / 'go'\n"
        "while not wait.exists():\n    time.sleep(0.05)\n"
        "store.write('second', part.assign(y=scale))"
    )
    write(root / "notebooks", "02_second", "first", "second", "scale = 1.5", code)
    results = root / "data" / "results" / "laptop"
    process = subprocess.Popen([sys.executable, "-m", "semantic_pivots.run"], env=os.environ, start_new_session=True)
    wait_for(lambda: list((results / "parts").glob("part-*")))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    part = next((results / "parts").glob("part-*"))
    before = part.read_bytes()
    assert not (results / "second.parquet").exists()
    (results / "go").write_text("")
    assert driver(root) == ["02_second"]
    assert part.read_bytes() == before


def test_a_dying_kernel_is_told(root):
    write(root / "notebooks", "02_second", "first", "second", "scale = 1.5", "import os\nos.kill(os.getpid(), 9)")
    with pytest.raises(run.RunError, match="02_second: its Python process died"):
        driver(root)


def test_control_c_ends_cleanly(root):
    write(
        root / "notebooks",
        "02_second",
        "first",
        "second",
        "scale = 1.5",
        "import time\nfrom pathlib import Path\nPath(store.folder, 'here').write_text('')\ntime.sleep(60)",
    )
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a shell is born deaf to Ctrl-C, and so are its children
    process = subprocess.Popen([sys.executable, "-m", "semantic_pivots.run"], env=os.environ, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    wait_for((root / "data" / "results" / "laptop" / "here").exists)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted; finished parts are kept" in errors and "Traceback" not in errors
    assert (root / "notebooks" / "01_first.ipynb").is_file()


def wait_for(condition, seconds=180):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited too long"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("m=3", "unknown parameter 'm'; known: n, names, scale"),
        ("n=x", r"parameter 'n' is 'x' \(str\), expected int such as 3"),
        ("n=1.5", r"parameter 'n' is 1.5 \(float\), expected int"),
        ("n=true", r"parameter 'n' is True \(bool\), expected int"),
        ("names=a", r"parameter 'names' is 'a' \(str\), expected list"),
        ("names=[1]", r"parameter 'names' holds 1 \(int\), expected a list of str"),
        ("n", "SET: 'n' is not of the form name=value"),
    ],
)
def test_bad_parameters_are_named(root, text, message):
    with pytest.raises(run.RunError, match=message):
        driver(root, text)
    assert not (root / "data").exists()


def test_parameters_are_parsed():
    assert run.parse_overrides("n_concepts=500 target_langs=[fr,ja]") == {"n_concepts": 500, "target_langs": ["fr", "ja"]}
    assert run.parse_overrides("a=[x, y] model=hub:org/name@rev") == {"a": ["x", "y"], "model": "hub:org/name@rev"}


def test_floats_may_be_written_as_integers_and_with_exponents(root):
    stages = run.find_stages(root / "notebooks")
    for text, value in (("scale=2", 2.0), ("scale=1e-3", 1e-3)):
        assert run.resolve_parameters(stages, run.parse_overrides(text))["02_second"]["scale"] == value


def test_unknown_profile(root):
    with pytest.raises(run.RunError, match="profile 'huge' is not known; known: laptop, smoke"):
        run.read_profile("huge", root / "notebooks" / "profiles")


def test_an_overview_may_come_first_and_read_what_later_ones_write(root):
    write(root / "notebooks", "00_overview", "second", "", "", "")
    assert [s.name for s in run.find_stages(root / "notebooks")] == ["01_first", "02_second", "00_overview"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("reads: [first]", "reads: [nothing]"), "02_second reads 'nothing', which no notebook writes"),
        (("scale = 1.5", "scale = float(1)"), "may hold only NAME = literal"),
        (('tags=["parameters"]', ""), "has 0 cells tagged 'parameters'"),
        (("stage:", "stages:"), "its header needs 'stage'"),
    ],
)
def test_bad_notebooks_are_named(root, change, message):
    source = root / "notebooks" / "02_second.py"
    source.write_text(source.read_text().replace(*change))
    with pytest.raises(run.RunError, match=message):
        run.find_stages(root / "notebooks")
