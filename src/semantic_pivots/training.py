"""Training of the known-corpus model: a small Llama, from scratch, on exactly the corpus that is counted.

``python -m semantic_pivots.training --config FILE.yaml --out DIR`` trains or goes on where a killed run was. DIR then holds

- ``state.safetensors``: weights, optimiser, random state and place in the data, replaced in one step;
- ``log.csv``: a line a step;
- ``tokens-1M`` …: the model in bfloat16 at some token counts, as ``transformers`` loads it;
- ``manifest.json``: what made them, their checksums and validation losses.

The same configuration, corpus and machine give the same weights, interrupted or not.
"""

from __future__ import annotations

import argparse
import copy
import csv
import importlib.metadata
import json
import math
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from .artifacts import ROOT, atomic_path
from .fingerprint import canonical, sha256_file, sha256_text
from .mixture import CODES, Batch, Mix, Rows, TokenCorpus, balanced_sample, epoch_rows, load_tokens, text_rows
from .models import cache_directory, probe_dtype
from .progress import progress
from .tokenizer import VOCABULARY, as_transformers, save_tokenizer, train_tokenizer

__all__ = ["TrainingConfig", "Trainer", "make_model", "make_optimizers", "learning_rate", "visible", "cross_entropy", "train", "main"]

HEAD_ROWS = 512  # positions whose logits are held at a time
NOT_COMPARED = ("corpus", "tokenizer", "checkpoint_minutes", "validate_tokens")  # the first two are compared by content, the others do not change the weights


@dataclass(frozen=True)
class TrainingConfig:
    """What a run depends on. Amounts of text are in tokens, padding not counted.

    Attributes:
        corpus: folder of shards, relative to the repository.
        tokenizer: folder with tokenizer.json; trained on data/corpus if empty.
        parallel: table of held-out sentences with a column for each language, for validation; none if empty.
        batch_rows: rows of ``context`` tokens a step.
        optimizer: "muon" (Jordan et al. 2024: the momentum of a block's matrices is made orthogonal before it is applied, scaled as in
            arXiv 2502.16982 so that one learning rate serves all; AdamW for embedding and norms) or "adamw" for all.
        schedule: "wsd" (constant, then linear to zero over the last ``decay_share``) or "cosine".
        export_tokens: token counts at which the model is exported; the end is always one.
        validate_tokens: tokens between two validations.
        precision: "float32", "bfloat16" (products in bfloat16, weights in float32), or "auto": bfloat16 where it is measured to be
            faster. Without AVX512-BF16 or AMX it is many times slower. What was chosen is kept, and a resumed run keeps to it.
    """

    corpus: str = "data/corpus"
    tokenizer: str = ""
    parallel: str = "data/heldout/parallel.parquet"
    vocabulary: int = VOCABULARY
    hidden: int = 256
    layers: int = 8
    heads: int = 4
    intermediate: int = 704
    context: int = 256
    seed: int = 0
    mixed_weight: float = 1.0
    single_weight: float = 1 / 3
    total_tokens: int = 100_000_000
    batch_rows: int = 32
    optimizer: str = "muon"
    lr: float = 2e-3
    warmup_tokens: int = 1_000_000
    schedule: str = "wsd"
    decay_share: float = 0.2
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    export_tokens: tuple[int, ...] = (1_000_000, 3_000_000, 10_000_000, 20_000_000, 50_000_000, 100_000_000)
    validate_tokens: int = 2_000_000
    checkpoint_minutes: float = 10.0
    compile: bool = True
    precision: str = "auto"
    threads: int = 2

    def __post_init__(self):
        if self.schedule not in ("wsd", "cosine"):
            raise ValueError(f"schedule {self.schedule!r} is not known: use wsd or cosine")
        if self.optimizer not in ("muon", "adamw"):
            raise ValueError(f"optimizer {self.optimizer!r} is not known: use muon or adamw")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ValueError(f"precision {self.precision!r} is not known: use auto, float32 or bfloat16")
        if self.hidden % self.heads:
            raise ValueError(f"hidden ({self.hidden}) is not a multiple of heads ({self.heads})")
        if min(self.total_tokens, self.batch_rows, self.validate_tokens) < 1:
            raise ValueError("total_tokens, batch_rows and validate_tokens must be positive")
        if not (self.lr > 0 and self.clip > 0 and self.warmup_tokens >= 0 and 0 <= self.decay_share <= 1):
            raise ValueError(
                f"lr ({self.lr}) and clip ({self.clip}) must be positive, warmup_tokens ({self.warmup_tokens}) not negative, decay_share ({self.decay_share}) from 0 to 1"
            )

    @classmethod
    def from_yaml(cls, path: Path) -> TrainingConfig:
        """Read a configuration; an unknown name is an error."""
        import yaml

        return cls.from_values(yaml.safe_load(Path(path).read_text()) or {}, str(path))

    @classmethod
    def from_values(cls, values: dict, path: str) -> TrainingConfig:
        """A configuration from settings by name; ``path`` is named in errors."""
        if unknown := set(values) - {f.name for f in fields(cls)}:
            raise ValueError(f"{path}: unknown settings {', '.join(sorted(unknown))}; known: {', '.join(f.name for f in fields(cls))}")
        return cls(**{name: _converted(value, getattr(cls, name), f"{path}: {name}") for name, value in values.items()})


def _converted(value: object, default: object, name: str) -> object:
    """A value from YAML in the type of the default; YAML reads 1e-3 as a text."""
    if isinstance(default, tuple) and isinstance(value, (list, tuple)):
        return tuple(_converted(v, default[0], name) for v in value)
    try:
        if isinstance(default, (str, bool)) or isinstance(value, bool):
            fits = type(value) is type(default)
        else:
            value = type(default)(number) if (number := float(value)).is_integer() or isinstance(default, float) else None
            fits = value is not None
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(f"{name} must be of the kind of {default!r}")
    return value


def resolved(config: TrainingConfig) -> TrainingConfig:
    """The configuration with its precision chosen where it is "auto"."""
    return replace(config, precision=probe_dtype(torch.device("cpu"))) if config.precision == "auto" else config


def make_model(config: TrainingConfig) -> nn.Module:
    """A Llama with weights drawn from the seed."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(config.seed)
    settings = LlamaConfig(
        vocab_size=config.vocabulary,
        hidden_size=config.hidden,
        intermediate_size=config.intermediate,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        max_position_embeddings=config.context,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(settings)


class Float32Muon(torch.optim.Muon):
    """torch's Muon with products in float32: torch's are in bfloat16 on any processor, which took some forty times as long on one without instructions for it."""

    @torch.no_grad()
    def step(self, closure=None):
        """One step; momentum, decay and learning rate as in torch's."""
        for group in self.param_groups:
            for p in [p for p in group["params"] if p.grad is not None]:
                buffer = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p.grad))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                update = p.grad.lerp(buffer, group["momentum"]) if group["nesterov"] else buffer
                p.mul_(1 - group["lr"] * group["weight_decay"])
                scale = 0.2 * max(p.shape) ** 0.5 if group["adjust_lr_fn"] == "match_rms_adamw" else max(1, p.shape[0] / p.shape[1]) ** 0.5
                p.add_(self._orthogonal(update, group), alpha=-group["lr"] * scale)

    @staticmethod
    def _orthogonal(update: Tensor, group: dict) -> Tensor:
        a, b, c = group["ns_coefficients"]
        x = update.T if update.shape[0] > update.shape[1] else update
        x = x / x.norm().clamp(min=group["eps"])
        for _ in range(group["ns_steps"]):
            gram = x @ x.T
            x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
        return x.T if update.shape[0] > update.shape[1] else x


def make_optimizers(model: nn.Module, config: TrainingConfig) -> list[torch.optim.Optimizer]:
    """The optimisers that a model's parameters are shared out to."""
    named = dict(model.named_parameters())
    blocks = [p for n, p in named.items() if p.ndim > 1 and "embed" not in n] if config.optimizer == "muon" else []
    taken = {id(p) for p in blocks}
    rest = [[p for p in named.values() if (p.ndim > 1) == big and id(p) not in taken] for big in (True, False)]
    groups = [{"params": params, "weight_decay": config.weight_decay * big} for params, big in zip(rest, (True, False))]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)]
    if blocks:
        muon = torch.optim.Muon if config.precision == "bfloat16" else Float32Muon
        optimizers.append(muon(blocks, lr=config.lr, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"))
    return optimizers


def learning_rate(config: TrainingConfig, tokens: int) -> float:
    """Learning rate after some tokens."""
    warm, done = min(1.0, (tokens + 1) / max(1, config.warmup_tokens)), min(1.0, tokens / config.total_tokens)
    if config.schedule == "cosine":
        return config.lr * warm * (0.05 + 0.95 * 0.5 * (1 + np.cos(np.pi * done)))
    return config.lr * min(warm, (1 - done) / max(config.decay_share, 1e-9))


LOG_COLUMNS = ["step", "tokens", "epoch", "loss", "lr", "tokens_per_s", *(f"{kind}_{la}" for kind in ("val", "parallel") for la in CODES)]


# --- forward ----------------------------------------------------------------------------------------------------------


def visible(piece: Tensor) -> Tensor:
    """Whether a position (row) sees another (column): earlier, or itself, in its own piece; [rows, T] -> bool [rows, 1, T, T]."""
    causal = torch.ones(piece.shape[1], piece.shape[1], dtype=torch.bool).tril()
    return ((piece[:, :, None] == piece[:, None, :]) & causal)[:, None]


def _head_part(hidden: Tensor, weight: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Summed loss of some positions and its gradients: hidden [n, d], weight [V, d], labels [n]."""
    logits, counted = (hidden @ weight.T).float(), (labels >= 0)[:, None]
    log_sum = logits.logsumexp(-1, keepdim=True)
    chosen = logits.gather(1, labels.clamp(min=0)[:, None])
    error = (logits - log_sum).exp() - (torch.arange(weight.shape[0])[None] == labels[:, None]).float()
    error = (error * counted).to(hidden.dtype)
    return ((log_sum - chosen) * counted).sum(), error @ weight, error.T @ hidden


class _CrossEntropy(torch.autograd.Function):
    """Loss and gradients in one pass, a slice of the positions at a time: all logits together would take gigabytes."""

    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, labels: Tensor, low: bool, part: Callable) -> Tensor:
        n, dtype = max(1, int((labels >= 0).sum())), torch.bfloat16 if low else hidden.dtype
        factor, d_hidden, d_weight, total = weight.to(dtype), torch.empty_like(hidden), torch.zeros_like(weight), 0.0
        for start in range(0, len(labels), HEAD_ROWS):
            rows = slice(start, start + HEAD_ROWS)
            loss, d_hidden[rows], part_weight = part(hidden[rows].to(dtype), factor, labels[rows])
            d_weight += part_weight
            total = total + loss
        # Divided here, not in the part: a number that changes from step to step would be compiled anew each time.
        ctx.save_for_backward(d_hidden.div_(n), d_weight.div_(n))
        return total / n

    @staticmethod
    def backward(ctx, gradient: Tensor):
        d_hidden, d_weight = ctx.saved_tensors
        return d_hidden * gradient, d_weight * gradient, None, None, None


def cross_entropy(hidden: Tensor, weight: Tensor, labels: Tensor, low: bool = False, part: Callable = _head_part) -> Tensor:
    """Mean loss of the positions whose label is not -100, in nats.

    Args:
        hidden: final-normed hidden states, [n, d].
        weight: unembedding, [V, d].
        labels: next tokens, int64 [n].
        low: multiply in bfloat16.
        part: the computation of one slice, compiled or not.
    """
    if torch.is_grad_enabled():
        return _CrossEntropy.apply(hidden, weight, labels, low, part)
    dtype, total = torch.bfloat16 if low else hidden.dtype, 0.0
    factor = weight.to(dtype).T
    for rows, some in zip(hidden.to(dtype).split(HEAD_ROWS), labels.split(HEAD_ROWS)):
        total = total + nn.functional.cross_entropy((rows @ factor).float(), some, reduction="sum")
    return total / max(1, int((labels >= 0).sum()))


class Network:
    """The model with its forward pass: compiled and in bfloat16 where the configuration says so.

    Args:
        model: a causal LM whose body is ``model.model``, float32; one with weights drawn from the configuration's seed if not given.
    """

    def __init__(self, config: TrainingConfig, model: nn.Module | None = None):
        self.config, self.model = config, make_model(config) if model is None else model
        self.low = config.precision == "bfloat16"
        self.embedding, self.body, self.part = self.model.model.embed_tokens, self.model.model, _head_part
        if config.compile and (os.environ.get("CXX") or any(map(shutil.which, ("g++", "clang++", "c++")))):
            self.body, self.part = torch.compile(self.body, dynamic=False), torch.compile(self.part, dynamic=False)
        elif config.compile:
            warnings.warn("there is no C++ compiler, so the model is not compiled and trains more slowly", stacklevel=2)

    def loss(self, batch: Batch) -> Tensor:
        """Mean loss over a batch's labels."""
        ids, labels, positions, piece = (torch.from_numpy(np.ascontiguousarray(a)) for a in batch)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.low):
            # The embedding stays outside what is compiled: its compiled gradient adds in an order that varies.
            hidden = self.body(inputs_embeds=self.embedding(ids), attention_mask=visible(piece), position_ids=positions, use_cache=False)[0]
        return cross_entropy(hidden.flatten(0, 1), self.embedding.weight, labels.flatten(), self.low, self.part)


# --- the run ----------------------------------------------------------------------------------------------------------


class Trainer:
    """A run: what changes from step to step, and how it is kept.

    Args:
        config: the run's configuration.
        out: its folder.
        tokens: the corpus.
        tokenizer: the tokenizer that made ``tokens``.
        network: what is trained, from the weights it has (a new model if not given). It is not taken back to them.

    Raises:
        ValueError: if the folder holds a run of another configuration, corpus or tokenizer.
    """

    def __init__(self, config: TrainingConfig, out: Path, tokens: TokenCorpus, tokenizer: Tokenizer, network: Network | None = None):
        if (size := tokenizer.get_vocab_size()) != config.vocabulary:
            raise ValueError(f"the configuration's vocabulary is {config.vocabulary}, the tokenizer has {size} tokens")
        torch.set_num_threads(config.threads)
        self.out, self.tokens, self.tokenizer = Path(out), tokens, tokenizer
        self.state = {"step": 0, "tokens": 0, "epoch": 0, "row": 0}
        kept = self._kept()
        self.config = config = replace(config, precision=kept["config"]["precision"]) if kept and config.precision == "auto" else resolved(config)
        self.facts = {"corpus_sha256": tokens.digest, "tokenizer_sha256": sha256_text(tokenizer.to_str()), "config": json.loads(canonical(asdict(config)))}
        self.network = Network(config) if network is None else network
        self.optimizers = make_optimizers(self.network.model, config)
        self.log: list[dict] = []
        if kept:
            self._restore(kept)
        self._validation: dict[str, Rows] | None = None
        self._epoch: tuple[int, Rows] | None = None

    # -- data

    def next_batch(self) -> Batch:
        """The next rows; the last rows of an epoch that do not fill a batch are left out."""
        size = self.config.batch_rows
        if self._epoch is None or self._epoch[0] != self.state["epoch"]:
            self._epoch = self.state["epoch"], self._rows(self.state["epoch"])
        if self.state["row"] + size > len(self._epoch[1]):
            if self.state["row"] == 0:
                raise ValueError(f"an epoch has {len(self._epoch[1])} rows, fewer than one batch of {size}")
            self.state |= {"epoch": self.state["epoch"] + 1, "row": 0}
            return self.next_batch()
        start = self.state["row"]
        self.state["row"] += size
        return self._epoch[1].batch(start, start + size)

    def _rows(self, epoch: int) -> Rows:
        return epoch_rows(self.tokens, self.config.seed, epoch, self.config.context, Mix(self.config.mixed_weight, self.config.single_weight))

    # -- one step

    def step(self) -> dict:
        """One step; returns its line of the log."""
        begin, batch = time.perf_counter(), self.next_batch()
        lr = learning_rate(self.config, self.state["tokens"])
        for group in (g for o in self.optimizers for g in o.param_groups):
            group["lr"] = lr
        loss = self.network.loss(batch)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.model.parameters(), self.config.clip)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):  # before the weights have it: what is kept stays good
            raise FloatingPointError(
                f"the loss is {loss.item()} and the length of the gradient {norm.item()} at step {self.state['step'] + 1}; try a lower lr than {self.config.lr}"
            )
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        n = int(np.count_nonzero(batch.piece))
        self.state |= {"step": self.state["step"] + 1, "tokens": self.state["tokens"] + n}
        seconds = time.perf_counter() - begin
        line = {"step": self.state["step"], "tokens": self.state["tokens"], "epoch": self.state["epoch"], "loss": loss.item(), "lr": lr}
        return line | {"tokens_per_s": round(n / seconds, 1)}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean loss a token by language, on held-out documents (``val_``) and held-out parallel sentences (``parallel_``)."""
        if self._validation is None:
            self._validation = self._held_out()
        losses, size = {}, self.config.batch_rows
        for name, rows in self._validation.items():
            total = count = 0.0
            for start in range(0, len(rows), size):
                missing = max(0, start + size - len(rows)) if self.config.compile else 0  # a compiled step wants its shape
                batch = Batch(
                    *(
                        np.pad(a, ((0, missing), (0, 0)), constant_values=-100 if f == "labels" else 0)
                        for f, a in rows.batch(start, start + size)._asdict().items()
                    )
                )
                n = int((batch.labels >= 0).sum())
                total, count = total + n * self.network.loss(batch).item(), count + n
            losses[name] = total / count if count else float("nan")
        return losses

    def _held_out(self) -> dict[str, Rows]:
        rows = {f"val_{la}": epoch_rows(self.tokens, 0, 0, self.config.context, held_out=i) for i, la in enumerate(CODES)}
        if self.config.parallel:
            sentences = pd.read_parquet(ROOT / self.config.parallel, columns=list(CODES))
            rows |= {f"parallel_{la}": text_rows(self.tokenizer, sentences[la].tolist(), self.config.context) for la in CODES}
        return rows

    # -- the whole run

    def run(self) -> None:
        """Train to the end, or from where a killed run was."""
        self.out.mkdir(parents=True, exist_ok=True)
        halves = (".state-*", ".log-*", ".manifest-*", ".export-*", ".tmp*")  # of a killed run; safetensors writes to a file .tmp… of its own first
        if not self.state["step"]:
            halves += ("manifest.json", "tokens-*")  # of another run, whose state was deleted
        for left in (path for half in halves for path in self.out.glob(half)):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        self._write_log()
        exports = sorted({*(t for t in self.config.export_tokens if t < self.config.total_tokens), self.config.total_tokens})
        saved = time.monotonic()
        steps = math.ceil(self.config.total_tokens / (self.config.batch_rows * self.config.context))
        for _ in progress(self._steps(), f"training to {short(self.config.total_tokens)} tokens", max(steps - self.state["step"], 0)):
            before = self.log[-2]["tokens"] if len(self.log) > 1 else 0
            due = [t for t in exports if before < t <= self.state["tokens"]]
            if due or before // self.config.validate_tokens != self.state["tokens"] // self.config.validate_tokens:
                self.log[-1] |= self.validate()
            for target in due:
                self.export(target)
            self._append_log()
            if time.monotonic() - saved >= 60 * self.config.checkpoint_minutes or self.state["tokens"] >= self.config.total_tokens:
                self.checkpoint()
                saved = time.monotonic()

    def _steps(self) -> Iterator[int]:
        while self.state["tokens"] < self.config.total_tokens:
            self.log.append(self.step())
            yield self.state["step"]

    # -- what is kept

    @property
    def checkpoint_path(self) -> Path:
        """The state of the run."""
        return self.out / "state.safetensors"

    def checkpoint(self) -> None:
        """Write the state, in one step."""
        names = {id(p): n for n, p in self.network.model.named_parameters()}
        tensors = {f"model.{n}": p.detach() for n, p in self.network.model.named_parameters()}
        for parameter, values in (item for o in self.optimizers for item in o.state.items()):
            tensors |= {f"optimizer.{key}.{names[id(parameter)]}": value for key, value in values.items()}
        tensors["random"] = torch.get_rng_state()
        metadata = {"run": canonical(self.facts | {"state": self.state, "log": self.log})}
        with atomic_path(self.checkpoint_path) as temporary:
            save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, metadata=metadata)

    def _kept(self) -> dict | None:
        if not self.checkpoint_path.is_file():
            return None
        try:
            with safe_open(self.checkpoint_path, "pt") as file:
                return json.loads(file.metadata()["run"])
        except Exception as error:
            raise ValueError(f"{self.checkpoint_path} is damaged ({str(error).splitlines()[0]}); delete it to start again") from error

    def _restore(self, kept: dict) -> None:
        ours = self.facts["config"]
        differing = [n for n in sorted({*ours, *kept["config"]} - set(NOT_COMPARED)) if ours.get(n) != kept["config"].get(n)]
        if differing:
            words = "; ".join(f"{n} is {ours.get(n)!r}, was {kept['config'].get(n)!r}" for n in differing)
            raise ValueError(f"{self.checkpoint_path} is of another configuration: {words}")
        for name, what in (("corpus_sha256", "corpus"), ("tokenizer_sha256", "tokenizer")):
            if self.facts[name] != kept[name]:
                raise ValueError(f"{self.checkpoint_path} was trained with another {what}: sha256 {kept[name]}, this one is {self.facts[name]}")
        self.state, self.log = kept["state"], kept["log"]
        owner = {id(p): o for o in self.optimizers for g in o.param_groups for p in g["params"]}
        with safe_open(self.checkpoint_path, "pt") as file, torch.no_grad():
            for name, parameter in self.network.model.named_parameters():
                parameter.copy_(file.get_tensor(f"model.{name}"))
                keys = [k.split(".")[1] for k in file.keys() if k.startswith("optimizer.") and k.split(".", 2)[2] == name]
                owner[id(parameter)].state[parameter] = {key: file.get_tensor(f"optimizer.{key}.{name}") for key in keys}
            torch.set_rng_state(file.get_tensor("random"))

    def _line(self, line: dict) -> list:
        return [line.get(c, "") for c in LOG_COLUMNS]

    def _write_log(self) -> None:
        """The log up to the checkpoint; what a killed run wrote after it goes."""
        with atomic_path(self.out / "log.csv") as temporary, temporary.open("w", newline="") as stream:
            csv.writer(stream).writerows([LOG_COLUMNS, *map(self._line, self.log)])

    def _append_log(self) -> None:
        with (self.out / "log.csv").open("a", newline="") as stream:
            csv.writer(stream).writerow(self._line(self.log[-1]))

    def export(self, target: int) -> Path:
        """Write the model in bfloat16 with its tokenizer into a folder named by the token count, and note it in the manifest."""
        folder = self.out / f"tokens-{short(target)}"
        with tempfile.TemporaryDirectory(prefix=".export-", dir=self.out) as scratch:
            made = Path(scratch) / "model"
            copy.deepcopy(self.network.model).to(torch.bfloat16).save_pretrained(made)
            as_transformers(self.tokenizer).save_pretrained(made)
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(made, folder)
        path = self.out / "manifest.json"
        manifest = json.loads(path.read_text()) if path.is_file() else {"checkpoints": {}}
        versions = {p: importlib.metadata.version(p) for p in ("torch", "transformers", "tokenizers", "numpy")}
        manifest |= self.facts | {"seed": self.config.seed, "packages": versions}
        losses = {k: v for k, v in self.log[-1].items() if k.startswith(("val_", "parallel_"))}
        manifest["checkpoints"][folder.name] = self.state | {
            "validation": losses,
            "files": {p.name: sha256_file(p) for p in sorted(folder.iterdir())},
        }
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        return folder


def short(tokens: int) -> str:
    """A token count in few characters: 1M, 2.5M, 300k, 77."""
    for size, letter in ((10**6, "M"), (10**3, "k")):
        if tokens >= size:
            return f"{tokens / size:g}{letter}"
    return str(tokens)


def find_tokenizer(config: TrainingConfig, out: Path) -> Tokenizer:
    """The configured tokenizer; else the one in the run's folder, trained on data/corpus if it is not there yet."""
    folder = ROOT / config.tokenizer if config.tokenizer else Path(out) / "tokenizer"
    if not (folder / "tokenizer.json").is_file():
        if config.tokenizer:
            raise ValueError(f"{folder} holds no tokenizer.json")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".tokenizer-", dir=folder.parent) as scratch:
            save_tokenizer(train_tokenizer(balanced_sample(), config.vocabulary), Path(scratch) / "tokenizer")
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(Path(scratch) / "tokenizer", folder)
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def train(config: TrainingConfig, out: Path) -> Trainer:
    """Train, or go on; returns the trainer at the end."""
    tokenizer = find_tokenizer(config, out)
    trainer = Trainer(config, out, load_tokens(tokenizer, ROOT / config.corpus, cache_directory() / "tokens"), tokenizer)
    trainer.run()
    return trainer


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m semantic_pivots.training", description="Train the known-corpus model, or go on where a run was.")
    parser.add_argument("--config", type=Path, required=True, help="YAML file with settings of TrainingConfig")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    given = parser.parse_args(arguments)
    train(TrainingConfig.from_yaml(given.config), given.out)


if __name__ == "__main__":
    main()
