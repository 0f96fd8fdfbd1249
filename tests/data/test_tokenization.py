import pytest
from datasets import Dataset

from staff_engine.data.templates import plain_text
from staff_engine.data.tokenization import tokenize_dataset, tokenize_sample
from staff_engine.data.tokens import open_tokens
from tests.helpers.tiny import make_tokenizer

BOS, EOS = 1, 2
GENERATION = (
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "A:{% generation %}{{ m.content }}|{% endgeneration %}"
    "{% else %}{{ m.role[0] }}:{{ m.content }}|{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}A:{% endif %}"
)
PREFIX = GENERATION.replace("{% generation %}", "").replace("{% endgeneration %}", "")
FORGETS = PREFIX.replace("{% for m in messages %}", "{% for m in messages[-2:] %}")
NO_SYSTEM = PREFIX.replace(
    "{% for m in messages %}",
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}",
)


def turns(*pairs):
    names = {"u": "user", "a": "assistant", "s": "system"}
    return [{"role": names[role], "content": content} for role, content in pairs]


PAIR = turns(("u", "hi"), ("a", "yo"))
TALK = turns(("s", "k"), ("u", "p"), ("a", "qq"), ("u", "r"), ("a", "t"))
PROMPT = "### Prompt:\nhi\n\n### Response:\n"


def ids(text):
    return [3 if character == "\n" else ord(character) - 28 for character in text]


def tokenize(sample, *, max_length=1000, conversation=False, **settings):
    return tokenize_sample(
        sample, make_tokenizer(**settings), max_length=max_length, conversation=conversation
    )


def responses(sample):
    """The response tokens as text, an end token as $."""
    marked = [i for i, m in zip(sample.input_ids, sample.response_mask, strict=True) if m]
    return "".join({EOS: "$", 3: "\n"}.get(i, chr(i + 28)) for i in marked)


def test_the_plain_template_has_a_heading_for_each_turn():
    assert plain_text([("prompt", "hi"), ("response", "yo")]) == PROMPT + "yo"


def test_a_pair_is_written_out_by_hand():
    sample = tokenize(PAIR)
    assert sample.input_ids == [BOS, *ids(PROMPT + "yo"), EOS]
    assert sample.response_mask == [False] * (1 + len(PROMPT)) + [True] * 3
    assert (sample.problem, sample.cut) == (None, False)


def test_the_plain_template_of_a_conversation_marks_every_response():
    sample = tokenize(TALK)
    text = "### System:\nk\n\n### Prompt:\np\n\n### Response:\nqq$\n\n### Prompt:\nr\n\n### Response:\nt$"
    assert sample.input_ids == [BOS, *(EOS if c == "$" else i for c, i in zip(text, ids(text), strict=True))]
    assert responses(sample) == "qq$t$"


def test_a_tokenizer_without_a_first_token_starts_with_the_text():
    assert tokenize(PAIR, bos_token=None).input_ids == [*ids(PROMPT + "yo"), EOS]


def test_special_tokens_in_a_text_are_text():
    sample = tokenize(turns(("u", "a</s>b<s>"), ("a", "<pad>")))
    assert sample.input_ids.count(BOS) == sample.input_ids.count(EOS) == 1
    assert 0 not in sample.input_ids
    assert responses(sample) == "<pad>$"


@pytest.mark.parametrize("template", [PREFIX, GENERATION])
def test_a_chat_template_is_used_for_conversations_with_every_response_marked(template):
    sample = tokenize(TALK, conversation=True, chat_template=template)
    assert sample.input_ids == ids("s:k|u:p|A:qq|u:r|A:t|")
    assert responses(sample) == "qq|t|"


def test_a_chat_template_is_not_used_for_pairs():
    assert tokenize(PAIR, chat_template=PREFIX) == tokenize(PAIR)


def test_a_template_that_writes_the_first_token_does_not_get_a_second():
    sample = tokenize(PAIR, conversation=True, chat_template="{{ bos_token }}" + PREFIX)
    assert sample.input_ids == [BOS, *ids("u:hi|A:yo|")]


def test_a_template_that_forgets_turns_falls_back_to_the_plain_one():
    assert tokenize(TALK, conversation=True, chat_template=FORGETS) == tokenize(TALK)


def test_the_templates_of_a_data_set_are_counted(tmp_path):
    conversations = [TALK, TALK[1:], TALK[:1] + TALK, TALK[1:]]
    rows = Dataset.from_list(
        [{"row_id": i, "turns": each, "problem": None} for i, each in enumerate(conversations)]
        + [{"row_id": 4, "turns": [], "problem": "line 5: no response"}]
    )
    tokenizer = make_tokenizer(chat_template=NO_SYSTEM)
    tokenize_dataset(rows, tokenizer, tmp_path / "tokens", max_length=99, conversation=True)
    assert open_tokens(tmp_path / "tokens").templates == {"folded": 1, "chat": 2, "plain": 1}


def test_the_prompt_is_cut_from_the_left_and_the_first_token_stays():
    sample = tokenize(PAIR, max_length=8)
    assert sample.input_ids == [BOS, *ids("se:\n"), *ids("yo"), EOS]
    assert responses(sample) == "yo$"
    assert not sample.cut


def test_a_response_that_does_not_fit_is_cut_on_the_right_and_counted():
    sample = tokenize(turns(("u", "hi"), ("a", "abcdefgh")), max_length=8)
    assert sample.cut
    assert len(sample.input_ids) == 8
    assert responses(sample) == "abcdef"


def test_the_last_response_of_a_conversation_is_kept_longest():
    sample = tokenize(TALK, max_length=24)
    assert len(sample.input_ids) == 24
    assert responses(sample).endswith("t$")


def test_what_fits_exactly_is_not_cut():
    whole = tokenize(PAIR)
    assert tokenize(PAIR, max_length=len(whole.input_ids)) == whole
    shorter = tokenize(PAIR, max_length=len(whole.input_ids) - 1)
    assert len(shorter.input_ids) == len(whole.input_ids) - 1


def test_a_first_token_is_never_marked_as_there_is_nothing_to_predict_it_from():
    sample = tokenize(
        turns(("a", "yo")), conversation=True, bos_token=None, chat_template="{{ messages[0].content }}"
    )
    assert sample.response_mask[0] is False


def test_a_data_set_keeps_row_ids_and_problems(tmp_path):
    rows = Dataset.from_list(
        [
            {"row_id": 0, "turns": PAIR, "problem": None},
            {"row_id": 1, "turns": [], "problem": "line 2: no response"},
            {"row_id": 2, "turns": TALK, "problem": None},
        ]
    )
    seen = []
    tokenize_dataset(
        rows, make_tokenizer(), tmp_path / "t", max_length=99, conversation=False, on_progress=seen.append
    )
    tokens = open_tokens(tmp_path / "t")
    assert tokens.row_ids.tolist() == [0, 2]
    assert tokens.problems == {1: "line 2: no response"}
    assert tokens[0].input_ids.tolist() == tokenize(PAIR).input_ids
    assert tokens[1].response_mask.tolist() == tokenize(TALK).response_mask
    assert tokens.cut == 0
    assert sum(seen) == 3
