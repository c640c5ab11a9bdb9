"""Time the parts of the analysis against plain references, or at two sizes, each on the same items in one run ('make bench').

The references (tests/reference.py, tests/bench_*.py) are written from the definitions alone. Printed: the ratio
of the times, the largest differences of the values, and what share of the machine's measured matrix-product peak the
fast scoring reaches on a larger set.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semantic_pivots import lens, models, scoring, task, tokens
from semantic_pivots.artifacts import ROOT
from tests import reference
from tests.bench_counting import bench_counting
from tests.bench_interventions import bench_interventions
from tests.bench_lens import bench_lens
from tests.bench_pivots import bench_pivots
from tests.bench_reconstruction import bench_reconstruction
from tests.bench_training import bench_training

N_REFERENCE, N_SHARE, N_TRACE, PAIR, SEED = 48, 300, 24, ("en", "fr"), 20251


def best(function, repeats: int = 3) -> float:
    """Shortest of a few times, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def peak(dtype: torch.dtype, size: int = 2048) -> float:
    """Measured matrix-product peak in FLOP/s."""
    a = torch.randn(size, size).to(dtype)
    a @ a
    return 2 * size**3 / best(lambda: a @ a, 8)


def setting(n_concepts: int, n_prompt_sets: int):
    """Prompts and items of a random set."""
    lexicon = task.read_lexicon(ROOT / "data" / "lexicon.parquet")
    concepts = task.draw_concepts(lexicon, n_concepts, SEED)
    return task.build_prompts(lexicon, PAIR, n_prompt_sets, SEED, exclude=concepts.index), task.build_items(lexicon, concepts, PAIR, SEED)


def useful_flops(lm: models.LanguageModel, prompts, items) -> float:
    """FLOPs that the scoring cannot do without: each token of a tree once through the body, each position once through the head."""
    body = sum(p.numel() for n, p in lm.network.named_parameters() if p.ndim == 2 and "embed" not in n and "lm_head" not in n)
    words = [w for i in items.itertuples() for w in [i.source_word, *i.distractors]]
    targets = [i.target_word for i in items.itertuples() for _ in range(1 + len(i.distractors))]
    total = 0
    for prompt in prompts:
        encoded = tokens.encode_targets(lm.tokenizer, [prompt.text(w) for w in words], prompt.joiner, targets)
        tree = tokens.token_tree([e.ids for e in encoded])
        predicting = {path[i - 1] for e, path in zip(encoded, tree.paths) for i in range(e.start, e.stop)}
        total += 2 * body * len(tree) + 2 * lm.unembedding.numel() * len(predicting)
    return total


def bench_scoring() -> None:
    """Scoring against one full forward pass per prompt."""
    peaks = {"float32": peak(torch.float32), "bfloat16": peak(torch.bfloat16)}
    print(f"{torch.get_num_threads()} threads; matrix-product peak: float32 {peaks['float32'] / 1e9:.0f}, bfloat16 {peaks['bfloat16'] / 1e9:.0f} GFLOP/s")
    prompts, items = setting(N_REFERENCE, 2)
    large = setting(N_SHARE, 1)
    lm = models.load(dtype="float32")
    start = time.perf_counter()
    expected = [reference.score(lm, prompts, item) for item in items.itertuples()]
    plain = time.perf_counter() - start
    print(f"scoring, {lm.id}, {N_REFERENCE} items × 10 candidates × 2 prompt sets; plain reference (float32): {plain:.1f} s")
    p = np.array([[a, *b] for a, b in expected])
    for dtype in ("float32", "bfloat16"):
        lm = models.load(dtype=dtype)
        seen = scoring.score_items(lm, prompts, items)
        seconds = best(lambda lm=lm: scoring.score_items(lm, prompts, items))
        q = np.array([[a, *b] for a, b in zip(seen.p_target, seen.p_distractors)])
        gap = np.abs((q[:, 0] - q[:, 1:].mean(1)) - (p[:, 0] - p[:, 1:].mean(1))).max()
        print(f"  ours {dtype:8}: {seconds:6.2f} s, {plain / seconds:4.0f}× faster; largest |Δp| {np.abs(p - q).max():.1e}, largest |Δscore| {gap:.1e}")
        flops, seconds = useful_flops(lm, *large), best(lambda lm=lm: scoring.score_items(lm, *large), 2)
        rate = flops / seconds
        scaled = plain / (2 * N_REFERENCE) * N_SHARE  # the reference takes each prompt by itself, so its time is proportional to their number
        print(
            f"    {N_SHARE} items × 1 prompt set: {seconds:5.1f} s, {rate / 1e9:4.0f} useful GFLOP/s = {100 * rate / peaks[dtype]:.0f} % of the {dtype} peak; "
            f"{scaled / seconds:.0f}× faster than the reference's time an item"
        )


@torch.inference_mode()
def forward(lm: models.LanguageModel, texts: list[str], size: int = 16) -> None:
    """The plain forward pass of whole prompts, texts of equal length in batches, logits as the model gives them."""
    by_length: dict[int, list[list[int]]] = {}
    for ids in lm.tokenizer(texts)["input_ids"]:
        by_length.setdefault(len(ids), []).append(ids)
    for rows in by_length.values():
        for start in range(0, len(rows), size):
            lm.network(torch.tensor(rows[start : start + size], device=lm.device))


def bench_tracing() -> None:
    """Tracing all layers against the plain forward pass, and against dumping every layer's whole vocabulary."""
    prompts, items = setting(N_TRACE, 1)
    words, targets, prompt = items.source_word.tolist(), items.target_word.tolist(), prompts[0]
    texts = [prompt.text(w) for w in words]
    lexicon = task.read_lexicon(ROOT / "data" / "lexicon.parquet")
    lm = models.load(dtype="float32")
    start = time.perf_counter()
    for text in texts:
        reference.dump_layers(lm, text)
    dump = (time.perf_counter() - start) / len(texts)
    print(f"tracing, {lm.id}, {lm.n_layers} layers, {len(texts)} items; plain dump of every layer's vocabulary (float32): {dump:.2f} s an item")
    for dtype in ("float32", "bfloat16"):
        lm = models.load(dtype=dtype)
        sets = lens.token_sets(lm, lexicon, items)
        plain = best(lambda lm=lm: forward(lm, texts), 2) / len(texts)
        ours = best(lambda lm=lm, sets=sets: lens.trace_items(lm, *lens.answer_residuals(lm, prompt, words, targets), sets), 2) / len(texts)
        print(
            f"  ours {dtype:8}: {ours:.3f} s an item, {dump / ours:4.0f}× faster than the dump; "
            f"{ours / plain:.2f}× the plain forward pass of the same prompts ({plain:.3f} s)"
        )


def main() -> None:
    """Run the benchmarks named on the command line (all if none is) and print their tables."""
    known = {"scoring": bench_scoring, "tracing": bench_tracing, "counting": bench_counting, "training": bench_training, "lens": bench_lens}
    known |= {"pivots": bench_pivots, "interventions": bench_interventions, "reconstruction": bench_reconstruction}
    for name in sys.argv[1:] or known:
        if name not in known:
            sys.exit(f"unknown benchmark {name!r}; known: {', '.join(known)}")
        known[name]()


if __name__ == "__main__":
    main()
