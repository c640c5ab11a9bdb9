"""The logit lens: what each layer would say while the model translates a word (He et al. 2025, §4).

At the position that predicts the target's first token, the residual stream after every block goes through the model's
own final norm and unembedding. The raw lens is dominated by tokens that a layer says whatever the word, so beside it
stands a background-corrected one: with p_bg(t) the mean of p(t) over the items at that layer, a token is ranked by
p(t)·log(p(t)/p_bg(t)); the sum over the vocabulary is how much the layer tells (in nats) of which word is translated.

A second opinion corrects what the raw lens misreads because early layers use other directions: a linear map per layer
to the last layer's state (Din et al., arXiv 2303.09435), fitted in closed form on corpus text.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from . import tokens
from .artifacts import Store
from .fingerprint import module_code
from .models import VOCABULARY_SLICE, LanguageModel, matmul_precision, rows_at_once
from .progress import progress
from .scoring import run_trees
from .task import LANGUAGES, Prompt

__all__ = ["capture_blocks", "answer_residuals", "lens_logits", "trace_items", "trace_pairs", "RidgeLens", "fit_ridge_lens", "lens_divergence"]
__all__ += ["text_residuals", "answer_states"]

BATCH_TOKENS = 8192
BLOCK_ITEMS = 512  # items whose probabilities over the whole vocabulary are held at a time
ROWS = 32  # of them, rows worked on at a time
EXCESS = ("source", "accepted", "en")  # sets whose probability beyond the background is kept as well
CONTROLLED = ("source", "accepted", "en")  # sets that are also taken from another item, as a control


@contextlib.contextmanager
def capture_blocks(lm: LanguageModel) -> Iterator[list[Tensor]]:
    """Within: a list that holds the output of every block of the latest forward pass, each [batch, length, d].

    The hooks are removed whatever happens in the block.
    """
    outputs: list[Tensor] = [torch.empty(0)] * lm.n_layers

    def keep(layer: int):
        # a block gives a tensor or, in some families, a tuple that starts with it
        return lambda module, inputs, output: outputs.__setitem__(layer, output[0] if isinstance(output, tuple) else output)

    hooks = [block.register_forward_hook(keep(layer)) for layer, block in enumerate(lm.blocks)]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def answer_residuals(lm: LanguageModel, prompt: Prompt, words: Sequence[str], targets: Sequence[str]) -> tuple[Tensor, list[int]]:
    """Residual stream after every block where the target's first token is predicted.

    Where the tokenizer puts a bare space token before the target, that token is given to the model and the position
    after it is read.

    Returns:
        Residuals [items, layers, d] in float32, on the CPU; the token that is read at that position, an id an item.
    """
    encoded = tokens.encode_targets(lm.tokenizer, [prompt.text(w) for w in words], prompt.joiner, targets)
    shared = min(tokens.common_prefix(e.ids for e in encoded), min(e.start for e in encoded) - 1)
    prefix = lm.prefill(list(encoded[0].ids[:shared]))
    lines = [tokens.token_tree([e.ids[shared : e.start]]) for e in encoded]
    order = sorted(range(len(lines)), key=lambda i: len(lines[i]))
    result = None
    with capture_blocks(lm) as outputs:
        longest = len(lines[order[-1]])
        for rows in _chunks(order, rows_at_once(prefix, longest, BATCH_TOKENS)):
            run_trees(lm, prefix, shared, [lines[i] for i in rows])
            last = torch.tensor([len(lines[i]) - 1 for i in rows], device=lm.device)
            found = torch.stack([o[torch.arange(len(rows), device=lm.device), last] for o in outputs], 1).cpu()
            result = found.new_empty(len(lines), *found.shape[1:]) if result is None else result
            result[rows] = found
    return result, [e.ids[e.start - 1] for e in encoded]


def _chunks(items: Sequence, size: int) -> Iterator[list]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


@torch.inference_mode()
def lens_logits(lm: LanguageModel, residual: Tensor) -> Tensor:
    """Logits of the lens: final norm, unembedding and softcap of residual states, [rows, d] -> float32 [rows, vocabulary]."""
    hidden = lm.normed(residual.to(lm.device))
    out = torch.empty(len(hidden), len(lm.unembedding), device=lm.device)
    with matmul_precision(lm.dtype):
        for start in range(0, len(lm.unembedding), VOCABULARY_SLICE):
            out[:, start : start + VOCABULARY_SLICE] = hidden @ lm.unembedding[start : start + VOCABULARY_SLICE].float().T
    return lm.softcap(out)


@torch.inference_mode()
def _probabilities(lm: LanguageModel, residual: Tensor) -> Tensor:
    p = lens_logits(lm, residual)
    for rows in p.split(ROWS):
        rows.copy_(rows.softmax(-1))
    return p


@torch.inference_mode()
def trace_items(lm: LanguageModel, residuals: Tensor, read: Sequence[int], sets: dict[str, list[list[int]]]) -> pd.DataFrame:
    """Trace items of one direction and one prompt set through all layers.

    Args:
        lm: the model.
        residuals: [items, layers, d] from :func:`answer_residuals`, or mapped ones.
        read: token read at each item's position. The background is the mean over the items that read the same token:
            after a bare space a layer's habits differ from those after a colon, and that difference says nothing of the word.
        sets: named sets of token ids, one list an item, whose probability is summed.

    Returns:
        One row an item and layer: item (its index), layer (0 = after block 1), top1_id, top1_prob, info_id, info_nats,
        information (nats), entropy (nats), excess (Σ max(0, p − p_bg)), n_background (items in the background),
        ``p_NAME`` for each set, and ``excess_NAME`` for those of ``EXCESS``.
    """
    groups = [np.flatnonzero(np.asarray(read) == token).tolist() for token in sorted(set(read))]
    parts = []
    for members in groups:
        together = max(1, ROWS // len(members))  # layers of a small group go through the unembedding at once: reading it is what takes the time
        for layers in _chunks(range(residuals.shape[1]), together):
            states = residuals[members[:BLOCK_ITEMS]][:, layers].transpose(0, 1)
            first = _probabilities(lm, states.flatten(0, 1)).unflatten(0, states.shape[:2])
            for layer, held in zip(layers, first):
                parts += _trace_group(lm, residuals[:, layer], members, held, sets, layer)
    return pd.concat(parts, ignore_index=True).sort_values("layer", kind="stable", ignore_index=True)


def _trace_group(lm: LanguageModel, states: Tensor, members: list[int], held: Tensor, sets: dict[str, list[list[int]]], layer: int) -> Iterator[pd.DataFrame]:
    """Items that read the same token, at one layer; held [first block of them, vocabulary] are probabilities."""
    blocks = list(_chunks(members, BLOCK_ITEMS))
    background = held.sum(0)
    for block in blocks[1:]:
        background += _probabilities(lm, states[block]).sum(0)
    background /= len(members)
    for number, block in enumerate(blocks):
        p_block = held if number == 0 else _probabilities(lm, states[block])
        for p, rows in zip(p_block.split(ROWS), _chunks(block, ROWS)):
            chosen = {name: [ids[i] for i in rows] for name, ids in sets.items()}
            yield _trace_rows(p, background, chosen).assign(item=rows, layer=layer, n_background=len(members))


def _trace_rows(p: Tensor, background: Tensor, sets: dict[str, list[list[int]]]) -> pd.DataFrame:
    """Measures of some items at one layer; p [rows, vocabulary], background [vocabulary].

    The vocabulary is long: every pass over it counts. Σ p·log p follows from the information and a product with the
    background, and as both sum to one, Σ max(0, p − p_bg) is half their L1 distance.
    """
    top_prob, top_id = p.max(-1)
    log_background = background.clamp_min(1e-30).log_()
    info = p.clamp_min(1e-30).log_().sub_(log_background).mul_(p)
    information = info.sum(-1)
    info_nats, info_id = info.max(-1)
    columns = {
        "top1_id": top_id, "top1_prob": top_prob, "info_id": info_id, "info_nats": info_nats, "information": information,
        "entropy": -(information + p @ log_background), "excess": torch.cdist(p, background[None], p=1)[:, 0] / 2,
    }  # fmt: skip
    table = {name: value.cpu().numpy() for name, value in columns.items()}
    for name, ids in sets.items():
        row = torch.tensor([r for r, chosen in enumerate(ids) for _ in chosen], dtype=torch.long, device=p.device)
        token = torch.tensor([t for chosen in ids for t in chosen], dtype=torch.long, device=p.device)
        held = p[row, token]
        table[f"p_{name}"] = _row_sums(held, row, len(ids))
        if name in EXCESS:
            table[f"excess_{name}"] = _row_sums((held - background[token]).clamp_min_(0), row, len(ids))
    return pd.DataFrame(table)


def _row_sums(values: Tensor, row: Tensor, n: int) -> np.ndarray:
    # on the CPU, where additions come in one order: on a GPU the last digits would differ from run to run
    return torch.zeros(n, dtype=values.dtype).index_add_(0, row.cpu(), values.cpu()).numpy()


def token_sets(lm: LanguageModel, lexicon: pd.DataFrame, items: pd.DataFrame) -> dict[str, list[list[int]]]:
    """Token ids that can start the words of each item.

    Sets: ``source`` and ``target`` (the item's two words), ``accepted`` (every accepted translation), and ``en`` … ``ja``
    (every accepted word of the concept in that language). A token in the sets of two languages says neither and is left
    out of the languages' sets. ``control_NAME`` is the set of another item, the next one: what the layer says of a
    concept that is not there.
    """
    cache: dict[tuple[str, ...], frozenset[int]] = {}

    def starts(words: Sequence[str]) -> frozenset[int]:
        key = tuple(words)
        if key not in cache:
            cache[key] = frozenset(tokens.word_starts(lm.tokenizer, key))
        return cache[key]

    sets: dict[str, list[list[int]]] = {name: [] for name in ("source", "target", "accepted", *LANGUAGES)}
    for item in items.itertuples():
        sets["source"].append(sorted(starts([item.source_word])))
        sets["target"].append(sorted(starts([item.target_word])))
        sets["accepted"].append(sorted(starts(lexicon.loc[item.concept_id, f"valid_{item.target_lang}"])))
        own = {la: starts(lexicon.loc[item.concept_id, f"valid_{la}"]) for la in LANGUAGES}
        for la in LANGUAGES:
            others = frozenset().union(*(own[other] for other in LANGUAGES if other != la))
            sets[la].append(sorted(own[la] - others))
    return sets | {f"control_{name}": sets[name][1:] + sets[name][:1] for name in CONTROLLED}


def trace_pairs(
    lm: LanguageModel, lexicon: pd.DataFrame, scores: pd.DataFrame, prompts: dict[tuple[str, str], list[Prompt]], store: Store, ridge: RidgeLens | None = None
) -> pd.DataFrame:
    """Trace the scored items of several directions, each kept on disk when it is done (table ``traces``).

    Beside the measures of :func:`trace_items`: ``overlap`` (source and target word can start with the same token) and
    ``readable`` (both the source word and the target word can start with a token that is a whole character; a
    byte-level tokenizer writes rare Chinese and Japanese characters in pieces that name no word).

    Args:
        scores: source_lang, target_lang, concept_id, source_word, target_word of the items.
        prompts: prompt sets of each direction.
        ridge: maps applied before the norm; None for the plain lens.
    """
    code, parts = module_code("lens"), []
    lens = "raw" if ridge is None else "ridge"
    for pair, items in progress(list(scores.groupby(["source_lang", "target_lang"], sort=False)), f"tracing {lm.id} ({lens} lens)"):
        items = items[["source_lang", "target_lang", "concept_id", "source_word", "target_word"]].reset_index(drop=True)
        words = lexicon.loc[items.concept_id, [f"valid_{la}" for la in LANGUAGES]].map(list).to_dict("list")
        key = {"code": code, "model": lm.facts(), "prompts": prompts[pair], "items": items.to_dict("records"), "words": words}
        key |= {"lens": ridge.digest() if ridge else "raw"}
        parts.append(store.unit("traces", lambda i=items, p=prompts[pair]: _trace_pair(lm, lexicon, i, p, ridge), **key))
    return pd.concat(parts, ignore_index=True).assign(model=lm.id, lens=lens)


def _trace_pair(lm: LanguageModel, lexicon: pd.DataFrame, items: pd.DataFrame, prompts: list[Prompt], ridge: RidgeLens | None) -> pd.DataFrame:
    sets = token_sets(lm, lexicon, items)
    overlap = np.array([bool(set(s) & set(t)) for s, t in zip(sets["source"], sets["target"])])
    readable = np.array([bool(s and t) for s, t in zip(sets["source"], sets["target"])])
    parts = []
    for prompt in prompts:
        residuals, read = answer_residuals(lm, prompt, items.source_word.tolist(), items.target_word.tolist())
        residuals = residuals if ridge is None else ridge(residuals)
        trace = trace_items(lm, residuals, read, sets)
        trace["overlap"], trace["readable"] = overlap[trace["item"]], readable[trace["item"]]
        for name in ("top1", "info"):
            trace[f"{name}_token"] = lm.tokenizer.convert_ids_to_tokens(trace[f"{name}_id"].tolist())
            trace[f"{name}_text"] = [lm.tokenizer.decode([i]) for i in trace[f"{name}_id"]]
            for role in [r for r in sets if not r.startswith("control_")]:
                members = [set(ids) for ids in sets[role]]
                trace[f"{name}_is_{role}"] = [t in members[i] for t, i in zip(trace[f"{name}_id"], trace["item"])]
        parts.append(trace.assign(prompt_set=prompt.prompt_set))
    table = pd.concat(parts, ignore_index=True)
    table = table.merge(items[["source_lang", "target_lang", "concept_id"]], left_on="item", right_index=True).drop(columns="item").reset_index(drop=True)
    return _thinned(table)


def _thinned(table: pd.DataFrame) -> pd.DataFrame:
    """Probabilities to four decimals, nats to three: the file is a third of the size, and nothing here reads more.

    Not top1_prob: rules compare it between layers where it is close to one.
    """
    floats = table.select_dtypes("floating").columns.difference(["top1_prob"])
    table = table.round({c: 3 if c in ("information", "info_nats", "entropy") else 4 for c in floats})
    small = {"layer": np.int16, "prompt_set": np.int16, "n_background": np.int32, "top1_id": np.int32, "info_id": np.int32}
    return table.astype(dict.fromkeys([*floats, "top1_prob"], np.float32) | small)


# --- the second opinion: linear maps to the last layer ----------------------------------------------------------------


class RidgeLens:
    """A linear map per layer from its residual stream to the last layer's.

    Args:
        weights: [layers, d + 1, d]; the last input is constant 1.
    """

    def __init__(self, weights: Tensor):
        self.weights = weights

    def __call__(self, residuals: Tensor) -> Tensor:
        """Map states [items, layers, d]; the last layer is left as it is."""
        states = residuals.float()
        mapped = torch.einsum("nld,lde->nle", states, self.weights[:, :-1]) + self.weights[:, -1]
        mapped[:, -1] = states[:, -1]
        return mapped

    def digest(self) -> str:
        """Checksum of the maps, for keys."""
        import hashlib

        return hashlib.sha256(self.weights.numpy().tobytes()).hexdigest()


@torch.inference_mode()
def text_residuals(lm: LanguageModel, texts: Sequence[str], stride: int = 1, max_tokens: int = 128) -> Iterator[Tensor]:
    """Residual streams of running text, one text at a time: [positions, layers, d] float32, every stride-th position after the first."""
    with capture_blocks(lm) as outputs:
        for text in texts:
            ids = lm.tokenizer(text, truncation=True, max_length=max_tokens)["input_ids"]
            if len(ids) > 2:
                lm.run_body(torch.tensor([ids], device=lm.device))
                # the first position is an attention sink with a norm of its own
                yield torch.stack([o[0, 1::stride].float() for o in outputs], 1).cpu()


def fit_ridge_lens(lm: LanguageModel, texts: Sequence[str], ridge: float = 1e-2) -> RidgeLens:
    """Fit the maps in closed form on text: argmin_W Σ ‖[h_l, 1] W − h_L‖² + λ‖W‖².

    Args:
        texts: texts to fit on, in all languages that matter.
        ridge: λ relative to the mean of the diagonal of the Gram matrix.
    """
    gram = cross = None
    for states in progress(text_residuals(lm, texts), f"fitting a lens for {lm.id}", total=len(texts)):
        inputs = torch.cat([states, torch.ones(*states.shape[:2], 1)], -1).transpose(0, 1).double()  # [layers, tokens, d + 1]
        target = states[:, -1].double()
        gram = (0 if gram is None else gram) + inputs.transpose(1, 2) @ inputs
        cross = (0 if cross is None else cross) + inputs.transpose(1, 2) @ target
    if gram is None:
        raise ValueError("no text to fit a lens on")
    scale = gram.diagonal(dim1=1, dim2=2).mean(-1)
    penalty = torch.eye(gram.shape[-1], dtype=gram.dtype) * (ridge * scale)[:, None, None]
    penalty[:, -1, -1] = 0  # the constant is not penalised
    return RidgeLens(torch.linalg.solve(gram + penalty, cross).float())


def answer_states(lm: LanguageModel, items: pd.DataFrame, prompts: dict[tuple[str, str], list[Prompt]]) -> Iterator[Tensor]:
    """Residual streams where the answers are given, one direction at a time: [items, layers, d] float32 (first prompt set)."""
    for pair, part in items.groupby(["source_lang", "target_lang"], sort=False):
        yield answer_residuals(lm, prompts[pair][0], part.source_word.tolist(), part.target_word.tolist())[0]


@torch.inference_mode()
def lens_divergence(lm: LanguageModel, states: Iterable[Tensor], ridge: RidgeLens, total: int | None = None) -> pd.DataFrame:
    """How far each layer's lens is from the model's own output, at positions it was not fitted on.

    Args:
        states: residual streams [positions, layers, d], a cluster at a time: :func:`text_residuals` of held-out text, or
            :func:`answer_states`.
        total: number of clusters, for the progress bar.

    Returns:
        One row a cluster, layer and lens: text (the cluster's index), layer, lens (`raw`, `ridge`), n (positions), kl (mean
        KL(model ‖ lens) over them, nats), agreement (share with the same top token).
    """
    rows = []
    for number, residuals in enumerate(progress(states, f"comparing lenses of {lm.id}", total=total)):
        final = lens_logits(lm, residuals[:, -1]).log_softmax(-1)
        together = max(1, 4 * ROWS // len(residuals))  # layers that go through the unembedding at a time
        for name, mapped in (("raw", residuals), ("ridge", ridge(residuals))):
            guesses = (g for part in mapped.transpose(0, 1).split(together) for g in lens_logits(lm, part.flatten(0, 1)).unflatten(0, part.shape[:2]))
            for layer, guess in enumerate(guesses):
                guess = guess.log_softmax(-1)
                kl = float((final.exp() * (final - guess)).sum(-1).mean())
                same = float((guess.argmax(-1) == final.argmax(-1)).float().mean())
                rows.append({"text": number, "layer": layer, "lens": name, "n": len(residuals), "kl": kl, "agreement": same})
    return pd.DataFrame(rows)
