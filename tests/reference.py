"""The plain way to score: one full forward pass per prompt, the whole head at every position.

Written from the definition of the score alone; the fast scoring is tested and timed against it.
"""

import numpy as np
import torch


@torch.inference_mode()
def mean_log_probability(lm, text, target):
    """(1/N) Σ log p over the tokens of ``target`` at the end of ``text``."""
    encoded = lm.tokenizer(text + target, return_offsets_mapping=True, return_tensors="pt")
    offsets = encoded.pop("offset_mapping")[0].tolist()
    logits = lm.network(**encoded.to(lm.device)).logits[0].float().log_softmax(-1)
    ids = encoded["input_ids"][0]
    inside = [i for i, (a, b) in enumerate(offsets) if b > len(text) and b > a]
    return float(np.mean([logits[i - 1, ids[i]].item() for i in inside]))


def score(lm, prompts, item):
    """P(y|w), [P(y|w′)] of one item, averaged over prompt sets before the exponential."""
    values = [
        np.exp(np.mean([mean_log_probability(lm, p.text(word) + p.joiner, item.target_word) for p in prompts]))
        for word in [item.source_word, *item.distractors]
    ]
    return values[0], np.array(values[1:])


@torch.inference_mode()
def dump_layers(lm, text):
    """Probabilities of the whole vocabulary after every block, [layers, vocabulary]: the plain logit lens.

    One full forward pass; norm and head at every position of every layer, and the last position kept, as scripts do that
    call the model's own head on its hidden states.
    """
    states = lm.network(**lm.tokenizer(text, return_tensors="pt").to(lm.device), output_hidden_states=True).hidden_states
    # transformers gives the last state after the final norm
    logits = [lm.network.get_output_embeddings()(lm.final_norm(h)) for h in states[1:-1]] + [lm.network.get_output_embeddings()(states[-1])]
    return np.stack([lm.softcap(x.float()).softmax(-1)[0, -1].numpy() for x in logits])
