"""Time training of the known-corpus model against the same loop without compilation and bfloat16 ('python tests/bench_training.py [STEPS]').

Both loops take turns, step by step, on the same batches of data/corpus, so that what else runs on the machine slows both.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semantic_pivots.mixture import balanced_sample, load_tokens
from semantic_pivots.models import cache_directory
from semantic_pivots.tokenizer import VOCABULARY, save_tokenizer, train_tokenizer
from semantic_pivots.training import Trainer, TrainingConfig, find_tokenizer, resolved

STEPS, WARM_UP = 15, 3
PARTS = ("avx2", "avx512_bf16", "amx_bf16")


def bench_training(steps: int = STEPS, **changes) -> dict[str, float]:
    """Run the benchmark, print its lines and return its figures.

    Args:
        steps: steps that are timed, after the first ones.
        changes: settings other than the defaults.

    Returns:
        tokens_per_second, plain_tokens_per_second (median step), ratio, loading_share (of a step, an epoch's making included).
    """
    folder = cache_directory() / "bench-tokenizer"
    if not (folder / "tokenizer.json").is_file():
        save_tokenizer(train_tokenizer(balanced_sample(), VOCABULARY), folder)
    config = resolved(TrainingConfig(tokenizer=str(folder), **changes))
    tokenizer = find_tokenizer(config, folder)
    tokens = load_tokens(tokenizer, cache=cache_directory() / "tokens")
    trainers = [Trainer(c, folder, tokens, tokenizer) for c in (config, replace(config, compile=False, precision="float32"))]
    start = time.perf_counter()
    rows = trainers[0]._rows(0)
    making = time.perf_counter() - start
    seconds, losses, loading = [[], []], [[], []], []
    for trainer in trainers:
        trainer._epoch = 0, rows
    for _ in range(WARM_UP + steps):
        for which, trainer in enumerate(trainers):
            start = time.perf_counter()
            line = trainer.step()
            seconds[which].append((time.perf_counter() - start, line["tokens"]))
            losses[which].append(line["loss"])
        start = time.perf_counter()
        rows.batch(0, config.batch_rows)
        loading.append(time.perf_counter() - start)
    n = np.diff([0, *(t for _, t in seconds[0])])[WARM_UP:]
    speeds = [float(np.median(n / [s for s, _ in part[WARM_UP:]])) for part in seconds]
    step = float(np.median([s for s, _ in seconds[0][WARM_UP:]]))
    share = (float(np.median(loading)) + making * config.batch_rows / len(rows)) / step
    assert abs(losses[0][-1] - losses[1][-1]) < 0.1, f"the two loops differ: {losses[0][-1]} and {losses[1][-1]}"
    size = sum(p.numel() for p in trainers[0].network.model.parameters()) / 1e6
    capable = torch.cpu.get_capabilities()
    print(f"{size:.1f} M parameters, {config.batch_rows} rows of {config.context}, {config.threads} threads, {config.precision}, compiled: {config.compile}")
    print(f"  processor: {', '.join(p for p in PARTS if capable.get(p)) or 'none of ' + ', '.join(PARTS)}; load {os.getloadavg()[0]:.1f}")
    print(f"  {speeds[0]:.0f} tokens/s (median of {steps} steps); plain {speeds[1]:.0f}; {speeds[0] / speeds[1]:.2f}× faster")
    print(f"  loading {share:.2%} of a step ({making:.1f} s to make an epoch of {len(rows)} rows, padding {1 - rows.n_tokens / rows.ids.size:.2%})")
    return {"tokens_per_second": speeds[0], "plain_tokens_per_second": speeds[1], "ratio": speeds[0] / speeds[1], "loading_share": share}


if __name__ == "__main__":
    bench_training(*map(int, sys.argv[1:2]))
