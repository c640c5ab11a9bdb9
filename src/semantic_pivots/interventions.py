"""Interventions on the residual stream where the answer is given: take out, put in, add (causal side of He et al. 2025, §4).

Everything happens at one position of the prompt, the *answer position*: the last one before the target's first real token. All that a
computation at that position needs from earlier ones are their keys and values. They are computed once (:func:`read_answers`), and so are
the states of the answer position itself. A change after block L then costs one position through the blocks after L, whatever the length of the
prompt, and dozens of changes of one prompt run side by side as siblings that do not see each other (:func:`run_on`).

**What is taken out for a token.** The lens reads a token t off a state x as logit_t = u_t · norm(x). Every norm here is linear up to one
scalar that depends on x alone, norm(x) = Mx / s(x) + b, so the direction that carries the token is Mᵀu_t, with u_t the row of the unscaled unembedding:
for an RMS norm the weight times u_t (Gemma's 1 + w included), for a layer norm centred too. The softmax does not see what
all logits share, so the mean row of the unembedding is subtracted first: a state without the direction gives t the logit of the average
token. How the embedding is tied or scaled plays no part, for what is read is always the unembedding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from . import tokens
from .lens import capture_blocks
from .models import VOCABULARY_SLICE, LanguageModel, ModelError, rows_at_once
from .task import Prompt

__all__ = ["Answers", "read_answers", "answer_sequences", "run_on", "token_directions", "spans", "without", "log_odds", "odds_of", "RANK_TOLERANCE"]

BATCH_TOKENS = 4096  # tokens of prompts read at a time
BATCH_STATES = 1024  # changed states run at a time
HEAD_STATES = 8192  # states that go through the unembedding at a time
RANK_TOLERANCE = 1e-3  # of the largest singular value: what is below is taken for linear dependence

Edit = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Answers:
    """The answer positions of some prompts that begin alike, and what they can attend to.

    Attributes:
        states: residual stream, float32 [items, layers + 1, d]: ``states[:, l]`` enters block l (counted from 0), the last leaves the last block.
        prefix: keys and values of the shared beginning for each layer, [1, heads, shared, head_dim].
        lines: keys and values of each prompt's own positions before the answer position for each layer, padded, [items, heads, longest, head_dim].
        lengths: own positions before the answer position, [items].
        positions: index of the answer position in its prompt, [items].
        read: token read at the answer position, [items].
    """

    states: Tensor
    prefix: list[tuple[Tensor, Tensor]]
    lines: list[tuple[Tensor, Tensor]]
    lengths: Tensor
    positions: Tensor
    read: Tensor

    def __len__(self) -> int:
        return len(self.states)


def answer_sequences(lm: LanguageModel, prompt: Prompt, words: Sequence[str], targets: Sequence[str]) -> tuple[list[tuple[int, ...]], list[int]]:
    """Token ids of each prompt up to its answer position, and the target's first token.

    Where the tokenizer puts a bare space token before the target, it belongs to the prompt.
    """
    encoded = tokens.encode_targets(lm.tokenizer, [prompt.text(w) for w in words], prompt.joiner, targets)
    return [e.ids[: e.start] for e in encoded], [e.ids[e.start] for e in encoded]


def _body(lm: LanguageModel, embeds: Tensor, mask: Tensor, positions: Tensor, past: list[tuple[Tensor, Tensor]]):
    """The transformer body on residual states [batch, n, d] after some keys and values."""
    from transformers import DynamicCache

    cache = DynamicCache(past) if past else DynamicCache()
    body = lm.network.get_submodule(lm.family.body)
    with torch.autocast(lm.device.type, torch.bfloat16, enabled=lm.dtype == "bfloat16"):
        return body(inputs_embeds=embeds, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True)


def _mask(visible: Tensor) -> Tensor:
    """What is added to attention scores, [batch, 1, n, seen + n], from what is visible."""
    mask = torch.zeros(visible.shape, device=visible.device)
    return mask.masked_fill_(~visible, torch.finfo(mask.dtype).min)[:, None]


@torch.inference_mode()
def read_answers(lm: LanguageModel, sequences: Sequence[Sequence[int]]) -> Answers:
    """Run prompts once and keep what any later computation at their answer positions needs.

    Args:
        sequences: token ids of each prompt, the answer position last.

    Raises:
        ValueError: if there are no prompts, or one is empty.
        ModelError: if a prompt is longer than the model's attention window.
    """
    if not sequences or not min(map(len, sequences)):
        raise ValueError(f"{len(sequences)} prompts, the shortest of {min(map(len, sequences), default=0)} tokens: there is no answer position")
    window = getattr(lm.network.config, "sliding_window", None) or lm.network.config.max_position_embeddings
    if max(map(len, sequences)) > window:
        raise ModelError(f"{lm.id}: a prompt of {max(map(len, sequences))} tokens is longer than the attention window of {window}")
    shared = min(tokens.common_prefix(sequences), min(map(len, sequences)) - 1)
    prefix = lm.prefill(list(sequences[0][:shared]))
    own = [len(s) - shared for s in sequences]
    longest, embed = max(own), lm.network.get_submodule(lm.family.body).get_input_embeddings()
    most = rows_at_once(prefix, longest, BATCH_TOKENS)
    states, lines = [], []
    with capture_blocks(lm) as outputs:
        for start in range(0, len(sequences), most):
            part = sequences[start : start + most]
            ids = torch.tensor([[*s[shared:], *[0] * (shared + longest - len(s))] for s in part], device=lm.device)
            embeds = embed(ids).float()
            causal = torch.ones(longest, longest, dtype=torch.bool, device=lm.device).tril()
            visible = torch.cat([torch.ones(longest, shared, dtype=torch.bool, device=lm.device), causal], 1).expand(len(part), -1, -1)
            positions = torch.arange(shared, shared + longest, device=lm.device).expand(len(part), -1)
            past = [(k.expand(len(part), -1, -1, -1), v.expand(len(part), -1, -1, -1)) for k, v in prefix]
            cache = _body(lm, embeds, _mask(visible), positions, past).past_key_values
            rows, last = torch.arange(len(part), device=lm.device), torch.tensor(own[start : start + most], device=lm.device) - 1
            states.append(torch.stack([embeds[rows, last], *(o[rows, last].float() for o in outputs)], 1))
            lines.append([(layer.keys[:, :, shared:-1].clone(), layer.values[:, :, shared:-1].clone()) for layer in cache.layers])
    joined = [(torch.cat([p[la][0] for p in lines]), torch.cat([p[la][1] for p in lines])) for la in range(lm.n_layers)]
    ends = [[n - 1 for n in own], [len(s) - 1 for s in sequences], [s[-1] for s in sequences]]
    return Answers(torch.cat(states), prefix, joined, *(torch.tensor(e, device=lm.device) for e in ends))


@contextlib.contextmanager
def _bypassed(lm: LanguageModel, n: int) -> Iterator[None]:
    """Within: the first n blocks give back what they are given; what would come out of them is put in instead."""
    blocks = list(lm.blocks)[:n]
    for block in blocks:
        block.forward = lambda hidden, *arguments, **named: hidden
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


@contextlib.contextmanager
def edited(lm: LanguageModel, edits: dict[int, Edit]) -> Iterator[None]:
    """Within: the output of some blocks is changed; ``edits`` maps a block's number to the change. The hooks are removed whatever happens."""

    def changing(edit: Edit):
        # a block gives a tensor or, in some families, a tuple that starts with it
        return lambda module, inputs, output: (edit(output[0]), *output[1:]) if isinstance(output, tuple) else edit(output)

    hooks = [lm.blocks[layer].register_forward_hook(changing(edit)) for layer, edit in edits.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def run_on(lm: LanguageModel, answers: Answers, items: Tensor, after: int, states: Tensor, edits: dict[int, Edit] | None = None) -> Tensor:
    """Go on from states of the answer position that stand after a block, several for each item.

    Args:
        answers: what the positions before hold.
        items: which item each row belongs to, [rows].
        after: block after which the states stand (from 0); −1 for the embedding.
        states: [rows, siblings, d].
        edits: changes of later blocks' outputs, each of a tensor [rows, siblings, d].

    Returns:
        Final-normed hidden states, [rows, siblings, d].

    Raises:
        ValueError: if a change would come before the states.
    """
    edits = edits or {}
    if early := [layer for layer in edits if not after < layer < lm.n_layers]:
        raise ValueError(f"a change after block {early[0]} cannot follow states after block {after} of {lm.n_layers}")
    if after == lm.n_layers - 1:
        return lm.normed(states.flatten(0, 1)).view(states.shape)
    n, siblings, _ = states.shape
    longest = answers.lines[0][0].shape[2]
    seen = torch.ones(n, siblings, answers.prefix[0][0].shape[2] if answers.prefix else 0, dtype=torch.bool, device=lm.device)
    line = (torch.arange(longest, device=lm.device) < answers.lengths[items, None])[:, None].expand(-1, siblings, -1)
    alone = torch.eye(siblings, dtype=torch.bool, device=lm.device).expand(n, -1, -1)
    past = [(k[items], v[items]) for k, v in answers.lines]
    if answers.prefix:
        past = [tuple(torch.cat([p.expand(n, -1, -1, -1), q], 2) for p, q in zip(*pair)) for pair in zip(answers.prefix, past)]
    positions = answers.positions[items, None].expand(-1, siblings)
    with _bypassed(lm, after + 1), edited(lm, edits):
        return _body(lm, states.float(), _mask(torch.cat([seen, line, alone], 2)), positions, past).last_hidden_state.float()


# --- directions and spans ---------------------------------------------------------------------------------------------


@torch.inference_mode()
def token_directions(lm: LanguageModel, ids: Tensor | Sequence[int]) -> Tensor:
    """The direction of the residual stream along which the lens reads each token, float32 [tokens, d], not scaled to length one."""
    ids = torch.as_tensor(ids, dtype=torch.long, device=lm.device)
    unembedding = lm.unembedding
    mean = torch.stack([rows.float().sum(0) for rows in unembedding.split(VOCABULARY_SLICE)]).sum(0) / len(unembedding)
    return (unembedding[ids].float() - mean) @ norm_map(lm).T


@torch.inference_mode()
def norm_map(lm: LanguageModel) -> Tensor:
    """M of norm(x) = Mx / s(x) + b, up to a factor, read off the norm by feeding it unit vectors; transposed, [d, d]."""
    d = lm.unembedding.shape[1]
    unit = torch.eye(d, device=lm.device) * d**0.5  # of root mean square one, as a norm expects them
    return lm.normed(unit) - lm.normed(torch.zeros(1, d, device=lm.device))


def spans(directions: Tensor, tolerance: float = RANK_TOLERANCE) -> Tensor:
    """Orthonormal bases of the spans of some directions.

    Directions count alike, whatever their length. One that is linearly dependent on others (or zero, as padding is) adds
    nothing: singular values up to ``tolerance`` times the largest are dropped.

    Args:
        directions: [..., k, d].

    Returns:
        [..., d, k]; columns beyond the rank are zero.
    """
    rows = directions.double()
    rows = rows / rows.norm(dim=-1, keepdim=True).clamp_min(1e-300)
    # The right singular vectors by way of the k × k Gram matrix, whose eigenvalues are the squared singular values: k is small, d is not,
    # and in float64 squares down to the tolerance's are told apart.
    squared, left = torch.linalg.eigh(rows @ rows.transpose(-1, -2))
    kept = squared > (tolerance**2 * squared[..., -1:]).clamp_min(1e-12)
    scale = torch.where(kept, squared, torch.inf).rsqrt()
    return (rows.transpose(-1, -2) @ left * scale[..., None, :]).float()


def without(bases: Tensor) -> Edit:
    """A change that projects spans out: bases [..., d, k], states [..., d]."""

    def change(x: Tensor) -> Tensor:
        # the body that calls this may run in bfloat16, in which a hundredth of what is projected out would stay
        with torch.autocast(x.device.type, enabled=False):
            return x - torch.einsum("...k,...dk->...d", torch.einsum("...d,...dk->...k", x.float(), bases), bases).to(x.dtype)

    return change


@torch.inference_mode()
def log_odds(lm: LanguageModel, hidden: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Log-odds of one token a row against all others (nats, float64 [rows], on the CPU) and the most probable token [rows]; hidden is final-normed, [rows, d]."""
    normaliser, top = lm.normaliser(hidden)
    return odds_of(lm.logits_of(hidden, ids) - normaliser), top


def odds_of(log_p: Tensor) -> Tensor:
    """Log-odds (float64, on the CPU: not every device has that type) of log probabilities."""
    log_p = log_p.cpu().double().clamp_max(-1e-7)  # float32 cannot tell probabilities closer to one
    return log_p - torch.log(-torch.expm1(log_p))
