import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from semantic_pivots import tokens
from semantic_pivots.tokenizer import as_transformers, save_tokenizer, train_tokenizer

TEXTS = [
    "The dog and the cat walk to school.\nThe school has a dog.",
    "Le chien et le chat vont à l'école.\nL'école a un chien, aujourd'hui.",
    "我的朋友在学校。\n朋友有一只狗。",
    "犬と猫が学校へ行く。\nコンピュータで犬を見る。",
] * 20
PIECES = [
    "\n",
    " ",
    "  ",
    "▁",
    "\u2126",
    "dog",
    "l'école",
    "学校",
    "カタカナ",
    "ひらがな",
    "ー",
    "🙂",
    "👩‍👩‍👧",
    "齉",
    "𠮷",
    "1984",
    "«",
    "\u00a0",
    "\t",
    "e\u0301",
    "<0x41>",
    ".",
]


@pytest.fixture(scope="module")
def made():
    return train_tokenizer(TEXTS, 440)


@pytest.fixture(scope="module")
def loaded(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(made, folder)
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=12).map(lambda p: unicodedata.normalize("NFC", "".join(p)))


@settings(max_examples=400, deadline=None)
@given(texts)
@example("  two  spaces \n\n 犬 \n")
@example("▁\n▁ ▁x\u2581")
@example("a <s> b</s><pad>")
def test_text_comes_back_whole(made, text):
    made.encode_special_tokens = True  # "<s>" in a text is text
    try:
        assert made.decode(made.encode(text).ids, skip_special_tokens=True) == text
    finally:
        made.encode_special_tokens = False


@settings(max_examples=100, deadline=None)
@given(texts, texts)
def test_lines_are_tokenized_alone(made, a, b):
    alone = [made.encode(t, add_special_tokens=False).ids for t in (a, b)]
    assert made.encode(f"{a}\n{b}", add_special_tokens=False).ids == alone[0] + [made.token_to_id("\n")] + alone[1]


def test_the_same_texts_give_the_same_tokenizer(made):
    assert train_tokenizer(iter(TEXTS), 440).to_str() == made.to_str()


def test_special_tokens_and_bytes_come_first_and_nothing_is_unknown(made):
    assert [made.id_to_token(i) for i in range(4)] == ["<pad>", "<s>", "</s>", "<0x00>"]
    assert made.get_vocab_size() == 440
    assert made.encode("齉").tokens == ["<s>", "<0xE9>", "<0xBD>", "<0x89>"]


def test_a_word_is_one_form_after_space_line_and_beginning(made):
    first, second, third = (made.encode(t, add_special_tokens=False).tokens for t in ("chien", "un chien", "犬\nchien"))
    assert second[-len(first) :] == first == third[-len(first) :] and first[0].startswith("▁")
    assert made.encode("Japanese: 犬").tokens[-2:] == ["▁", "犬"]
    assert made.encode("Japanese:\n犬").tokens[-2:] == ["\n", "犬"]


def test_tokens_do_not_cross_scripts_digits_or_lines(made):
    assert all(sum(c.isdigit() for c in t) <= 1 for t in made.encode("1984 in 2024").tokens)
    for token in made.get_vocab():
        kinds = {unicodedata.name(c, "?").split()[0] for c in token if c.isalpha()} if not token.startswith("<") else set()
        assert len(kinds & {"CJK", "HIRAGANA", "KATAKANA", "LATIN"}) <= 1
        assert token == "\n" or "\n" not in token


@pytest.mark.parametrize("target", ["dog", "chien", "犬", "学校", "コンピュータ", "齉", "l'école"])
@pytest.mark.parametrize(("prompt", "joiner"), [("Japanese:", " "), ("dog\n", ""), ("x\nJapanese:", "\n")])
def test_target_spans_are_found_by_offsets(loaded, prompt, joiner, target):
    (code,) = tokens.encode_targets(loaded, [prompt], joiner, [target])
    assert loaded.decode(code.ids[code.start : code.stop]).strip() == target
    assert code.ids[0] == loaded.bos_token_id and code.stop == len(code.ids)


def test_word_starts(loaded):
    starts = tokens.word_starts(loaded, ["犬", "chien"])
    assert set(starts.values()) <= {"犬", "c", "ch", "chi", "chie", "chien", "C", "Ch"} and "犬" in starts.values()
    assert tokens.word_starts(loaded, ["齉"]) == {}


def test_too_small_a_vocabulary_is_refused():
    with pytest.raises(ValueError, match="a vocabulary of 300 has no room for 3 special tokens, 256 bytes and"):
        train_tokenizer(TEXTS, 300)


def test_the_wrapped_tokenizer_puts_its_beginning_first(made):
    assert as_transformers(made)("dog")["input_ids"][0] == 1
