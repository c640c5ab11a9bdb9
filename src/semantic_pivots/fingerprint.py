"""Fingerprints: what a notebook's outputs depend on, so that stale ones are known and fresh ones are kept.

A fingerprint has three parts: the code (the notebook's and that of the package's modules it uses, without comments,
docstrings and blank lines), the parameters, and the contents of the inputs. Prose can change without a new run.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import io
import json
import tokenize
from pathlib import Path

__all__ = ["sha256_file", "sha256_text", "code_only", "modules_used", "code_fingerprint", "module_code", "describe_difference"]

PACKAGE = "semantic_pivots"
SOURCE = Path(__file__).parent
KEEPERS = {"artifacts", "fingerprint", "progress"}  # a part of a long computation stays good when these change


def sha256_file(*paths: Path) -> str:
    """sha256 of a file's bytes, or of those of several files one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with Path(path).open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def sha256_text(text: str) -> str:
    """sha256 of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


@functools.lru_cache(256)  # seven notebooks use the same modules
def code_only(source: str) -> str:
    """Python source without comments, docstrings, blank lines and trailing spaces.

    Worked on the text, not on a syntax tree's dump: the same for every Python version.
    """
    lines = source.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(node, clean=False) is not None:
            text = node.body[0]
            for row in range(text.lineno - 1, text.end_lineno):
                lines[row] = ""
    return "\n".join(line.rstrip() for line in lines if line.strip())


def modules_used(source: str, inside: bool = False) -> set[str]:
    """Names of the package's modules that a source imports, directly or through one another.

    Args:
        inside: whether the source is a module of the package, whose imports may be relative.
    """
    found: set[str] = set()
    waiting = [(source, inside)]
    while waiting:
        text, inside = waiting.pop()
        for name in _imports(text, inside) - found:
            found.add(name)
            waiting.append(((SOURCE / f"{name}.py").read_text(), True))
    return found


@functools.lru_cache(256)
def _imports(source: str, inside: bool) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            relative = inside and node.level == 1
            if relative and not node.module or node.module == PACKAGE and not node.level:
                names |= {a.name for a in node.names}
            elif relative:
                names.add(node.module)
            elif node.module and node.module.startswith(PACKAGE + "."):
                names.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names |= {a.name.split(".")[1] for a in node.names if a.name.startswith(PACKAGE + ".")}
    return frozenset(n for n in names if (SOURCE / f"{n}.py").is_file())


def code_fingerprint(source: str) -> str:
    """sha256 of a source and of every module of the package it uses, comments and docstrings aside."""
    parts = [code_only(source)] + [f"{n}\n{code_only((SOURCE / f'{n}.py').read_text())}" for n in sorted(modules_used(source))]
    return sha256_text("\n\x00".join(parts))


@functools.cache
def module_code(name: str) -> str:
    """Fingerprint of a module of the package and all that it uses, but for those that only keep and tell what others compute (``KEEPERS``)."""
    importlib.import_module(f"{PACKAGE}.{name}")
    used = {name} | modules_used((SOURCE / f"{name}.py").read_text(), inside=True)
    return sha256_text("\n\x00".join(f"{n}\n{code_only((SOURCE / f'{n}.py').read_text())}" for n in sorted(used - KEEPERS)))


def describe_difference(old: dict | None, new: dict) -> str:
    """In words, what differs between two fingerprints ("" if nothing does)."""
    if not old:
        return "there is no fingerprint"
    differences = []
    for part in sorted(set(old) | set(new)):
        a, b = old.get(part), new.get(part)
        if isinstance(a, dict) and isinstance(b, dict):
            names = sorted(n for n in set(a) | set(b) if a.get(n) != b.get(n))
            differences += [f"{part}: {', '.join(names)}"] if names else []
        elif a != b:
            differences.append(part)
    return "; ".join(differences)


def canonical(value: object) -> str:
    """JSON with sorted keys, for hashing."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
