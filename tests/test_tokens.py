import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_pivots import tokens

sequences = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=8)


@given(sequences)
def test_tree_holds_every_sequence_and_each_node_sees_its_own_beginning(seqs):
    tree = tokens.token_tree(seqs)
    for sequence, path in zip(seqs, tree.paths):
        assert tree.ids[list(path)].tolist() == sequence
        assert tree.depth[list(path)].tolist() == list(range(len(sequence)))
        for i, node in enumerate(path):
            assert set(tree.visible[node].nonzero()[0]) == set(path[: i + 1])
    assert len(tree) == len({tuple(s[: i + 1]) for s in seqs for i in range(len(s))})


@given(sequences)
def test_common_prefix_is_the_longest_shared_beginning(seqs):
    n = tokens.common_prefix(seqs)
    assert all(s[:n] == seqs[0][:n] for s in seqs)
    assert any(len(s) == n for s in seqs) or len({s[n] for s in seqs}) > 1


@pytest.mark.parametrize(
    ("target", "pieces"),
    [
        ("dog", ["▁", "d", "o", "g"]),
        ("犬", ["▁犬"]),  # the space belongs to the word's token
        ("猫", ["猫"]),  # a bare space token before the word is not scored
        ("齉", ["<0xE9>", "<0xBD>", "<0x89>"]),  # three byte tokens, one character
    ],
)
def test_target_span_follows_characters(tokenizer, target, pieces):
    (encoded,) = tokens.encode_targets(tokenizer, ["Please:"], " ", [target])
    span = tokenizer.convert_ids_to_tokens(encoded.ids[encoded.start : encoded.stop])
    assert span == pieces or span == pieces[1:]
    assert encoded.stop == len(encoded.ids)
    assert encoded.ids[0] == tokenizer.bos_token_id


def test_a_word_that_tokenizes_to_nothing_is_named(tokenizer):
    with pytest.raises(ValueError, match="'' tokenizes to nothing"):
        tokens.encode_targets(tokenizer, ["a:"], " ", [""])


def test_lengths_must_agree(tokenizer):
    with pytest.raises(ValueError, match="1 prompts for 2 targets"):
        tokens.encode_targets(tokenizer, ["a"], " ", ["b", "c"])


def test_word_starts_leave_out_bytes(tokenizer):
    assert tokens.word_starts(tokenizer, ["齉"]) == {}
    starts = tokens.word_starts(tokenizer, ["犬"])
    assert set(tokenizer.convert_ids_to_tokens(list(starts))) == {"犬", "▁犬"}
    assert set(starts.values()) == {"犬"}
