import subprocess
import sys
import textwrap

import pandas as pd
import pytest

from semantic_pivots import artifacts
from semantic_pivots.artifacts import ArtifactError, Store, atomic_path, literals, read_table, write_table

ABILITY = pd.DataFrame({c: [1] for c in artifacts.SCHEMAS["ability"]})


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMANTIC_PIVOTS_RESULTS", str(tmp_path))
    return Store("test", "stage", {"n": 1})


def test_what_is_written_is_read(store):
    store.write("ability", ABILITY, [{"model": "m"}])
    pd.testing.assert_frame_equal(store.read("ability"), ABILITY)
    entry = store.manifest()["tables"]["ability"]
    assert entry["stage"] == "stage" and entry["parameters"] == {"n": 1} and entry["models"] == [{"model": "m"}]
    assert {"commit", "clean", "seconds", "packages"} <= set(entry["run"])


def test_the_same_table_gives_the_same_bytes_and_leaves_the_manifest_alone(store):
    store.write("ability", ABILITY)
    before = store.path("ability").read_bytes(), store.manifest_path.read_bytes()
    store.write("ability", ABILITY)
    assert (store.path("ability").read_bytes(), store.manifest_path.read_bytes()) == before


def test_the_same_table_from_a_clean_tree_is_noted_once(store, monkeypatch):
    def write(status, commit):
        monkeypatch.setattr(artifacts, "_git", lambda *a: commit if a[0] == "rev-parse" else status)
        store.write("ability", ABILITY)
        return store.manifest()["tables"]["ability"]["run"]["commit"]

    assert [write(" M a.py", "a"), write(" M b.py", "b"), write("", "c"), write("", "d"), write(" M e.py", "e")] == ["a", "a", "c", "c", "c"]


def test_a_missing_column_is_named_and_nothing_is_written(store):
    with pytest.raises(ArtifactError, match="lacks the columns mrr"):
        store.write("ability", ABILITY.drop(columns="mrr"))
    assert not store.exists("ability")


def test_a_missing_table_names_the_way_out(store):
    with pytest.raises(ArtifactError, match="ability.parquet is not there; 'make all' makes it"):
        store.read("ability")


def test_a_truncated_table_is_named(store):
    store.write("ability", ABILITY)
    path = store.path("ability")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ArtifactError, match="is not the file its manifest describes"):
        store.read("ability")
    with pytest.raises(ArtifactError, match="ability.parquet is damaged"):
        read_table(path)


def test_a_failed_write_leaves_the_good_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("good")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "good"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_is_a_clear_error(tmp_path):
    """The system refuses to let a file grow: the good file stays, no rest is left."""
    good = pd.DataFrame({"a": [1]})
    write_table(good, tmp_path / "t.parquet")
    code = textwrap.dedent("""
        import resource, signal, sys
        import numpy as np, pandas as pd
        from pathlib import Path
        from semantic_pivots.artifacts import ArtifactError, write_table
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            write_table(pd.DataFrame({"a": np.random.default_rng(0).random(10_000)}), Path(sys.argv[1]))
        except ArtifactError as error:
            print(error)
    """)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "t.parquet")], capture_output=True, text=True, check=True)
    assert "t.parquet cannot be written" in done.stdout and "File too large" in done.stdout and "what was there before is untouched" in done.stdout
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.parquet"), good)
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]


def test_units_are_computed_once_and_damaged_ones_again(store):
    calls = []

    def compute():
        calls.append(1)
        return pd.DataFrame({"a": [len(calls)]})

    assert store.unit("u", compute, key=1).a[0] == 1
    assert store.unit("u", compute, key=1).a[0] == 1
    assert store.unit("u", compute, key=2).a[0] == 2
    for part in (store.folder / "parts").iterdir():
        part.write_bytes(b"PAR1 half")
    assert store.unit("u", compute, key=1).a[0] == 3


def test_a_unit_that_fails_leaves_nothing(store):
    with pytest.raises(ZeroDivisionError):
        store.unit("u", lambda: 1 / 0, key=1)
    assert not (store.folder / "parts").exists() or not list((store.folder / "parts").iterdir())


def test_literals_are_the_parameters():
    assert literals({"n": 1, "names": ["a"], "_private": 1, "In": [], "Out": {}, "module": pytest}) == {"n": 1, "names": ["a"]}
