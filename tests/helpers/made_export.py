"""Runs to export, made without a model, and the export of a selection from them."""

import json
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from staff_engine.data.dataset import import_dataset
from staff_engine.data.reading import Reading
from staff_engine.export.coreset import export_coreset
from staff_engine.plan import Plan
from staff_engine.runs.results import open_results

ALL = {"pruning_rate": 0.0, "drop_hardest": 0.0}


def make_run(folder, source, *, unscorable=(), **plan):
    """A finished run of a source: lognormal scores, every fifth sample verified."""
    plan = Plan.make(**{"dataset": str(source), "small": "s", "target": "t", "strata": 5, **plan})
    import_dataset(str(source), folder / "dataset", Reading.of(plan), limit=plan.limit)
    content = {"plan": plan.model_dump(mode="json"), "versions": {"torch": "2.13.0"}, "name": "mine"}
    (folder / "plan.json").write_text(json.dumps(content), encoding="utf-8")
    imported = open_results(folder).imported
    hurt = {i: reason for i, reason in enumerate(imported.rows["problem"]) if reason} | dict(unscorable)
    rows = np.array([i for i in range(imported.facts.rows) if i not in hurt])
    effort = np.random.default_rng(7).lognormal(size=len(rows))
    tokens = 1 + rows % 7
    write_part(folder / "speculative", row_id=rows, effort=effort, loss=effort / 2, response_tokens=tokens)
    write_part(folder / "verification", row_id=rows[::5], effort=effort[::5] * 3, loss=effort[::5])
    table = pa.table({"row_id": pa.array(hurt, pa.int64()), "reason": pa.array(hurt.values(), pa.string())})
    pq.write_table(table, folder / "unscorable.parquet")
    return open_results(folder)


def write_part(folder, **columns):
    folder.mkdir()
    pq.write_table(pa.table(columns), folder / "part-00000.parquet")


def export(results, out, *, format="jsonl", with_scores=False, overwrite=False, **changes):
    selection = results.select(**changes)
    settings = results.settings(**changes)
    manifest = export_coreset(
        results, selection, settings, out, format=format, with_scores=with_scores, overwrite=overwrite
    )
    return selection, manifest


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def mixed_line(i, draw):
    """A row of messages as people write them: no two libraries would write it back alike."""
    gap = draw.choice(["", " ", "  ", "\t"])
    text = draw.choice(
        ["2+2?", r"\u0032\/2 \ud83d\ude00", "қазақша 😀", r"tab\tquote\" back\\", "} ] {", "  "]
    )
    call = '{"id":"c1", "function" : {"name":"f","arguments":"{\\"x\\": [1,  2]}"}, "type":"function"}'
    answer = draw.choice(["4", r"\u00e9", "é", "ok }"])
    more = draw.choice(["", f', "tool_calls":[ {call} ]', ', "name": null'])
    reply = f'{{"role":"assistant", "content" :"{answer} {i}"{more}}}'
    optional = [
        f'"id" :{gap}{i}',
        '"big": 123456789012345678901234567890',
        '"float": [1.10, 1e400, -0.0, 1E+2, 0.1000000000000000055]',
        '"same": 1, "same": 2',
        '"nothing": null',
        f'"nested":{gap}{{ "a" : {{"b":[ ]}}, "text": "}}" }}',
        r'"\u006bey": "escaped key"',
        '"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]',
    ]
    fields = draw.sample(optional, draw.randrange(len(optional) + 1))
    turns = f'"messages":{gap}[{{"role": "user", "content": "{text} {i}"}},{gap}{reply}]'
    fields.insert(draw.randrange(len(fields) + 1), turns)
    return (
        f"{draw.choice(['', ' '])}{{{gap}{f',{gap}'.join(fields)}{gap}}}{draw.choice(['', '', ' '])}".encode()
    )


def make_mixed(folder):
    """1,000 mixed rows: a byte order mark, CRLF here and there, blank lines, no line feed at the end."""
    draw = random.Random(0)
    lines = [mixed_line(i, draw) for i in range(1000)]
    ends = [draw.choice([b"\n", b"\n", b"\r\n", b"\n\n", b"\r\n\r\n"]) for _ in lines]
    ends[-1] = b""
    source = folder / "mixed.jsonl"
    source.write_bytes(b"\xef\xbb\xbf" + b"".join(map(bytes.__add__, lines, ends)))
    return make_run(folder / "run", source), lines


def make_pairs(folder):
    """Twelve pairs, one of them with fields of its own, one hurt and one unscorable."""
    rows = [{"prompt": f"question {i}", "completion": f"answer, {i}"} for i in range(12)]
    rows[3] |= {"tags": ["a", "ү"], "weight": 0.5, "note": 'a "quoted"\nline'}
    rows[5]["completion"] = ["x"]
    source = write_rows(folder / "pairs.jsonl", rows)
    return make_run(folder / "run", source, unscorable={8: "no response token is left"}), rows


def read_lines(path):
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
