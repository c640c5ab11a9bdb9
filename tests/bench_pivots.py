"""Time the search for pivots over the whole corpus and lexicon, at two sizes of the corpus ('python tests/bench_pivots.py').

Every run is a process of its own, without caches, on one core: it indexes all words, finds the lexicon's, and looks for the pivots of
every concept in every pair of languages. Half of the corpus is every second document.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semantic_pivots import corpus, matching, pivots, spellings, task, words
from semantic_pivots.artifacts import ROOT


def measure(folder: Path) -> dict[str, float]:
    """Seconds of processor time of each step, and the most memory, over a corpus."""
    lexicon = task.read_lexicon(ROOT / "data" / "lexicon.parquet")
    times, start = {}, time.process_time()

    def lap(name: str) -> None:
        nonlocal start
        times[name], start = time.process_time() - start, time.process_time()

    index = words.index_corpus(folder, 5)
    lap("index")
    vocabulary = matching.Vocabulary.from_lexicon(lexicon)
    documents = pivots.word_documents(folder, vocabulary)
    lap("words")
    variants = spellings.Spellings(index.words, spellings.han_variants(lexicon))
    candidates, counted = pivots.discover(index, documents, vocabulary, matching.read_forms(lexicon), variants)
    lap("pivots")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform != "darwin" else 1 << 30)
    cases = 2 * int(counted.enough.sum())
    return times | {"memory": memory, "documents": len(index.doc_ids), "concepts": len(lexicon), "cases": cases, "candidates": 2 * len(candidates)}


def bench_pivots() -> None:
    """Half of the corpus, and the whole."""
    with tempfile.TemporaryDirectory() as folder:
        for path in corpus.shards():
            table = pq.read_table(path)
            pq.write_table(table.take(list(range(0, len(table), 2))), Path(folder) / path.name)
        results = []
        for source in (Path(folder), corpus.shards()[0].parent):
            command = [sys.executable, __file__, str(source)]
            environment = os.environ | {"OMP_NUM_THREADS": "1", "SEMANTIC_PIVOTS_PROGRESS": os.devnull}
            results.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout))
    for row in results:
        total = sum(row[k] for k in ("index", "words", "pivots"))
        print(
            f"pivots: {row['documents']} documents, {row['concepts']} concepts, {row['cases']} cases with documents: {total:.0f} s on one core "
            f"(index {row['index']:.0f}, lexicon's words {row['words']:.0f}, pivots {row['pivots']:.0f}), {row['memory']:.2f} GB"
        )
    half, whole = (sum(r[k] for k in ("index", "words", "pivots")) / r["documents"] for r in results)
    print(f"pivots: time a document, whole corpus over half: {whole / half:.2f} (1 is linear)")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(Path(sys.argv[1]))))
    else:
        bench_pivots()
