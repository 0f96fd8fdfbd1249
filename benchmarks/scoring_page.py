"""The page on the speed of scoring, from the file of `benchmarks.scoring`."""

from __future__ import annotations

from typing import Any

from benchmarks.machine import written_by

HEAD_WORDS = """# Speed of scoring

After reading this page, you know how fast samples are scored, compared with the model's own forward pass
and with the released code, and how much memory scoring needs.

{written} {threads} threads, seed {seed}. All cases take turns on the same batches (at most
{tokens_per_batch:,} tokens), in one process. A ratio compares the sums over the batches; it is the median
of {repeats}. Samples per second apply only to that machine at that time. In every case the model has a LoRA
adapter (rank 8) that is not zero.

- *Ours* is the scoring of this engine, with `--scored-parameters` `all` or `last_block`.
- *Released way* scores one sample at a time: two backward passes into the last block's LoRA, logits at all
  positions, float32.
- *Floor of the arithmetic* does only the necessary matrix products: those of the backbone, of the head
  forward and backward at response positions, and of the backward pass of one block.
"""

MEMORY_WORDS = """## Memory of `all`

Peak memory of the longest batch in float32, in MB, minus the memory of the process before it. It is the
value of the operating system (VmHWM, reset before the pass) for a process that does nothing else."""

BATCH_WORDS = """## Tokens in a batch

Samples per second in float32, by the maximum number of tokens in a batch: the better of two measurements,
with 100 docstrings or 8 samples of other data."""


def page(found: dict[str, Any]) -> str:
    """The text of the measured page, from the content of its JSON file."""
    written = written_by(found, "scoring.json")
    parts = [HEAD_WORDS.format(**found, written=written)]
    for speed in found.get("speed", []):
        parts += [speed_words(speed), ratio_table(speed), speed_table(speed)]
    if "memory" in found:
        parts += [MEMORY_WORDS, memory_table(found["memory"])]
    if "batches" in found:
        parts += [BATCH_WORDS, batch_table(found["batches"])]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def speed_words(speed: dict[str, Any]) -> str:
    return (
        f"## {speed['name']}, {speed['samples']:,} samples\n\n{speed['tokens']:,} tokens, "
        f"{speed['response_tokens']:,} of them in responses, {speed['batches']} batches."
    )


def ratio_table(speed: dict[str, Any]) -> str:
    lines = ["| format | case | compared with | times as fast | goal |", "|---|---|---|---|---|"]
    for dtype, ours, other, ratio, goal in speed["ratios"]:
        lines.append(f"| {dtype} | {ours} | {other} | {ratio:.2f} | {'' if goal is None else goal} |")
    return "\n".join(lines)


def speed_table(speed: dict[str, Any]) -> str:
    rates = speed["samples_a_second"]
    dtypes = dict.fromkeys(key.partition(": ")[0] for key in rates)
    lines = ["| samples per second | " + " | ".join(dtypes) + " |", "|---|" + "---|" * len(dtypes)]
    for name in dict.fromkeys(key.partition(": ")[2] for key in rates):
        cells = [rates.get(f"{dtype}: {name}") for dtype in dtypes]
        lines.append(
            f"| {name} | " + " | ".join("" if cell is None else f"{cell:g}" for cell in cells) + " |"
        )
    return "\n".join(lines)


def memory_table(memory: list[dict[str, Any]]) -> str:
    lines = ["| model | ours, all | plain pass | ours / plain |", "|---|---|---|---|"]
    for each in memory:
        ours, plain = each["ours, all"], each["plain forward and backward with LoRA"]
        lines.append(f"| {each['name']} | {ours:,.0f} | {plain:,.0f} | {ours / plain:.2f} |")
    return "\n".join(lines)


def batch_table(batches: list[dict[str, Any]]) -> str:
    sizes = list(batches[0]["last_block"])
    lines = ["| model | scored | " + " | ".join(f"{int(size):,}" for size in sizes) + " |"]
    lines.append("|---|---|" + "---|" * len(sizes))
    for each in batches:
        for which in ("last_block", "all"):
            cells = " | ".join(f"{each[which][size]:g}" for size in sizes)
            lines.append(f"| {each['name']} | {which} | {cells} |")
    return "\n".join(lines)
