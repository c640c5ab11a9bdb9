"""Tiny random-weight models, a toy tokenizer and a toy lexicon: the units need no real model."""

import os
import subprocess

os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach a model hub
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, decoders, normalizers, processors
from tokenizers import models as tokenizer_models
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from semantic_pivots import run
from semantic_pivots.artifacts import COMMITTED_PROFILE, ROOT
from semantic_pivots.models import FAMILIES, LanguageModel
from semantic_pivots.task import LANGUAGES

torch.set_num_threads(1)  # tiny models gain nothing from threads, and lose much where others use the processor
VOCABULARY = 400
SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "pad_token_id": 0,
}


def pytest_collection_modifyitems(config, items):
    """Fast tests first, the end-to-end run last; first where processes share the tests, since one has it to do and the others all the rest."""
    shared = hasattr(config, "workerinput")
    items.sort(key=lambda item: (item.get_closest_marker("smoke") is not None) != shared)


@pytest.fixture(scope="session")
def committed_results():
    """What a test of the committed results asks for: it is skipped where a run with other parameters (make all SET=…) has written over them."""
    stages = run.find_stages()
    parameters = run.resolve_parameters(stages, run.read_profile(COMMITTED_PROFILE))
    changed = subprocess.run(["git", "diff", "--name-only", "--", "notebooks/*.ipynb"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    for stage in stages:
        if f"notebooks/{stage.name}.ipynb" in changed:
            made_with = nbformat.read(ROOT / "notebooks" / f"{stage.name}.ipynb", as_version=4).metadata.get("fingerprint", {}).get("parameters", {})
            if other := [f"{n}={v}" for n, v in made_with.items() if n in parameters[stage.name] and v != parameters[stage.name][n]]:
                pytest.skip(f"{stage.name} was run with {other[0]}; 'git checkout notebooks figures data/results' brings the committed results back")


def make_tokenizer(bos=True):
    """A character tokenizer with byte fallback and Gemma's way with spaces; a few whole words are tokens."""
    words = ["▁", "\n", "\n\n", ":", ".", "▁dog", "▁chat", "▁cat", "犬", "▁犬", "猫", "▁from", "▁to", "Please", "▁words", "▁translate", "chi", "en", "chien"]
    words += [c for c in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZéè"]
    vocabulary = {t: i for i, t in enumerate(["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{b:02X}>" for b in range(256)), *dict.fromkeys(words)])}
    merges = [("\n", "\n"), ("▁", "犬"), ("c", "h"), ("e", "n")]
    merges = [m for m in merges if all(x in vocabulary for x in (*m, "".join(m)))]
    tokenizer = Tokenizer(tokenizer_models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", unk_token="<unk>", pad_token="<pad>")


def make_network(model_type, **changes):
    """A random-weight model of a family, its norms made uneven so that forgetting one shows."""
    settings = SMALL | {"attention_dropout": 0.0} | changes
    if model_type == "gpt_neox":
        settings |= {"rotary_pct": 0.5, "hidden_dropout": 0.0}
        settings.pop("num_key_value_heads"), settings.pop("head_dim")
    if model_type in ("gemma2", "gemma3_text"):
        settings |= {"sliding_window": 400, "query_pre_attn_scalar": 8}
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **settings)
    attention = "eager" if model_type == "gemma2" else "sdpa"
    network = AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval().requires_grad_(False)
    for name, weight in network.named_parameters():
        if "norm" in name:
            weight += 0.3 * torch.randn_like(weight)
        elif weight.ndim == 2:
            weight *= 5
    return network


@pytest.fixture(scope="session")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="session", params=sorted(FAMILIES))
def family_model(request, tokenizer):
    """A tiny model of each family."""
    return LanguageModel(f"test:{request.param}", "0" * 64, make_network(request.param), tokenizer, "float32", torch.device("cpu"))


@pytest.fixture(scope="session")
def tiny_model(tokenizer):
    return LanguageModel("test:llama", "0" * 64, make_network("llama"), tokenizer, "float32", torch.device("cpu"))


@pytest.fixture
def model_folder(tmp_path, tokenizer):
    """A folder with a tiny model, as a user would name it with path:…"""
    folder = tmp_path / "model"
    make_network("llama").save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def lexicon():
    """A toy lexicon of made-up words: 60 test concepts, 20 demonstrations, 10 held out."""
    random = np.random.default_rng(0)
    rows = []
    for i in range(90):
        words = {la: "".join(random.choice(list("abcdefghijklmnop"), 4)) + la for la in LANGUAGES}
        row = {"concept_id": f"{words['en']}.n", "pos": "n" if i % 3 else "v", "bijective": True, "conflicts": [], "identical": [], "sources": ["toy"]}
        row |= words | {f"zipf_{la}": 4 + 0.3 * random.random() for la in LANGUAGES} | {f"valid_{la}": [words[la]] for la in LANGUAGES}
        rows.append(row | {"split": "test" if i < 60 else "demo" if i < 80 else "heldout"})
    return pd.DataFrame(rows).set_index("concept_id", drop=False)
