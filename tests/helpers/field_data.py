"""Rows as people bring them, and what an import made of them."""

import json

ALPACA = [{"instruction": f"do {i}", "input": "", "output": f"done {i}"} for i in range(4)]


def lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def texts(imported):
    """Role and text of every turn of every row."""
    return [[(turn["role"], turn["content"]) for turn in turns] for turns in imported.rows["turns"]]


def trained(imported):
    """The texts of the turns that are in the loss."""
    return [
        [turn["content"] for turn in turns if turn["role"] == "assistant" and turn["trained"] is not False]
        for turns in imported.rows["turns"]
    ]


def problems(imported):
    return [problem for problem in imported.rows["problem"] if problem]


def chat(*turns, **more):
    return {"messages": [{"role": role, "content": text} for role, text in turns], **more}
