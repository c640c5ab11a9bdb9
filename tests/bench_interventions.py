"""Interventions against the plain way: one prompt at a time, hooks on the blocks, the whole prompt and the whole head ('python tests/bench.py interventions')."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semantic_pivots import ablation, interventions, models, task
from semantic_pivots.artifacts import ROOT

N_ITEMS, N_SPANS, RANK, FIRST, LAST, SEED = 6, 24, 4, 12, 16, 20251


def _first(output):
    return output[0] if isinstance(output, tuple) else output


@torch.inference_mode()
def block_outputs(lm: models.LanguageModel, ids: Sequence[int]) -> Tensor:
    """Residual stream at the last position after every block, [layers, d]."""
    kept: list[Tensor] = []
    hooks = [block.register_forward_hook(lambda m, i, output: kept.append(_first(output)[0, -1].float())) for block in lm.blocks]
    lm.network(torch.tensor([list(ids)]))
    for hook in hooks:
        hook.remove()
    return torch.stack(kept)


def ablating(basis: Tensor) -> Callable[[Tensor], Tensor]:
    """Project a span [d, k] out of a state [d]."""
    return lambda state: state - basis @ (basis.T @ state)


@torch.inference_mode()
def log_odds(lm: models.LanguageModel, ids: Sequence[int], target: int, change: Callable[[Tensor], Tensor], layers: Sequence[int]) -> float:
    """Log-odds of the target after the prompt when the last position's state is changed after some blocks."""

    def hook(module, inputs, output):
        states = _first(output).clone()
        states[0, -1] = change(states[0, -1].float())
        return (states, *output[1:]) if isinstance(output, tuple) else states

    hooks = [lm.blocks[layer].register_forward_hook(hook) for layer in layers]
    try:
        log_p = lm.network(torch.tensor([list(ids)], device=lm.device)).logits[0, -1].double().log_softmax(-1)[target]
    finally:
        for h in hooks:
            h.remove()
    return float(log_p - torch.log(-torch.expm1(log_p)))


def bench_interventions(model: str = models.DEFAULT_MODEL) -> None:
    """Ablate spans both ways, and print times and the largest difference."""
    lexicon = task.read_lexicon(ROOT / "data" / "lexicon.parquet")
    concepts = task.draw_concepts(lexicon, N_ITEMS, SEED)
    prompt = task.build_prompts(lexicon, ("fr", "zh"), 1, SEED, exclude=concepts.index)[0]
    lm = models.load(model, dtype="float32")
    sequences, targets = interventions.answer_sequences(lm, prompt, concepts.fr.tolist(), concepts.zh.tolist())
    generator = torch.Generator().manual_seed(SEED)
    ids = torch.randint(len(lm.unembedding), (N_ITEMS * N_SPANS * RANK,), generator=generator)
    bases = interventions.spans(interventions.token_directions(lm, ids).view(N_ITEMS, N_SPANS, RANK, -1))

    def ours() -> Tensor:
        hidden = ablation.ablated(lm, interventions.read_answers(lm, sequences), bases, FIRST, LAST)
        return interventions.log_odds(lm, hidden.flatten(0, 1), torch.tensor(targets).repeat_interleave(N_SPANS))[0].view(N_ITEMS, N_SPANS)

    seen, start = ours(), time.perf_counter()
    ours()
    fast = time.perf_counter() - start
    start = time.perf_counter()
    layers = range(FIRST, LAST + 1)
    expected = [[log_odds(lm, s, t, ablating(b), layers) for b in of] for s, t, of in zip(sequences, targets, bases)]
    slow = time.perf_counter() - start
    print(f"interventions, {lm.id} (float32), {N_ITEMS} prompts × {N_SPANS} spans of {RANK} directions, blocks {FIRST}–{LAST}")
    print(
        f"  one prompt at a time with hooks {slow:.1f} s, ours {fast:.2f} s: {slow / fast:.0f}× faster; largest |Δ log-odds| {np.abs(np.array(expected) - seen.numpy()).max():.1e}"
    )


if __name__ == "__main__":
    bench_interventions(*sys.argv[1:2])
