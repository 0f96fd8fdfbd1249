"""What the built-in models are pretrained on: nothing of the tasks. The training itself is not run here."""

import inspect
import random
import sys
import textwrap

import pytest

from staff_engine.data.builtin.docstrings import docstrings
from staff_engine.data.builtin.kazakh import kazakh


@pytest.fixture(scope="module")
def pretrain():
    sys.path.insert(0, "assets")
    try:
        import pretrain
    finally:
        sys.path.remove("assets")
    return pretrain


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a function of the standard library, one like it, and one of its own."""
    own = """
        def twice(number):
            \"\"\"Say what a number is when it is taken two times over.\"\"\"
            return number * 2
    """
    folder = tmp_path / "made_up_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "copied.py").write_text(inspect.getsource(textwrap.shorten) + "\n\n" + textwrap.dedent(own))
    monkeypatch.syspath_prepend(tmp_path)
    return folder.name


def test_what_a_package_shares_with_the_standard_library_is_not_read(pretrain, package):
    family = pretrain.Family(packages={package: 1}, locales=(), vocabulary=300)
    text = "\n".join(pretrain.package_documents(family, random.Random(0)))
    assert "def twice" in text
    assert "Say what a number is" in text
    assert "def shorten" not in text
    assert any(row["prompt"].startswith("def shorten") for row in docstrings())


@pytest.mark.parametrize("family", ["llama", "gemma", "mistral"])
def test_a_family_reads_names_in_other_alphabets_but_no_kazakh(pretrain, family):
    text = "\n".join(pretrain.locale_documents(pretrain.FAMILIES[family]))
    assert any("\u0400" <= letter <= "\u04ff" for letter in text)
    assert "Kazakh names of" not in text
    pairs = {(row["prompt"].partition(": ")[2], row["response"]) for row in kazakh()}
    read = {tuple(line.split(": ", 1)) for line in text.splitlines() if ": " in line}
    assert len(pairs & read) < 0.085 * len(pairs)  # as the cards say: 7.9 % with Babel 2.19, 7.2 % with 2.18


def test_the_learning_rate_rises_holds_and_falls_to_nothing(pretrain):
    shares = [pretrain.learning_rate_share(step, 1000) for step in range(1000)]
    assert shares[0] == 1 / 50
    assert shares[100] == shares[599] == 1
    assert shares[800] == pytest.approx(0.5)
    assert shares[-1] < 0.01


@pytest.mark.parametrize("family", ["llama", "gemma", "mistral"])
def test_the_shipped_weights_are_of_the_shape_that_the_script_builds(pretrain, family):
    from safetensors import safe_open

    for size in pretrain.SIZES:
        model = pretrain.build(family, size)
        built = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
        with safe_open(pretrain.MODELS / f"{family}-{size}" / "model.safetensors", "np") as file:
            shipped = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        assert shipped.items() <= built.items()
        assert built.keys() - shipped.keys() <= {"lm_head.weight"}
