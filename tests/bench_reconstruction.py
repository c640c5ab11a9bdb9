"""Time and memory of the graph and the scoring of documents at two sizes of the corpus ('python tests/bench_reconstruction.py').

Each size runs in a process of its own, so that its peak of memory is its own. Nothing is taken from a cache.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semantic_pivots import arms, documents, experiment, matching, reconstruction, task, words

SHARES = (0.5, 1.0)


def measure(share: float) -> dict[str, float]:
    """All steps from text to ranked documents on a share of data/corpus; seconds of each, and the peak of memory in GB."""
    lexicon, seconds = task.read_lexicon(experiment.ROOT / "data" / "lexicon.parquet"), {}
    forms = matching.read_forms(lexicon)
    settings = reconstruction.GraphSettings()
    with tempfile.TemporaryDirectory() as scratch:
        folder = documents.thinned(experiment.CORPUS, share, Path(scratch))

        def timed(name: str, compute):
            start = time.perf_counter()
            result = compute()
            seconds[name] = time.perf_counter() - start
            return result

        index = timed("words", lambda: words.index_corpus(folder))
        table = timed("documents", lambda: reconstruction.read_documents_table(folder))
        incidence = timed("meetings", lambda: arms.meetings(folder, forms))
        blind = np.zeros(len(index.words), bool)
        may = timed("rules", lambda: reconstruction.eligible(index, table.source.to_numpy(), settings))
        graph = timed("graph", lambda: reconstruction.centrality(index, settings, blind, may))
        pool = timed("duplicates", lambda: reconstruction.near_duplicates(index.incidence) < 0)
        meeting = timed("direct", lambda: arms.meeting_documents(incidence, forms))
        timed("scores", lambda: arms.document_scores(index, graph, blind, pool, settings, meeting, reconstruction.blind_words(index, forms)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform != "darwin" else 1e9)
    return {"documents": len(table), "links": int(graph.degree.sum() // 2), "peak_gb": peak} | {f"s_{k}": v for k, v in seconds.items()}


def bench_reconstruction() -> dict[str, float]:
    """Run both sizes, print their lines and return the larger one's figures with the ratio of the times to that of the sizes."""
    found = []
    for share in SHARES:
        out = subprocess.run([sys.executable, __file__, str(share)], capture_output=True, text=True, check=True).stdout
        found.append(json.loads(out.strip().splitlines()[-1]))
    for result in found:
        total = sum(v for k, v in result.items() if k.startswith("s_"))
        parts = ", ".join(f"{k[2:]} {v:.1f}" for k, v in result.items() if k.startswith("s_"))
        result["seconds"] = total
        print(f"reconstruction, {result['documents']} documents, {result['links'] / 1e6:.0f} M links: {total:.1f} s ({parts}), peak {result['peak_gb']:.2f} GB")
    growth = (found[1]["seconds"] / found[0]["seconds"]) / (found[1]["documents"] / found[0]["documents"])
    print(f"  time grows {growth:.2f}× as fast as the number of documents")
    return found[1] | {"growth": growth}


if __name__ == "__main__":
    print(json.dumps(measure(float(sys.argv[1])))) if len(sys.argv) > 1 else bench_reconstruction()
