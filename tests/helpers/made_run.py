"""A finished run without a model: consistent files, made-up scores. For the app's tests and benchmark."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from staff_engine.data.dataset import import_dataset
from staff_engine.plan import Plan
from staff_engine.runs.control import create_run
from staff_engine.runs.integrity.records import record_files
from staff_engine.runs.results import open_results
from staff_engine.runs.status import StageStatus, Status, now, save_status
from staff_engine.runs.summary import save_summary
from staff_engine.runs.verification.drawing import to_verify
from staff_engine.scoring.parts import alone_folder, read_parts
from staff_engine.scoring.trajectories import step_folders
from staff_engine.system.files import write_checked

TOPICS = ["boats", "tea", "prime numbers", "weather", "chess", "bread", "stars", "rivers"]
HIDDEN = 16

UNSCORABLE = 7
"""The last rows of a made run have no response and so no score."""


def write_rows(path, rows, *, kinds=False):
    """A JSONL file of question and answer; the last `UNSCORABLE` have empty answers.

    With `kinds`, every fourth row says that its response is swapped.
    """
    with path.open("w", encoding="utf-8") as file:
        for row in range(rows):
            topic = TOPICS[row % len(TOPICS)]
            answer = "" if row >= rows - UNSCORABLE else f"Fact {row} about {topic}. " * (1 + row % 5)
            record = {"question": f"What is number {row} about {topic}?", "answer": answer.strip()}
            if kinds:
                record["_kind"] = "clean" if row % 4 else "swapped"
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return path


def make_finished_run(folder: Path, rows=400, *, seed=0, kinds=False, **settings):
    """Make a finished run under STAFF_HOME from rows in `folder`.

    The small model's scores are lognormal; the target's are like them (rank correlation
    about 0.8), in another unit, for what the plan's settings draw.
    """
    rng = np.random.default_rng(seed)
    source = write_rows(folder / "rows.jsonl", rows, kinds=kinds)
    plan = Plan.make(
        dataset=str(source),
        small="builtin:llama-nano",
        target="builtin:llama-mini",
        **{"strata": 10, "verify_per_stratum": 5, **settings},
    )
    run = create_run(plan, name="made up")
    import_dataset(str(source), run.folder / "dataset")
    scored = np.arange(rows - UNSCORABLE)
    effort = rng.lognormal(0, 0.5, len(scored))
    lengths = rng.integers(4, 40, (2, len(scored)))
    write_checked(run.folder / "fine_tuning.json", {"steps": _losses()})
    _write_tokens(run.folder, rows, lengths)
    _write_scores(run.folder / "speculative", scored, effort, lengths, rng)
    _write(run.folder / "embedding", row_id=scored, vector=_vectors(scored, rng))
    _write(run.folder / "token_loss", row_id=scored, losses=_token_losses(lengths[1], rng))
    missing = pa.table({"row_id": np.arange(rows - UNSCORABLE, rows), "reason": ["no response"] * UNSCORABLE})
    pq.write_table(missing, run.folder / "unscorable.parquet")

    drawn = to_verify(open_results(run.folder))
    target = 3 * effort[drawn] * rng.lognormal(0, 0.3, len(drawn))
    _write_scores(run.folder / "verification", drawn, target, lengths[:, drawn], rng)
    finish(run)
    return run


def write_alone(run, *, seed=0):
    """Losses without prompts, above those with them, of both models."""
    rng = np.random.default_rng(seed)
    for name in ("speculative", "verification"):
        scored = read_parts(run.folder / name, ["row_id", "loss"]).to_pandas()
        _write(
            alone_folder(run.folder / name),
            row_id=scored["row_id"].to_numpy(),
            loss_without_prompt=scored["loss"].to_numpy() + rng.exponential(1, len(scored)),
            seconds=np.full(len(scored), 0.01),
        )


def write_trajectory(run, *, seed=0):
    """Losses at earlier checkpoints, above the last ones; the plan has one checkpoint more."""
    rng = np.random.default_rng(seed)
    scored = read_parts(run.folder / "speculative", ["row_id", "loss"]).to_pandas()
    above = np.zeros(len(scored))
    plan = open_results(run.folder).plan
    for folder in reversed(step_folders(plan, len(scored)).values()):
        above += rng.exponential(1, len(scored))
        _write(
            run.folder / folder,
            row_id=scored["row_id"].to_numpy(),
            loss=scored["loss"].to_numpy() + above,
            seconds=np.full(len(scored), 0.01),
        )


def finish(run):
    """Write what the last stage of a run writes: the summary, the timings and the state."""
    from staff_engine.pipelines.summarize import summarize

    save_summary(run.folder, summarize(open_results(run.folder)))
    names = ("import", "tokenize", "fine-tune", "speculate", "verify", "select")
    write_checked(run.folder / "timings.json", dict.fromkeys(names, 1.5))
    stages = tuple(StageStatus(name=name, done=10, total=10, seconds=1.5) for name in names)
    save_status(
        run.folder, Status(state="finished", stage="select", exit_code=0, started=now(), stages=stages)
    )
    run.log.write_text("10:00:00 INFO finished\n", encoding="utf-8")
    record_files(run.folder)


def _losses():
    return [
        {"step": step, "loss": 4 / step, "learning_rate": 1e-3, "epoch": step / 10} for step in range(1, 21)
    ]


def _write_scores(folder, row_ids, effort, lengths, rng):
    count = len(row_ids)
    _write(
        folder,
        row_id=row_ids,
        prompt_tokens=lengths[0],
        response_tokens=lengths[1],
        effort=effort,
        loss=np.log1p(effort) + rng.normal(0, 0.05, count) + 1,
        el2n=rng.random(count),
        entropy=rng.random(count) * 3,
        seconds=np.full(count, 0.01),
    )


def _vectors(row_ids, rng):
    """Rows of one topic lie together."""
    centres = rng.normal(0, 3, (len(TOPICS), HIDDEN))
    vectors = (centres[row_ids % len(TOPICS)] + rng.normal(0, 1, (len(row_ids), HIDDEN))).astype(np.float16)
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), HIDDEN)


def _token_losses(counts, rng):
    ends = np.cumsum([0, *counts])
    return pa.LargeListArray.from_arrays(ends, pa.array(rng.exponential(2, ends[-1]).astype(np.float16)))


def _write(folder, **columns):
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / "part-00000.parquet"
    pq.write_table(pa.table(columns), path, write_page_checksum=True)


def _write_tokens(folder, rows, lengths):
    """tokens.arrow as `tokenization.tokenize_dataset` writes it, of letters in a tokenizer of letters."""
    letters = [chr(code) for code in range(97, 123)]
    schema = pa.schema(
        [
            ("row_id", pa.int64()),
            ("input_ids", pa.list_(pa.int32())),
            ("response_mask", pa.list_(pa.bool_())),
            ("problem", pa.string()),
            ("cut", pa.bool_()),
        ]
    )
    scored = rows - UNSCORABLE
    total = lengths.sum(axis=0)
    ends = np.concatenate([[0], np.cumsum(total), np.full(UNSCORABLE, total.sum())]).astype(np.int32)
    ids = (np.arange(ends[-1]) % len(letters)).astype(np.int32)
    places = np.arange(ends[-1]) - np.repeat(ends[:scored], total)
    mask = places >= np.repeat(lengths[0], total)
    columns = [
        pa.array(np.arange(rows)),
        pa.ListArray.from_arrays(ends, pa.array(ids)),
        pa.ListArray.from_arrays(ends, pa.array(mask)),
        pa.array([None] * scored + ["no response"] * UNSCORABLE, pa.string()),
        pa.array(np.zeros(rows, dtype=bool)),
    ]
    with pa.OSFile(str(folder / "tokens.arrow"), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))

    from tokenizers import Tokenizer, decoders
    from tokenizers.models import WordLevel

    tokenizer = Tokenizer(WordLevel({letter: place for place, letter in enumerate(letters)}, unk_token="a"))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.save(str(folder / "tokenizer.json"))
