"""Time the scoring against the plain reference, on the same items and model, in one run ('make bench').

The reference (tests/reference.py) runs one float32 forward pass per prompt with the whole head at every position, as
the paper's script does. Printed: the ratio of the times, the largest differences of the values, and what share of the
machine's measured matrix-product peak the fast scoring reaches on a larger set.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semantic_pivots import models, scoring, task, tokens
from semantic_pivots.artifacts import ROOT
from tests import reference

N_REFERENCE, N_SHARE, PAIR, SEED = 16, 300, ("en", "fr"), 20251


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


def main() -> None:
    """Run the benchmark and print its table."""
    peaks = {"float32": peak(torch.float32), "bfloat16": peak(torch.bfloat16)}
    print(f"{torch.get_num_threads()} threads; matrix-product peak: float32 {peaks['float32'] / 1e9:.0f}, bfloat16 {peaks['bfloat16'] / 1e9:.0f} GFLOP/s")
    prompts, items = setting(N_REFERENCE, 2)
    large = setting(N_SHARE, 1)
    lm = models.load(dtype="float32")
    start = time.perf_counter()
    expected = [reference.score(lm, prompts, item) for item in items.itertuples()]
    plain = time.perf_counter() - start
    print(f"{lm.id}, {N_REFERENCE} items × 10 candidates × 2 prompt sets; plain reference (float32): {plain:.1f} s")
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
        print(f"    {N_SHARE} items × 1 prompt set: {seconds:5.1f} s, {rate / 1e9:4.0f} useful GFLOP/s = {100 * rate / peaks[dtype]:.0f} % of the {dtype} peak")


if __name__ == "__main__":
    main()
