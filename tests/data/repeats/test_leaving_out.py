import json
import random

import numpy as np
import pytest

from staff_engine.data.dataset import import_dataset
from staff_engine.data.inspection.findings import DataChoice
from staff_engine.data.inspection.scan import inspect_data
from staff_engine.data.reading import Reading
from staff_engine.data.repeats import near as near_module
from staff_engine.data.repeats.near import NearDuplicates, jaccard
from staff_engine.data.repeats.overlap import HeldOutWords
from staff_engine.data.repeats.words import sequences
from staff_engine.errors import DatasetError

DRAW = random.Random(3)
WORDS = [f"word{i}" for i in range(3000)]


def text(count=60):
    return " ".join(DRAW.choices(WORDS, k=count))


def changed(line, count):
    """The same text with some of its words replaced."""
    words = line.split()
    for place in DRAW.sample(range(len(words)), count):
        words[place] = "other"
    return " ".join(words)


def row(prompt, completion="c"):
    return {"prompt": prompt, "completion": completion}


def write(path, rows):
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return str(path)


def problems(source, tmp_path, **reading):
    imported = import_dataset(source, tmp_path / f"made {len(list(tmp_path.iterdir()))}", Reading(**reading))
    return {i: problem for i, problem in enumerate(imported.rows["problem"]) if problem}


def test_sequences_are_those_of_neighbouring_words():
    one, other = ["a", "b", "c", "d"], ["b", "c", "d", "e"]
    assert len(sequences(one, 3)) == 2
    assert len(np.intersect1d(sequences(one, 3), sequences(other, 3))) == 1
    assert len(sequences(["a"], 3)) == 1
    assert len(sequences([], 3)) == 0
    assert not np.intersect1d(sequences(["a", "b"], 3), sequences(["b", "a"], 3)).size


def test_repeated_rows_are_kept_unless_they_are_to_be_left_out(tmp_path):
    rows = [row("a b c"), row("A b, c"), row("a b c"), row("d")]
    source = write(tmp_path / "a.jsonl", rows)
    assert problems(source, tmp_path) == {}
    assert problems(source, tmp_path, duplicates="exact") == {
        2: "line 3: exact duplicate of another row (line 1)"
    }
    assert problems(source, tmp_path, duplicates="near") == {
        1: "line 2: near duplicate of another row (line 1, similarity 1.00)",
        2: "line 3: exact duplicate of another row (line 1)",
    }


@pytest.fixture
def groups(tmp_path):
    def found(texts, usable=None):
        folder = tmp_path / f"sketches {len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        near = NearDuplicates(folder, lambda index: texts[index])
        for words in texts:
            near.add(words)
        return near.groups(usable).tolist()

    return found


def slow_groups(texts):
    """Connected components of all pairs, one by one."""
    found = list(range(len(texts)))
    for b in range(len(texts)):
        for a in range(b):
            if jaccard(texts[a], texts[b]) >= near_module.THRESHOLD:
                low, high = sorted((found[a], found[b]))
                found = [low if group == high else group for group in found]
    return found


def test_the_fast_search_finds_what_the_slow_one_finds(groups, monkeypatch):
    texts = [text().split() for _ in range(150)]
    texts += [changed(" ".join(texts[i]), i % 9).split() for i in range(60)]
    DRAW.shuffle(texts)
    slow = slow_groups(texts)
    assert groups(texts) == slow
    assert sum(group != i for i, group in enumerate(slow)) > 10
    monkeypatch.setattr(near_module, "BLOCK", 7)
    assert groups(texts) == slow


def test_texts_that_are_not_to_be_compared_join_no_group(groups):
    texts = [text().split(), [], []]
    texts[1:] = [texts[0], texts[0]]
    assert groups(texts) == [0, 0, 0]
    assert groups(texts, np.array([True, False, True])) == [0, 1, 0]


def test_the_search_ends_after_the_most_pairs_and_says_so(groups, monkeypatch, caplog):
    texts = [words for _ in range(4) for words in [text().split()] * 2]
    monkeypatch.setattr(near_module, "COMPARED", 2)
    assert sum(group != i for i, group in enumerate(groups(texts))) == 2
    assert "only the first 2 similar pairs were compared" in caplog.text


def test_nothing_repeats_in_no_texts_and_texts_without_words(groups):
    assert groups([]) == []
    assert groups([[], ["a"], []]) == [0, 1, 2]


def test_rows_that_overlap_with_a_held_out_file_are_left_out_with_the_reason(tmp_path):
    held_out = [row(text(), text()) for _ in range(40)]
    rows = [row(text(), text()) for _ in range(10)]
    rows[3] = {**held_out[6], "prompt": held_out[6]["prompt"].upper() + "!"}
    rows[5] = row(held_out[9]["prompt"], changed(held_out[9]["completion"], 2))
    rows[7] = row(held_out[9]["prompt"][:100], text(200))
    rows[8] = row(text(300), f"{text(300)} {held_out[2]['prompt']} {held_out[2]['completion']} {text(9)}")
    source = write(tmp_path / "a.jsonl", rows)
    test = write(tmp_path / "test.jsonl", held_out)
    found = problems(source, tmp_path, apart_from=test)
    assert set(found) == {3, 5, 8}
    assert found[3] == "line 4: overlaps with held-out data (equal to row 7)"
    assert found[5].endswith("% of the sequences of 8 words in row 10)")
    assert found[8] == "line 9: overlaps with held-out data (100% of the sequences of 8 words in row 3)"


def test_a_phrase_of_all_prompts_is_no_overlap():
    phrase = "below is an instruction that describes a task write a response that completes it"
    held_out = HeldOutWords(f"{phrase} {text(20)}".split() for _ in range(50))
    assert held_out.overlap(f"{phrase} {text(3)}".split()) is None
    assert held_out.overlap([]) is None
    assert HeldOutWords([]).overlap(["a"]) is None


def test_a_held_out_file_that_cannot_be_read_says_so(tmp_path):
    source = write(tmp_path / "a.jsonl", [row("a")])
    with pytest.raises(DatasetError, match=r"held-out data: data file '.*gone.jsonl' does not exist"):
        problems(source, tmp_path, apart_from=str(tmp_path / "gone.jsonl"))


def test_the_check_counts_and_lists_them_as_a_run_does(tmp_path):
    rows = [row("a b c d e f"), row("a b c d e f"), row("A b c d e f!"), row("x")]
    (tmp_path / "inspection").mkdir()
    choice = DataChoice(dataset=write(tmp_path / "a.jsonl", rows), duplicates="near")
    findings = inspect_data(choice, tmp_path / "inspection")
    assert findings.usable == 2
    assert findings.reasons == {"exact duplicate of another row": 1, "near duplicate of another row": 1}
    assert findings.places == {"exact duplicate of another row": (2,), "near duplicate of another row": (3,)}
