"""The known-corpus model's tokenizer: byte-pair encoding with byte fallback for English, French, Chinese and Japanese.

A word of a spaced script has one form wherever it stands: ``▁`` marks its beginning after a space and also at the start of a
line or text, so that ``chien`` in a word list and in a sentence is the same token. Han and kana never carry the mark (a space
before them is a token of its own), so a Chinese or Japanese word is the same after ``Japanese:``, a space or a line end. Tokens
do not cross from one script to another, nor from letters to digits, punctuation or line ends. Characters outside the alphabet
become UTF-8 bytes (``<0x00>`` … ``<0xFF>``); there is no unknown token.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

__all__ = ["PAD", "BOS", "EOS", "VOCABULARY", "train_tokenizer", "save_tokenizer", "as_transformers"]

PAD, BOS, EOS = "<pad>", "<s>", "</s>"  # ids 0, 1, 2; the bytes follow
VOCABULARY = 16384
COVERAGE = 0.9995  # share of the sample's characters that are in the alphabet; the others become bytes
CJK_LENGTH = 8  # characters of the longest token of Han or kana
MARK = "▁"
# A written ▁ must not decode to a space. It is held by a character that NFC never leaves in a text (OHM SIGN becomes Ω).
ESCAPE = "\u2126"

KANA = "ーｰ"  # length marks, of no script of their own
CJK = rf"\p{{Han}}\p{{Hiragana}}\p{{Katakana}}{KANA}"
SPACED = rf"(?:(?![{CJK}{ESCAPE}])[\p{{L}}\p{{M}}])"


def _pieces(length: str) -> str:
    """Pattern of the pieces that a text is cut into before merging; runs of Han or kana are repeated as ``length`` says."""
    return "|".join(
        [
            r"\n",
            rf"{MARK}?(?:[cdjlmnstCDJLMNST]|[Qq]u)['’](?=\p{{Latin}})",  # French elision: l' d' qu'
            r"['’](?:s|t|m|d|re|ve|ll)(?!\p{L})",  # English contraction
            rf"{MARK}?{SPACED}+",
            rf"\p{{Han}}{length}",
            rf"[\p{{Hiragana}}{KANA}]{length}",
            rf"[\p{{Katakana}}{KANA}]{length}",
            rf"{MARK}?\p{{N}}",
            rf"{MARK}?(?:(?![{MARK}{ESCAPE}])[\p{{P}}\p{{S}}])+",
            rf"{MARK}+(?={MARK})",
            rf"{MARK}+",
        ]
    )


def _cutter(length: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(_pieces(length)), behavior="isolated")


def _normalizer() -> normalizers.Normalizer:
    first = rf"(?=(?![{CJK}])[{MARK}\p{{L}}\p{{N}}\p{{P}}])"  # a line's first character is marked if it could be after a space
    return normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Replace(MARK, ESCAPE),
            normalizers.Replace(" ", MARK),
            normalizers.Replace(Regex(rf"\A{first}"), MARK),
            normalizers.Replace(Regex(rf"\n{first}"), "\n" + MARK),
        ]
    )


def _decoder() -> decoders.Decoder:
    steps = [decoders.Replace(MARK, " "), decoders.Replace(ESCAPE, MARK), decoders.ByteFallback(), decoders.Fuse()]
    # the marks that the normaliser put at the start of text and lines go again
    return decoders.Sequence([*steps, decoders.Replace("\n ", "\n"), decoders.Strip(" ", 1, 0)])


def train_tokenizer(texts: Iterable[str], vocab_size: int = VOCABULARY) -> Tokenizer:
    """Train the tokenizer. The same texts give the same tokenizer; no chance is involved.

    Args:
        texts: training texts, each language in the amount that its share of the vocabulary should follow.
        vocab_size: tokens altogether: 3 special ones, 256 bytes, the alphabet and what merging adds.

    Raises:
        ValueError: if the vocabulary is too small for the bytes and the alphabet.
    """
    normalizer, counts = _normalizer(), Counter()

    def counted() -> Iterator[str]:
        for text in texts:
            normal = normalizer.normalize_str(text)
            counts.update(normal)
            yield normal

    normal = list(counted())
    alphabet = _alphabet(counts)
    if (room := vocab_size - 256 - 3) < len(alphabet):
        raise ValueError(f"a vocabulary of {vocab_size} has no room for 3 special tokens, 256 bytes and {len(alphabet)} characters")
    trained = Tokenizer(models.BPE())
    # Runs are cut to length only here: no longer token is learnt, and in use a run is merged as a whole.
    trained.pre_tokenizer = _cutter(f"{{1,{CJK_LENGTH}}}")
    trainer = trainers.BpeTrainer(
        vocab_size=room, min_frequency=2, initial_alphabet=alphabet, limit_alphabet=len(alphabet), show_progress=False, special_tokens=[]
    )
    trained.train_from_iterator(normal, trainer)
    learnt = json.loads(trained.to_str())["model"]
    tokens = [PAD, BOS, EOS, *(f"<0x{b:02X}>" for b in range(256)), *sorted(learnt["vocab"], key=learnt["vocab"].get)]
    return _assemble({t: i for i, t in enumerate(tokens)}, [tuple(m) for m in learnt["merges"]])


def _alphabet(counts: Counter[str]) -> list[str]:
    """Most frequent characters that make up COVERAGE of the text; ASCII, line end and marks always."""
    kept = {"\n", MARK, ESCAPE, *(chr(c) for c in range(33, 127))}
    left = sum(counts.values()) * COVERAGE
    for character, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if left <= 0:
            break
        kept.add(character)
        left -= n
    return sorted(kept)


def _assemble(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True))
    tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder = _normalizer(), _cutter("+"), _decoder()
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, vocabulary[BOS])])
    tokenizer.add_special_tokens([PAD, BOS, EOS])
    return tokenizer


def as_transformers(tokenizer: Tokenizer):
    """The tokenizer as ``transformers`` knows it; <s> is put before every text."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=PAD, clean_up_tokenization_spaces=False)


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json, to be loaded by ``AutoTokenizer`` without any code of its own."""
    as_transformers(tokenizer).save_pretrained(folder)
