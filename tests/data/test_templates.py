"""Chat templates: the tokens with loss are exactly the assistants'.

The templates are written for these tests. Each behaves like the family that it is named after.
"""

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from staff_engine.data.templates import ChatTemplate
from staff_engine.data.tokenization import tokenize_sample
from tests.helpers.tiny import make_tokenizer

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CHATML_MARKED = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}<|im_end|>"
    "{% endif %}{{ '\n' }}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN3 = (  # drops the thinking of turns before the last question; an answer without any gets an empty one
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
    "{% set parts = m.content.split('</think>') %}{% set answer = parts[-1].lstrip('\n') %}"
    "{% if loop.index0 > ns.last %}<think>\n"
    "{% if parts|length > 1 %}{{ parts[0].replace('<think>', '').strip() }}{% endif %}"
    "{{ '\n</think>\n\n' }}{% endif %}{{ answer }}{% else %}{{ m.content }}{% endif %}"
    "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
R1 = (  # drops all thinking, and its prompt opens a new one
    "<BOS>{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}"
    "<|User|>{{ m.content }}{% else %}<|Assistant|>{{ m.content.split('</think>')[-1].strip() }}<EOS>"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|Assistant|><think>\n{% endif %}"
)
GEMMA = (  # refuses a system turn
    "<BOS>{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('must alternate') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
MISTRAL = (  # refuses a system turn, and has no words of its own before an answer
    "<BOS>{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% elif m.role == 'assistant' %} {{ m.content }}<EOS>{% else %}{{ raise_exception('no system role') }}"
    "{% endif %}{% endfor %}"
)
LLAMA3 = (
    "<BOS>{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
PHI4 = (
    "{% for m in messages %}<|im_start|>{{ m.role }}<|im_sep|>{{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant<|im_sep|>{% endif %}"
)
HARMONY = (  # closes the last answer otherwise than those before it
    "{% for m in messages %}<|start|>{{ m.role }}{% if m.role == 'assistant' %}<|channel|>final{% endif %}"
    "<|message|>{{ m.content }}{% if loop.last and m.role == 'assistant' %}"
    "<|return|>{% else %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
AS_PARTS = (  # reads the parts of a content and nothing else, as multimodal models do
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for part in m.content %}{% if part.type == 'text' %}"
    "{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DROPS_SYSTEM = "{% set messages = messages | rejectattr('role', 'equalto', 'system') %}" + CHATML
SPECIAL = [
    "<BOS>", "<EOS>", "<|im_start|>", "<|im_end|>", "<|im_sep|>", "<|User|>", "<|Assistant|>",
    "<start_of_turn>", "<end_of_turn>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
    "<|start|>", "<|end|>", "<|return|>", "<|message|>", "<|channel|>",
]  # fmt: skip

SYSTEM, ASK, SAY, ASK_AGAIN, SAY_AGAIN = "Be brief.", "What is 1?", "A number.", "And 2?", "One more."
TALK = [
    ("system", SYSTEM), ("user", ASK), ("assistant", SAY), ("user", ASK_AGAIN), ("assistant", SAY_AGAIN),
]  # fmt: skip
THOUGHT = [
    ("user", ASK), ("assistant", f"<think>\nhm\n</think>\n\n{SAY}"),
    ("user", ASK_AGAIN), ("assistant", f"<think>\noh\n</think>\n\n{SAY_AGAIN}"),
]  # fmt: skip


def make_chat_tokenizer(template, *, metaspace=False):
    """One token a character, but for special tokens. With `metaspace`, a space before every text."""
    characters = [*map(chr, range(32, 127)), "\n", "▁"]
    ids = {token: place for place, token in enumerate([*SPECIAL, *characters])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=" "))
    letters = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    space = [pre_tokenizers.Metaspace(prepend_scheme="always", split=False)] if metaspace else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*space, letters])
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<BOS>", eos_token="<EOS>", chat_template=template,
        additional_special_tokens=SPECIAL[2:],
    )  # fmt: skip


def turns_of(talk):
    return [{"role": role, "content": content} for role, content in talk]


def tokenized(template, talk, *, metaspace=False):
    """The sample, its text, and the texts of the runs of tokens with loss."""
    tokenizer = make_chat_tokenizer(template, metaspace=metaspace)
    sample = tokenize_sample(turns_of(talk), tokenizer, max_length=9999, conversation=True)
    tokens = tokenizer.convert_ids_to_tokens(sample.input_ids)
    runs = [""]
    for token, is_response in zip(tokens, sample.response_mask, strict=True):
        if is_response:
            runs[-1] += token
        elif runs[-1]:
            runs.append("")
    return sample, "".join(tokens), [run for run in runs if run]


EACH = {
    "ChatML": (CHATML, [f"{SAY}<|im_end|>", f"{SAY_AGAIN}<|im_end|>"]),
    "ChatML, marked": (CHATML_MARKED, [f"{SAY}<|im_end|>", f"{SAY_AGAIN}<|im_end|>"]),
    "Qwen3": (QWEN3, [f"{SAY}<|im_end|>", f"<think>\n\n</think>\n\n{SAY_AGAIN}<|im_end|>"]),
    "R1": (R1, [f"{SAY}<EOS>", f"{SAY_AGAIN}<EOS>"]),
    "Gemma": (GEMMA, [f"{SAY}<end_of_turn>", f"{SAY_AGAIN}<end_of_turn>"]),
    "Mistral": (MISTRAL, [f" {SAY}<EOS>", f" {SAY_AGAIN}<EOS>"]),
    "Llama 3": (LLAMA3, [f"{SAY}<|eot_id|>", f"{SAY_AGAIN}<|eot_id|>"]),
    "Phi-4": (PHI4, [f"{SAY}<|im_end|>", f"{SAY_AGAIN}<|im_end|>"]),
    "Harmony": (
        HARMONY,
        [f"<|channel|>final<|message|>{SAY}<|end|>", f"<|channel|>final<|message|>{SAY_AGAIN}<|return|>"],
    ),
    "parts": (AS_PARTS, [f"{SAY}<|im_end|>", f"{SAY_AGAIN}<|im_end|>"]),
    "drops the system": (DROPS_SYSTEM, [f"{SAY}<|im_end|>", f"{SAY_AGAIN}<|im_end|>"]),
}


@pytest.mark.parametrize("name", EACH)
def test_the_tokens_with_loss_are_the_assistants_and_no_text_is_lost(name):
    template, responses = EACH[name]
    sample, text, runs = tokenized(template, TALK)
    assert runs == responses
    assert all(words in text for words in (SYSTEM, ASK, ASK_AGAIN))
    assert sample.template == ("folded" if name in ("Gemma", "Mistral", "drops the system") else "chat")


@pytest.mark.parametrize("name", [name for name in EACH if name not in ("Gemma", "Mistral")])
def test_without_a_system_turn_the_text_is_that_of_the_template(name):
    template, responses = EACH[name]
    sample, text, runs = tokenized(template, TALK[1:])
    content = [
        {**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in turns_of(TALK[1:])
    ]
    whole = make_chat_tokenizer(template).apply_chat_template(
        content if name == "parts" else turns_of(TALK[1:]), tokenize=False
    )
    assert runs == responses
    assert whole.startswith(text) and not whole.removeprefix(text).strip()
    assert sample.template == "chat"


@pytest.mark.parametrize(
    ("template", "responses"),
    [
        (CHATML, [f"{content}<|im_end|>" for role, content in THOUGHT if role == "assistant"]),
        (QWEN3, [f"{SAY}<|im_end|>", f"<think>\noh\n</think>\n\n{SAY_AGAIN}<|im_end|>"]),
        (R1, [f"{SAY}<EOS>", f"{SAY_AGAIN}<EOS>"]),
    ],
)
def test_thinking_is_kept_where_the_template_keeps_it(template, responses):
    sample, _, runs = tokenized(template, THOUGHT)
    assert runs == responses
    assert sample.template == "chat"


EMPTY_THINKING = (  # opens answers with an empty thinking, unless they have their own; drops earlier ones
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
    "{% set parts = m.content.split('</think>') %}"
    "{% if loop.index0 > ns.last %}<think>\n"
    "{{ parts[0].replace('<think>', '').strip() if parts|length > 1 }}{{ '\n</think>\n\n' }}{% endif %}"
    "{{ parts[-1].lstrip('\n') }}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n\n</think>\n\n{% endif %}"
)
INDENTED = """<BOS>{% for m in messages %}
    {% if m.role == 'user' %}
        {{ '<start_of_turn>user\n' + m.content + '<end_of_turn>\n' }}
    {% else %}
        {{ '<start_of_turn>model\n' + m.content + '<end_of_turn>\n' }}
    {% endif %}
{% endfor %}
{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"""


def test_an_opening_with_an_empty_thinking_is_none_for_an_answer_with_its_own():
    sample, text, runs = tokenized(EMPTY_THINKING, THOUGHT)
    assert runs == [f"{SAY}<|im_end|>", f"<think>\noh\n</think>\n\n{SAY_AGAIN}<|im_end|>"]
    assert sample.template == "chat" and text.count("<|im_start|>assistant\n") == 2
    runs = tokenized(EMPTY_THINKING, TALK)[2]
    assert runs == [f"{SAY}<|im_end|>", f"{SAY_AGAIN}<|im_end|>"]


def test_white_space_of_an_indented_template_moves_no_mask():
    _, text, runs = tokenized(INDENTED, TALK[1:])
    assert runs == [f"{SAY}<end_of_turn>", f"{SAY_AGAIN}<end_of_turn>"]
    assert "\n        <start_of_turn>model\n" in text


THINKING, THINKING_AGAIN = "<think>\nhm\n</think>\n\n", "<think>\noh\n</think>\n\n"
LONG = [
    ("system", SYSTEM), ("user", ASK), ("assistant", THINKING + SAY), ("user", ASK_AGAIN),
    ("assistant", THINKING_AGAIN + SAY_AGAIN), ("user", ASK), ("assistant", THINKING + SAY),
]  # fmt: skip
WHOLE = {  # all that each template makes of this, by hand; what is in double brackets has loss
    "ChatML": f"<|im_start|>system\n{SYSTEM}<|im_end|>\n"
    f"<|im_start|>user\n{ASK}<|im_end|>\n<|im_start|>assistant\n[[{THINKING}{SAY}<|im_end|>]]\n"
    f"<|im_start|>user\n{ASK_AGAIN}<|im_end|>\n"
    f"<|im_start|>assistant\n[[{THINKING_AGAIN}{SAY_AGAIN}<|im_end|>]]\n"
    f"<|im_start|>user\n{ASK}<|im_end|>\n<|im_start|>assistant\n[[{THINKING}{SAY}<|im_end|>]]",
    "Qwen3": f"<|im_start|>system\n{SYSTEM}<|im_end|>\n"
    f"<|im_start|>user\n{ASK}<|im_end|>\n<|im_start|>assistant\n[[{SAY}<|im_end|>]]\n"
    f"<|im_start|>user\n{ASK_AGAIN}<|im_end|>\n<|im_start|>assistant\n[[{SAY_AGAIN}<|im_end|>]]\n"
    f"<|im_start|>user\n{ASK}<|im_end|>\n<|im_start|>assistant\n[[{THINKING}{SAY}<|im_end|>]]",
    "R1": f"<BOS>{SYSTEM}<|User|>{ASK}<|Assistant|>[[{SAY}<EOS>]]"
    f"<|User|>{ASK_AGAIN}<|Assistant|>[[{SAY_AGAIN}<EOS>]]<|User|>{ASK}<|Assistant|>[[{SAY}<EOS>]]",
    "Gemma": f"<BOS><start_of_turn>user\n{SYSTEM}\n\n{ASK}<end_of_turn>\n"
    f"<start_of_turn>model\n[[{THINKING}{SAY}<end_of_turn>]]\n"
    f"<start_of_turn>user\n{ASK_AGAIN}<end_of_turn>\n"
    f"<start_of_turn>model\n[[{THINKING_AGAIN}{SAY_AGAIN}<end_of_turn>]]\n"
    f"<start_of_turn>user\n{ASK}<end_of_turn>\n<start_of_turn>model\n[[{THINKING}{SAY}<end_of_turn>]]",
    "Mistral": f"<BOS>[INST] {SYSTEM}\n\n{ASK} [/INST][[ {THINKING}{SAY}<EOS>]]"
    f"[INST] {ASK_AGAIN} [/INST][[ {THINKING_AGAIN}{SAY_AGAIN}<EOS>]]"
    f"[INST] {ASK} [/INST][[ {THINKING}{SAY}<EOS>]]",
    "Llama 3": f"<BOS><|start_header_id|>system<|end_header_id|>\n\n{SYSTEM}<|eot_id|>"
    f"<|start_header_id|>user<|end_header_id|>\n\n{ASK}<|eot_id|>"
    f"<|start_header_id|>assistant<|end_header_id|>\n\n[[{THINKING}{SAY}<|eot_id|>]]"
    f"<|start_header_id|>user<|end_header_id|>\n\n{ASK_AGAIN}<|eot_id|>"
    f"<|start_header_id|>assistant<|end_header_id|>\n\n[[{THINKING_AGAIN}{SAY_AGAIN}<|eot_id|>]]"
    f"<|start_header_id|>user<|end_header_id|>\n\n{ASK}<|eot_id|>"
    f"<|start_header_id|>assistant<|end_header_id|>\n\n[[{THINKING}{SAY}<|eot_id|>]]",
    "Phi-4": f"<|im_start|>system<|im_sep|>{SYSTEM}<|im_end|>"
    f"<|im_start|>user<|im_sep|>{ASK}<|im_end|>"
    f"<|im_start|>assistant<|im_sep|>[[{THINKING}{SAY}<|im_end|>]]"
    f"<|im_start|>user<|im_sep|>{ASK_AGAIN}<|im_end|>"
    f"<|im_start|>assistant<|im_sep|>[[{THINKING_AGAIN}{SAY_AGAIN}<|im_end|>]]"
    f"<|im_start|>user<|im_sep|>{ASK}<|im_end|>"
    f"<|im_start|>assistant<|im_sep|>[[{THINKING}{SAY}<|im_end|>]]",
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_system_turn_several_turns_and_thinking_at_once_are_cut_as_by_hand(name):
    tokenizer = make_chat_tokenizer(EACH[name][0])
    sample = tokenize_sample(turns_of(LONG), tokenizer, max_length=9999, conversation=True)
    found, inside = "", False
    tokens = tokenizer.convert_ids_to_tokens(sample.input_ids)
    for token, is_response in zip([*tokens, ""], [*sample.response_mask, False], strict=True):
        if is_response != inside:
            found += "[[" if is_response else "]]"
            inside = is_response
        found += token
    assert found == WHOLE[name]


def test_the_mask_is_that_of_transformers_where_a_template_marks_responses():
    tokenizer = make_chat_tokenizer(CHATML_MARKED)
    given = tokenizer.apply_chat_template(
        turns_of(TALK), tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    sample = tokenize_sample(turns_of(TALK), tokenizer, max_length=9999, conversation=True)
    length = len(sample.input_ids)
    assert sample.input_ids == given["input_ids"][:length]
    assert sample.response_mask == [bool(mark) for mark in given["assistant_masks"][:length]]
    assert not any(given["assistant_masks"][length:])  # the line end behind the last turn


@pytest.mark.parametrize("name", ["ChatML", "Mistral", "Llama 3"])
def test_a_tokenizer_that_adds_a_space_before_a_text_adds_none_to_a_response(name):
    template, responses = EACH[name]
    _, _, runs = tokenized(template, TALK, metaspace=True)
    assert [run.replace("▁", " ") for run in runs] == responses


def test_in_the_plain_template_such_a_tokenizer_adds_none_either():
    _, text, runs = tokenized(None, TALK, metaspace=True)
    assert runs == [f"{SAY.replace(' ', '▁')}<EOS>", f"{SAY_AGAIN.replace(' ', '▁')}<EOS>"]
    assert text.startswith("<BOS>▁###▁System:")


@pytest.mark.parametrize("template", [CHATML, PHI4, QWEN3])
def test_no_first_token_is_put_before_a_template_that_has_none(template):
    _, text, _ = tokenized(template, TALK)
    assert text.startswith("<|im_start|>system")


def test_a_question_that_quotes_an_answer_moves_no_mask():
    talk = [("user", f"Say {SAY} twice"), ("assistant", SAY), ("user", SAY), ("assistant", f"{SAY} {SAY}")]
    assert tokenized(CHATML, talk)[2] == [f"{SAY}<|im_end|>", f"{SAY} {SAY}<|im_end|>"]


def test_an_assistant_that_speaks_first_or_twice_is_cut_all_the_same():
    talk = [("assistant", SAY), ("user", ASK), ("assistant", SAY), ("assistant", SAY_AGAIN)]
    expected = [f"{SAY}<|im_end|>", f"{SAY}<|im_end|>", f"{SAY_AGAIN}<|im_end|>"]
    assert tokenized(CHATML, talk)[2] == expected


def test_turns_that_a_template_refuses_get_the_plain_template():
    sample, text, runs = tokenized(GEMMA, [("user", ASK), ("user", ASK_AGAIN), ("assistant", SAY)])
    assert sample.template == "plain"
    assert text.startswith("<BOS>### Prompt:") and runs == [f"{SAY}<EOS>"]


def test_a_template_that_drops_an_answer_is_not_used():
    template = "{% for m in messages %}{{ m.role }}: {{ m.content[:3] }}\n{% endfor %}"
    assert tokenized(template, TALK[1:])[0].template == "plain"


def test_a_template_of_the_simplest_kind_is_cut_where_the_text_changes_hands():
    template = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}|{% endfor %}"
    pieces = ChatTemplate(make_tokenizer(chat_template=template)).prepare(turns_of(TALK)).pieces
    assert pieces == [
        ("s:Be brief.|u:What is 1?|a:", False), (f"{SAY}|", True),
        ("u:And 2?|a:", False), (f"{SAY_AGAIN}|", True),
    ]  # fmt: skip
