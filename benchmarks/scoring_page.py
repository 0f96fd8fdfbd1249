"""The page on how fast samples are scored, from the file that `benchmarks.scoring` wrote."""

from __future__ import annotations

from typing import Any

from benchmarks.machine import written_by

HEAD_WORDS = """# How fast samples are scored

{written} {threads} threads, seed {seed}. All cases take the same
batches (at most {tokens_per_batch:,} tokens) in turns, in one process; a ratio is that of the sums over the
batches, the median of {repeats}. Samples a second
hold for that machine at that moment only. The model has a LoRA adapter (rank 8) that is not zero, in every
case.

- *Released way*: one sample at a time, two backward passes into the last block's LoRA, logits
  everywhere, float32.
- *Floor*: only the products of the backbone, of the head forward and backward at response positions, and of
  the backward pass of one block.
"""

MEMORY_WORDS = """## Memory of `all`

Peak of the longest batch in float32 above what the process held before, MB: the system's own count
(VmHWM, set back before the pass) for a process that does nothing else."""

BATCH_WORDS = """## Tokens in a batch

Samples a second in float32, the better of two, by the most tokens of a batch; 100 docstrings, or 8 samples of
other data."""


def page(found: dict[str, Any]) -> str:
    """The measured page, from the JSON's content."""
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
        f"{speed['response_tokens']:,} of them responses, {speed['batches']} batches."
    )


def ratio_table(speed: dict[str, Any]) -> str:
    lines = ["| format | what | beside | times as fast | asked for |", "|---|---|---|---|---|"]
    for dtype, ours, other, ratio, goal in speed["ratios"]:
        lines.append(f"| {dtype} | {ours} | {other} | {ratio:.2f} | {'' if goal is None else goal} |")
    return "\n".join(lines)


def speed_table(speed: dict[str, Any]) -> str:
    rates = speed["samples_a_second"]
    dtypes = dict.fromkeys(key.partition(": ")[0] for key in rates)
    lines = ["| samples a second | " + " | ".join(dtypes) + " |", "|---|" + "---|" * len(dtypes)]
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
