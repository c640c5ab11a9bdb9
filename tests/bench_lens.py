"""Which lens corrects the raw one at the lower cost: a ridge map in closed form or a tuned lens ('python tests/bench.py lens').

Both are affine maps from a layer's state to the last layer's. The ridge lens minimises the squared distance of the states; the
tuned lens (Belrose et al., arXiv 2303.08112) the KL divergence of the outputs, by gradient steps from the identity. Both see
the same positions of corpus text, and are compared on held-out sentences.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semantic_pivots import corpus, lens, models, task
from semantic_pivots.artifacts import ROOT

N_TEXTS, N_SENTENCES, STEPS, POSITIONS, LR, SEED = 200, 24, 60, 128, 1e-3, 20251


def tuned_maps(lm: models.LanguageModel, states: torch.Tensor, layers: list[int], report: list[int]) -> dict[int, tuple[float, torch.Tensor]]:
    """Maps [layers, d + 1, d] after some numbers of Adam steps, with the seconds they took.

    Args:
        states: [positions, layers of the model, d].
        report: steps after which the maps are kept.
    """
    d = states.shape[-1]
    maps = torch.zeros(len(layers), d + 1, d, requires_grad=True)  # added to the identity
    optimizer = torch.optim.Adam([maps], lr=LR)
    generator, kept, start = torch.Generator().manual_seed(SEED), {}, time.perf_counter()
    unembedding = lm.unembedding.float()
    for step in range(1, max(report) + 1):
        chosen = states[torch.randint(len(states), (POSITIONS,), generator=generator)]
        with torch.no_grad():
            final = lens.lens_logits(lm, chosen[:, -1]).clone().log_softmax(-1)  # clone: out of inference mode
        for place, layer in enumerate(layers):
            hidden = chosen[:, layer] + chosen[:, layer] @ maps[place, :-1] + maps[place, -1]
            guess = lm.softcap(lm.final_norm(hidden).float() @ unembedding.T).log_softmax(-1)
            ((final.exp() * (final - guess)).sum(-1).mean()).backward()
        optimizer.step()
        optimizer.zero_grad()
        if step in report:
            eye = torch.cat([torch.eye(d), torch.zeros(1, d)])
            kept[step] = time.perf_counter() - start, (maps.detach() + eye)
    return kept


def divergence(lm: models.LanguageModel, states: torch.Tensor, layer: int, weights: torch.Tensor | None) -> float:
    """Mean KL(model ‖ lens) over positions, nats."""
    hidden = states[:, layer] if weights is None else states[:, layer] @ weights[:-1] + weights[-1]
    total = 0.0
    for own, mapped in zip(states[:, -1].split(256), hidden.split(256)):
        final, guess = lens.lens_logits(lm, own).log_softmax(-1), lens.lens_logits(lm, mapped).log_softmax(-1)
        total += float((final.exp() * (final - guess)).sum())
    return total / len(states)


def bench_lens(model: str = models.DEFAULT_MODEL) -> None:
    """Fit both and print KL on held-out sentences beside the seconds each took."""
    lm = models.load(model, dtype="float32")
    layers = [round(lm.n_layers * share) for share in (0.35, 0.6, 0.8)]
    texts = corpus.sample_texts(N_TEXTS, SEED)
    sentences = pd.read_parquet(ROOT / "data" / "heldout" / "parallel.parquet").sample(N_SENTENCES // 4, random_state=SEED)
    held_out = torch.cat(list(lens.text_residuals(lm, sentences[list(task.LANGUAGES)].to_numpy().ravel().tolist(), 2)))
    start = time.perf_counter()
    states = torch.cat(list(lens.text_residuals(lm, texts)))
    reading = time.perf_counter() - start
    start = time.perf_counter()
    ridge = lens.fit_ridge_lens(lm, texts)
    solving = time.perf_counter() - start
    rows = {"raw": (0.0, [divergence(lm, held_out, i, None) for i in layers])}
    rows["ridge, all layers"] = solving, [divergence(lm, held_out, i, ridge.weights[i]) for i in layers]
    with torch.enable_grad():
        kept = tuned_maps(lm, states.clone(), layers, [STEPS // 4, STEPS // 2, STEPS])
    for step, (seconds, maps) in kept.items():
        scaled = reading + seconds * (lm.n_layers - 1) / len(layers)
        rows[f"tuned, {step} steps × {POSITIONS} positions"] = scaled, [divergence(lm, held_out, i, maps[k]) for k, i in enumerate(layers)]
    print(f"lenses of {lm.id}, {len(states)} positions of {N_TEXTS} texts; KL on {len(held_out)} positions of {N_SENTENCES} held-out sentences, nats")
    print(f"  {'':34} seconds (all layers)  " + "  ".join(f"block {i + 1:2}" for i in layers))
    for name, (seconds, values) in rows.items():
        print(f"  {name:34} {seconds:20.0f}  " + "  ".join(f"{v:8.2f}" for v in values))


if __name__ == "__main__":
    bench_lens(*sys.argv[1:2])
