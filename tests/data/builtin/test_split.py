import subprocess
import sys

import pytest

from staff_engine.data.builtin.split import SPLITS, digest, side_of


@pytest.mark.parametrize(
    ("prompt", "side"),
    [
        ("", "train"),
        ("Hello", "train"),
        ("Қазақ тілі", "train"),
        ("prompt 4", "train"),
        ("prompt 5", "held_out"),
        ("What about yesterday?", "held_out"),
        ("Translate into Kazakh (territory): Spain", "held_out"),
        ("Translate into Kazakh (territory): Jamaica", "train"),
    ],
)
def test_the_side_of_a_prompt_is_what_it_always_was(prompt, side):
    assert side_of(prompt) == side


def test_the_digest_is_sha256_of_the_text_in_utf8():
    assert digest("Қ").hex() == "5d8f246b161c79f43289013ffe623f5564e984f49e5ef981f4650a86c6cb2719"


def test_a_tenth_is_held_out():
    sides = [side_of(f"prompt {i}") for i in range(10_000)]
    assert set(sides) == set(SPLITS)
    assert 0.09 < sides.count("held_out") / len(sides) < 0.11


def test_another_process_with_another_hash_seed_has_the_same_sides():
    prompts = [f"prompt {i}" for i in range(60)]
    code = f"from staff_engine.data.builtin.split import side_of; print(*map(side_of, {prompts!r}))"
    for seed in ("1", "2"):
        answer = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        )
        assert answer.stdout.split() == list(map(side_of, prompts))
