"""Files of documents as they come, one after the other: JSON lines, packed or not, and Parquet."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["CorpusError", "corpus_files", "kind", "unit", "rows"]

SUFFIXES, PACKED, UNREADABLE = (".jsonl", ".ndjson", ".json"), (".gz", ".zst", ".bz2"), (".xz", ".lz4", ".zip", ".br", ".7z")


class CorpusError(ValueError):
    """A corpus cannot be read; the message names what is wrong and the value seen."""


def corpus_files(paths: Sequence[Path]) -> list[Path]:
    """Files of a corpus in the order of their names, each once; hidden files and folders are passed over.

    Raises:
        CorpusError: if one is not there or packed in a way that is not known, or nothing readable is found.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise CorpusError(f"{path} is not there")
        inside = (
            sorted(p for p in path.rglob("*") if p.is_file() and not any(part.startswith(".") for part in p.relative_to(path).parts)) if path.is_dir() else []
        )
        # a part of a corpus that is passed over in silence would be missed by nobody
        if bad := [p for p in inside if p.suffix in UNREADABLE and p.stem.endswith((*SUFFIXES, ".parquet"))]:
            raise CorpusError(f"{bad[0]} cannot be read: known are {_known()}")
        found += [p for p in inside if kind(p)] if path.is_dir() else [path]
    if bad := [p for p in found if not kind(p)]:
        raise CorpusError(f"{bad[0]} is neither JSON lines nor Parquet: known are {_known()}")
    if not found:
        raise CorpusError(f"{', '.join(map(str, paths))}: there is no file {_known()}")
    return list({p.resolve(): p for p in found}.values())


def _known() -> str:
    return f"{', '.join(SUFFIXES)} (also with {', '.join(PACKED)}) and .parquet"


def kind(path: Path) -> str:
    """What a file holds by its name: "json" (JSON lines, packed or not), "parquet", or "" for neither."""
    name = path.name.removesuffix(path.suffix) if path.suffix in PACKED else path.name
    return "parquet" if path.name.endswith(".parquet") else "json" if name.endswith(SUFFIXES) else ""


def _open(path: Path) -> io.TextIOBase:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return io.TextIOWrapper(pa.input_stream(str(path), compression="detect"), encoding="utf-8") if path.suffix in PACKED else path.open(encoding="utf-8")


def _loads(line: str) -> object:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        raise
    except ValueError as error:  # such as a number of more digits than Python reads
        raise json.JSONDecodeError(str(error), line, 0) from error


def unit(path: Path) -> str:
    """What its documents are counted by: "row" in Parquet, "line" else."""
    return "row" if kind(path) == "parquet" else "line"


def rows(path: Path) -> Iterator[tuple[int, dict]]:
    """Documents of a file, each with the number of its line or row, from 1.

    Raises:
        CorpusError: if the file is damaged, with the place.
    """
    at = 0
    try:
        if kind(path) == "parquet":
            for batch in pq.ParquetFile(path).iter_batches(1024):
                for row in batch.to_pylist():
                    yield (at := at + 1), row
            return
        with _open(path) as stream:
            for at, line in enumerate(stream, 1):
                if line.strip():
                    yield at, _loads(line)
    except json.JSONDecodeError as error:
        raise CorpusError(f"{path}: line {at} is no JSON ({error.msg} at its character {error.pos + 1}); a document is one line") from error
    except RecursionError as error:
        raise CorpusError(f"{path}: line {at} is nested too deeply to be a document") from error
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise CorpusError(f"{path} is damaged after {unit(path)} {at} ({str(error).splitlines()[0]})") from error
