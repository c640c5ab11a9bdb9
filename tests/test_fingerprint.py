import shutil

import pytest

from semantic_pivots import fingerprint

CODE = '''"""Docstring."""
import semantic_pivots.stats

X = "# not a comment"  # a comment


def f(a):
    """Another
    docstring."""
    # why
    return a + 1
'''


def test_comments_docstrings_and_blank_lines_do_not_count():
    bare = fingerprint.code_only(CODE)
    assert bare == 'import semantic_pivots.stats\nX = "# not a comment"\ndef f(a):\n    return a + 1'
    assert fingerprint.code_only(bare) == bare


@pytest.mark.parametrize(
    ("old", "new", "same"), [("# why", "# because", True), ("Docstring", "Text", True), ("a + 1", "a + 2", False), ('"# not', '"# is', False)]
)
def test_fingerprint_changes_with_code_alone(old, new, same):
    assert (fingerprint.code_fingerprint(CODE) == fingerprint.code_fingerprint(CODE.replace(old, new))) is same


def test_modules_used_are_followed():
    assert fingerprint.modules_used("from semantic_pivots import scoring") >= {"scoring", "stats", "tokens", "models", "task", "artifacts"}
    assert fingerprint.modules_used("from semantic_pivots.stats import mean_intervals") == {"stats"}
    assert fingerprint.modules_used("import numpy as np") == set()


def test_a_change_in_a_used_module_counts(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text("from . import b\n")
    (tmp_path / "b.py").write_text("x = 1\n")
    (tmp_path / "c.py").write_text("x = 1\n")
    monkeypatch.setattr(fingerprint, "SOURCE", tmp_path)
    source = "from semantic_pivots import a"
    before = fingerprint.code_fingerprint(source)
    (tmp_path / "c.py").write_text("x = 2\n")
    assert fingerprint.code_fingerprint(source) == before
    (tmp_path / "b.py").write_text("x = 2\n")
    assert fingerprint.code_fingerprint(source) != before


def test_parts_stay_good_when_only_their_keeper_changes(tmp_path, monkeypatch):
    shutil.copytree(fingerprint.SOURCE, tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(fingerprint, "SOURCE", tmp_path / "src")

    def code_of(name, **changed):
        for module, line in changed.items():
            (tmp_path / "src" / f"{module}.py").write_text((tmp_path / "src" / f"{module}.py").read_text() + line)
        return fingerprint.module_code.__wrapped__(name)

    before = code_of("scoring")
    assert code_of("scoring", artifacts="\nX = 1\n", progress="\nX = 1\n", lens="\nX = 1\n") == before  # the lens is not used
    assert code_of("scoring", stats="\nX = 1\n") != before


def test_differences_are_named():
    old = {"code": "1", "parameters": {"n": 1, "m": 1}, "inputs": {}}
    assert fingerprint.describe_difference(old, old) == ""
    assert fingerprint.describe_difference(old, old | {"code": "2", "parameters": {"n": 2, "m": 1}}) == "code; parameters: n"
    assert fingerprint.describe_difference(None, old) == "there is no fingerprint"
