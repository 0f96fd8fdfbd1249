"""A conversation as the text of a chat template, cut into prompts and responses.

The whole conversation is rendered once. Where a template marks what an assistant says ({% generation %}),
the marks are used. Other templates are rendered a second time with a placeholder in place of each response:
the text around the placeholders is found again in the first rendering, and what lies between is a response.
So a template can shorten a response (Qwen3 and R1 drop the thinking of earlier turns) and is still cut
where responses begin and end.

A response begins behind what the template writes before an assistant's words, and ends with the token that
closes the turn; a line end behind this token belongs to no one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from staff_engine.data.turns import Turn, is_response

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Piece = tuple[str, bool]  # text, and whether it is a response
Span = tuple[int, int]  # first character, and the one behind the last

How = Literal["chat", "folded", "plain"]
"""The chat template; the chat template with the system text in the first user turn; the plain template."""

ROLE_NAMES = {"user": "prompt", "assistant": "response"}
QUESTION, ANSWER = "\u241equestion\u241e", "\u241eanswer {}\u241e"
"""Placeholders. No data contains the symbol for a record separator by chance."""

THINKING_START, THINKING_END = "<think>", "</think>"
_PART = re.compile(r"""['"]type['"]: ?['"]text['"]""")
_MARK = re.compile(r"{%-?\s*generation\s*-?%}")


@dataclass(frozen=True)
class Prepared:
    """A sample as pieces of text, and the template that they come from."""

    pieces: list[Piece]
    how: How


def plain_text(turns: Iterable[tuple[str, str]]) -> str:
    """The plain template: a heading and a text for each turn, and a blank line between turns."""
    return "\n\n".join(f"### {role.capitalize()}:\n{text}" for role, text in turns)


def plain_pieces(turns: Sequence[Turn]) -> list[Piece]:
    """Split the plain template where responses begin and end."""
    pieces: list[Piece] = []
    context = ""
    for turn in turns:
        role: str = turn["role"]
        name = ROLE_NAMES.get(role, role)
        heading = plain_text([(name, "")])
        if is_response(turn):
            pieces += [(context + heading, False), (turn["content"], True)]
            context = "\n\n"
        else:
            context += heading + turn["content"] + "\n\n"
    return pieces


class ChatTemplate:
    """The chat template of a tokenizer. Make it once, then cut many conversations.

    Parameters
    ----------
    tokenizer
        A tokenizer with a chat template.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._text = tokenizer.get_chat_template()
        self._marked = bool(_MARK.search(self._text))
        self._openings: dict[Callable[..., Any], str] = {}
        special = sorted({*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, special))) if special else None

    def prepare(self, turns: Sequence[Turn]) -> Prepared:
        """Cut a conversation with the first way that keeps every text; else use the plain template.

        The ways are: as it is; with each content as a list of parts, which templates of multimodal models
        expect; and both again with the system text in the first user turn, which templates without system
        turns need.
        """
        ways: list[tuple[How, Sequence[Turn]]] = [("chat", turns)]
        folded = _folded(turns)
        if folded:
            ways.append(("folded", folded))
        for how, given in ways:
            for content in (_as_text, _as_parts):
                pieces = self._cut(given, content)
                if pieces is not None:
                    return Prepared(pieces, how)
        return Prepared(plain_pieces(turns), "plain")

    def _cut(self, turns: Sequence[Turn], content: Callable[[str], Any]) -> list[Piece] | None:
        """The pieces of the rendered conversation; None if it is refused, or a text is missing in it."""
        whole = self._render(turns, content)
        if whole is None or (content is _as_parts and _PART.search(whole)):
            return None  # refused, or written out as a list
        spans = self._marked_spans(turns, content) if self._marked else None
        if spans is None or not _complete(turns, whole, spans):
            spans = self._spans(turns, content, whole)
        if spans is None or not _complete(turns, whole, spans):
            return None
        trained = [is_response(turn) for turn in turns if turn["role"] == "assistant"]
        return _pieces(whole, [span for span, kept in zip(spans, trained, strict=True) if kept])

    def _marked_spans(self, turns: Sequence[Turn], content: Callable[[str], Any]) -> list[Span]:
        """What the template itself marks as an assistant's."""
        from transformers.utils.chat_template_utils import render_jinja_template

        _, spans = render_jinja_template(
            conversations=[_given(turns, content)],
            chat_template=self._text,
            return_assistant_tokens_mask=True,
            **self._tokenizer.special_tokens_map,
        )
        return [(start, end) for start, end in spans[0]]

    def _spans(self, turns: Sequence[Turn], content: Callable[[str], Any], whole: str) -> list[Span] | None:
        """Where the responses are, by a rendering with placeholders; None if the two do not match."""
        answers = [ANSWER.format(index) for index, turn in enumerate(turns) if turn["role"] == "assistant"]
        left = iter(answers)
        empty = self._render(
            [{**turn, "content": next(left)} if turn["role"] == "assistant" else turn for turn in turns],
            content,
        )
        between = _split(empty, answers)
        if between is None:
            return None
        opening = self._opening(content)
        starts: list[Span] = []
        place = 0
        for text in between[:-1]:
            start = self._head(whole, text, opening, place)
            if start is None or (not starts and start[0]):
                return None
            starts.append(start)
            place = start[1]
        if len(whole) - len(between[-1]) < place or not whole.endswith(between[-1]):
            return None
        ends = [*(found for found, _ in starts[1:]), len(whole) - len(between[-1])]
        return [
            (start, end + len(self._closed(text, between[-1])))
            for (_, start), end, text in zip(starts, ends, between[1:], strict=True)
        ]

    def _head(self, whole: str, text: str, opening: str, place: int) -> Span | None:
        """The text before a response up to the end of its opening, in the rendering from a place on.

        An opening can depend on the answer: it has an empty thinking only if the answer has none itself.
        Then it ends before the thinking.
        """
        head = _through_last(text, opening)
        found = whole.find(head, place)
        if found >= 0:
            return found, found + len(head)
        before = head.removesuffix(opening)
        found = whole.find(before, place) if 0 < len(before) < len(head) else -1
        if found < 0:
            return None
        start = found + len(before)
        shared = self._whole_tokens(_shared_start(opening, whole[start:]), opening)
        return found, start + len(shared.partition(THINKING_START)[0])

    def _opening(self, content: Callable[[str], Any]) -> str:
        """What the template writes between a question and its answer, as far as a prompt has it too."""
        if content not in self._openings:
            question = {"role": "user", "content": QUESTION}
            asked = self._render([question], content) or ""
            prompt = self._render([question], content, prompt=True) or ""
            answered = self._render([question, {"role": "assistant", "content": ANSWER}], content) or ""
            before_answer = answered.partition(QUESTION)[2].partition(ANSWER)[0]
            if prompt == asked:  # the template has no prompt for a response
                self._openings[content] = before_answer.rstrip()
            else:
                added = prompt.removeprefix(asked)
                shared = _shared_start(prompt.partition(QUESTION)[2], before_answer)
                shared = max(shared, _through_words(before_answer, added), key=len)
                self._openings[content] = self._whole_tokens(shared, before_answer)
        return self._openings[content]

    def _whole_tokens(self, start: str, text: str) -> str:
        """The start of a text, without the first part of a special token at its end."""
        for token in self._special.finditer(text) if self._special else ():
            if token.start() < len(start) < token.end():
                return text[: token.start()]
        return start

    def _closed(self, text: str, last: str) -> str:
        """What closes a response, at the start of the text behind it: a special token, or as for the last."""
        space = len(text) - len(text.lstrip())
        token = self._special.match(text, space) if self._special else None
        if token:
            return text[: token.end()]
        shared = _shared_start(text, last)
        return shared.rstrip() or shared

    def _render(
        self, turns: Sequence[Turn], content: Callable[[str], Any], *, prompt: bool = False
    ) -> str | None:
        from jinja2 import TemplateError

        try:
            return str(
                self._tokenizer.apply_chat_template(
                    _given(turns, content), tokenize=False, add_generation_prompt=prompt
                )
            )
        except (TemplateError, TypeError, ValueError, IndexError, KeyError, AttributeError):
            # A template can fail in any of these ways. An older transformers raises IndexError for no
            # turns, where a newer raises ValueError.
            return None


def _given(turns: Sequence[Turn], content: Callable[[str], Any]) -> list[dict[str, Any]]:
    return [{"role": turn["role"], "content": content(turn["content"])} for turn in turns]


def _as_text(text: str) -> str:
    return text


def _as_parts(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}]


def _folded(turns: Sequence[Turn]) -> list[Turn] | None:
    """The conversation with its first system text at the start of the first user turn; None without both."""
    if len(turns) < 2 or turns[0]["role"] != "system" or turns[1]["role"] != "user":
        return None
    system, user, *rest = turns
    return [{**user, "content": f"{system['content']}\n\n{user['content']}"}, *rest]


def _split(text: str | None, answers: Sequence[str]) -> list[str] | None:
    """The texts between the placeholders; None if one is missing, or there is none."""
    between = []
    for answer in answers:
        if text is None:
            return None
        before, found, text = text.partition(answer)
        if not found:
            return None
        between.append(before)
    return [*between, text] if between and text is not None else None


def _shared_start(one: str, other: str) -> str:
    """The longest text that both start with."""
    for place, (mine, its) in enumerate(zip(one, other, strict=False)):
        if mine != its:
            return one[:place]
    return min(one, other, key=len)


def _through_words(text: str, added: str) -> str:
    """The text up to the end of what a prompt adds for a response; "" without it.

    White space before it can differ, in a template that is written with indentation.
    """
    before, words, behind = text.rpartition(added.strip()) if added.strip() else ("", "", "")
    return before + words + _shared_start(added[len(added.rstrip()) :], behind) if words else ""


def _through_last(text: str, opening: str) -> str:
    """The text up to the end of the last opening in it; all of it without one."""
    found = text.rfind(opening) if opening else -1
    return text[: found + len(opening)] if found >= 0 else text


def _complete(turns: Sequence[Turn], whole: str, spans: Sequence[Span]) -> bool:
    """Whether every text of the conversation is in the rendering, and each response in its span.

    Of a response with thinking, only what follows the thinking must be there.
    """
    answers = [turn["content"] for turn in turns if turn["role"] == "assistant"]
    if len(answers) != len(spans):
        return False
    said = all(
        answer.rpartition(THINKING_END)[2].strip() in whole[start:end]
        for answer, (start, end) in zip(answers, spans, strict=True)
    )
    others = (turn["content"].strip() for turn in turns if turn["role"] != "assistant")
    return said and all(text in whole for text in others)


def _pieces(whole: str, spans: Sequence[Span]) -> list[Piece]:
    """The text as pieces, prompts and responses in turn, up to the end of the last response."""
    pieces: list[Piece] = []
    place = 0
    for start, end in spans:
        pieces += [(whole[place:start], False), (whole[start:end], True)]
        place = end
    return pieces
