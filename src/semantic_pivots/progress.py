"""Progress of long loops: on the terminal of the driver, or in the notebook when a person runs it.

A notebook's kernel has no terminal, and progress bars among its outputs would be noise in the committed file. So a
notebook run by the driver writes its progress to a file that the driver follows.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

__all__ = ["progress", "Follower"]

T = TypeVar("T")
VARIABLE = "SEMANTIC_PIVOTS_PROGRESS"  # path of the file the driver follows
INTERVAL = 0.5  # seconds between reports
LINE_INTERVAL = 15.0  # seconds between lines where the output is not a terminal


def progress(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Iterate over items and report how far it is."""
    total = len(items) if total is None and hasattr(items, "__len__") else total
    path = os.environ.get(VARIABLE)
    if not path:
        from tqdm.auto import tqdm

        yield from tqdm(items, desc=description, total=total, leave=False)
        return
    last = 0.0
    for done, item in enumerate(items):
        if time.monotonic() - last >= INTERVAL or done == 0:
            _report(path, description, done, total)
            last = time.monotonic()
        yield item
    _report(path, description, total, total)


def _report(path: str, description: str, done: int | None, total: int | None) -> None:
    with Path(path).open("a") as stream:
        stream.write(json.dumps({"description": description, "done": done, "total": total, "time": time.time()}) + "\n")


class Follower(threading.Thread):
    """Shows what :func:`progress` reports: one line that changes on a terminal, a line now and then elsewhere."""

    def __init__(self, path: Path, stream=None):
        super().__init__(daemon=True)
        self.path, self.stream = path, stream or sys.stderr
        self.ended = threading.Event()

    def run(self) -> None:
        """Follow the file until :meth:`stop`."""
        started, shown, description, done = time.time(), 0.0, None, 0
        while not self.ended.wait(INTERVAL):
            if not self.path.exists() or not (lines := self.path.read_text().splitlines()):
                continue
            try:
                state = json.loads(lines[-1])
            except json.JSONDecodeError:  # half a line: the next look sees it whole
                continue
            if state["description"] != description or (state["done"] or 0) < done:  # another loop, or the same once more
                description, started = state["description"], state["time"]
            done = state["done"] or 0
            text = f"    {describe(state, time.time() - started)}"
            if self.stream.isatty():
                self.stream.write("\r\033[K" + text[:118])
            elif time.monotonic() - shown >= LINE_INTERVAL:
                self.stream.write(text + "\n")
                shown = time.monotonic()
            self.stream.flush()

    def stop(self) -> None:
        """Stop following and clear the line."""
        self.ended.set()
        self.join()
        if self.stream.isatty():
            self.stream.write("\r\033[K")
            self.stream.flush()


def describe(state: dict, elapsed: float) -> str:
    """One line of text for a report, with the time left where it can be told."""
    done, total = state["done"], state["total"]
    text = f"{state['description']}: {done}/{total}" if total else f"{state['description']}: {done}"
    if total and done and done < total:
        text += f", about {elapsed / done * (total - done):.0f} s left"
    return text
