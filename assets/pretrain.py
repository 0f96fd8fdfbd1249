"""Pretrain the built-in models again, from text that the installed packages carry.

    pip install -r requirements.txt -r assets/requirements.txt
    python assets/pretrain.py llama nano --tokens 20_000_000
    python assets/pretrain.py llama mini --tokens 20_000_000

One call makes one model. It can be stopped at any time and goes on from its last
checkpoint in the work folder; the finished weights and their card are written to
assets/models/FAMILY-SIZE. The standard library, which `builtin:docstrings` is made
of, is never read, and whatever a package shares with it is left out.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import math
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

sys.path.insert(0, str(Path(__file__).parent.parent))

from staff_engine.docstrings import docstrings, documented_functions
from staff_engine.tokenization import plain_text

MODELS = Path(__file__).parent / "models"
CONTEXT = 512
BATCH = 8
CHECKPOINT_SECONDS = 120
MILLION = 1_000_000


@dataclass(frozen=True)
class Family:
    """What one family reads, and how many tokens its tokenizer knows."""

    packages: dict[str, float]  # importable name → most characters read, in millions
    locales: tuple[str, ...]  # CLDR languages whose names of things it reads
    vocabulary: int


FAMILIES = {
    "llama": Family(
        packages={
            "transformers": 14, "torch": 16, "pandas": 10, "numpy": 5, "scipy": 12,
            "sklearn": 8, "plotly": 3, "streamlit": 5, "datasets": 3, "peft": 3,
            "accelerate": 2, "huggingface_hub": 3, "altair": 2, "narwhals": 2,
            "pydantic": 2, "rich": 2, "pyarrow": 1, "PIL": 1, "matplotlib": 8,
        },
        locales=("ky", "ru", "tr", "tt", "uk", "mn", "fr", "de", "es", "az", "bg", "fi", "id", "vi"),
        vocabulary=4096,
    ),
}  # fmt: skip

SIZES = {
    "nano": {"hidden_size": 128, "num_hidden_layers": 4, "intermediate_size": 352, "num_attention_heads": 4},
    "mini": {"hidden_size": 256, "num_hidden_layers": 8, "intermediate_size": 704, "num_attention_heads": 8},
}
LEARNING_RATE = {"nano": 4e-3, "mini": 1.2e-3}


def package_documents(family: Family, rng: random.Random) -> Iterator[str]:
    """Modules, and function-and-summary pairs in the plain template, each once."""
    unseen = list(docstrings())
    prompts = {row["prompt"] for row in unseen}
    responses = {row["response"] for row in unseen if len(row["response"]) >= 30}
    seen: set[str] = set()
    for package, most in family.packages.items():
        left = most * MILLION
        root = Path(importlib.util.find_spec(package).submodule_search_locations[0])
        paths = [p for p in sorted(root.rglob("*.py")) if not {"tests", "test"} & set(p.parts)]
        rng.shuffle(paths)
        for path in paths:
            if left <= 0:
                break
            try:
                source = path.read_text(encoding="utf-8")
                tree = ast.parse(source)
            except (SyntaxError, ValueError):
                continue
            kept = []
            lines = source.split("\n")
            for node in tree.body:
                first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
                text = "\n".join(lines[first - 1 : node.end_lineno])
                if text in seen:
                    continue
                seen.add(text)
                pairs = list(documented_functions(text)) if "def " in text else []
                if any(p in prompts or r in responses for p, r in pairs):
                    continue
                kept.append(text)
                for prompt, response in pairs:
                    if prompt not in seen and len(prompt) < 1500:
                        seen.add(prompt)
                        left -= len(prompt)
                        yield plain_text([("prompt", prompt), ("response", response)])
            document = "\n\n".join(kept)
            left -= len(document)
            yield document


def locale_documents(family: Family) -> Iterator[str]:
    """English names of territories, languages and currencies beside another language's."""
    from babel import Locale

    english = Locale("en")
    for code in family.locales:
        locale = Locale.parse(code)
        for kind in ("territories", "languages", "currencies"):
            names = getattr(locale, kind)
            lines = [f"{name}: {names[key]}" for key, name in getattr(english, kind).items() if key in names]
            yield f"{english.languages[code]} names of {kind}\n" + "\n".join(lines)


def train_tokenizer(documents: list[str], vocabulary: int, folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)


def prepare(family: Family, folder: Path) -> None:
    """Write tokenizer, training tokens and held-out tokens to the work folder, once."""
    from transformers import AutoTokenizer

    if (folder / "corpus.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(0)
    documents = [*package_documents(family, rng), *locale_documents(family)]
    rng.shuffle(documents)
    train_tokenizer(documents[::6], family.vocabulary, folder / "tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    ids = []
    for start in range(0, len(documents), 1000):
        for row in tokenizer(documents[start : start + 1000], verbose=False)["input_ids"]:
            ids.append(np.array([tokenizer.bos_token_id, *row, tokenizer.eos_token_id], dtype=np.uint16))
    held_out = max(1, len(ids) // 100)
    np.save(folder / "held_out.npy", np.concatenate(ids[:held_out])[: 200 * CONTEXT])
    train = np.concatenate(ids[held_out:])
    np.save(folder / "train.npy", train)
    facts = {
        "documents": len(documents),
        "characters": sum(map(len, documents)),
        "tokens": int(train.size),
        "packages": {name: _version(name) for name in [*family.packages, "babel"]},
        "locales": list(family.locales),
    }
    (folder / "corpus.json").write_text(json.dumps(facts, indent=2))


def _version(package: str) -> str:
    from importlib.metadata import packages_distributions, version

    return version(packages_distributions()[package][0])


def build(size: str, vocabulary: int) -> torch.nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            num_key_value_heads=SIZES[size]["num_attention_heads"],
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            use_cache=False,
            **SIZES[size],
        )
    )


@torch.no_grad()
def grow(small: torch.nn.Module, large: torch.nn.Module) -> None:
    """Make a model of twice the width and depth compute what the small one does, to start from there.

    Every channel, head and hidden unit stands twice (Net2Net, Chen et al., ICLR 2016).
    What reads a doubled input [x, x] gets the weights [W/2 + E, W/2 − E] with random E,
    which cancels now and lets the two halves part in training. After each block stands
    a new one whose output is zero. The tied head sees [x, x]·[e, e] = 2·x·e, so the last
    norm is halved.
    """
    generator = torch.Generator().manual_seed(1)

    def wider(weight: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(weight.shape, generator=generator) * weight.std()
        half = torch.cat([weight / 2 + noise, weight / 2 - noise], dim=1)
        return torch.cat([half, half])

    source, target = small.state_dict(), large.state_dict()
    for name, weight in source.items():
        if ".layers." not in name:
            doubled = torch.cat([weight, weight], dim=-1)
            target[name].copy_(doubled / 2 if name.endswith("model.norm.weight") else doubled)
            continue
        head, number, tail = name.split(".", 3)[:2], int(name.split(".")[2]), name.split(".", 3)[3]
        for place in (2 * number, 2 * number + 1):
            grown = torch.cat([weight, weight]) if weight.ndim == 1 else wider(weight)
            if place % 2 and tail in ("self_attn.o_proj.weight", "mlp.down_proj.weight"):
                grown = torch.zeros_like(grown)
            target[".".join([*head, str(place), tail])].copy_(grown)


def learning_rate_share(step: int, steps: int) -> float:
    """Warm up over 100 steps, hold, and fall in a line to 0 over the last three tenths."""
    return min((step + 1) / 100, 1.0, (steps - step) / (0.3 * steps))


@torch.no_grad()
def held_out_loss(model: torch.nn.Module, tokens: np.ndarray) -> float:
    model.eval()
    rows = torch.from_numpy(tokens[: len(tokens) // CONTEXT * CONTEXT].astype(np.int64)).view(-1, CONTEXT)
    losses = [model(input_ids=part, labels=part).loss.item() for part in rows.split(BATCH)]
    model.train()
    return sum(losses) / len(losses)


def train(size: str, family: Family, tokens: int, work: Path, target: Path) -> dict[str, Any]:
    """Train to `tokens`, from the last checkpoint if there is one; return the card's facts."""
    from rich.progress import Progress
    from transformers import AutoModelForCausalLM

    data = np.load(work / "train.npy", mmap_mode="r")
    held_out = np.load(work / "held_out.npy")
    torch.manual_seed(0)
    model = build(size, family.vocabulary)
    peak = LEARNING_RATE[size]
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.95), weight_decay=0.1)
    if size == "mini":  # half the time that it would take from nothing, and always better than the nano
        grow(
            AutoModelForCausalLM.from_pretrained(
                target.with_name(target.name.replace(size, "nano")), dtype=torch.float32
            ),
            model,
        )
        typer.echo(f"held-out loss to start from: {held_out_loss(model, held_out):.4f}")
    steps = math.ceil(tokens / (BATCH * CONTEXT))
    state: dict[str, Any] = {"step": 0, "seconds": 0.0, "curve": []}
    checkpoint = work / f"{size}.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=False)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        state = saved["state"]
    last_saved = last_tick = time.monotonic()
    losses = []
    with Progress() as progress:
        bar = progress.add_task(f"{size}", total=steps, completed=state["step"])
        while state["step"] < steps:
            step = state["step"]
            rng = np.random.default_rng([0, step])
            starts = rng.integers(0, len(data) - CONTEXT, BATCH)
            batch = torch.from_numpy(np.stack([data[s : s + CONTEXT] for s in starts]).astype(np.int64))
            optimizer.param_groups[0]["lr"] = peak * learning_rate_share(step, steps)
            loss = model(input_ids=batch, labels=batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
            state["step"] = step + 1
            now = time.monotonic()
            state["seconds"] += now - last_tick
            last_tick = now
            if state["step"] % 25 == 0:
                state["curve"].append([state["step"] * BATCH * CONTEXT, round(float(np.mean(losses)), 4)])
                progress.console.print(size, state["curve"][-1], f"{state['seconds']:.0f} s")
                losses = []
            if now - last_saved > CHECKPOINT_SECONDS or state["step"] == steps:
                _save(checkpoint, model, optimizer, state)
                last_saved = now
            progress.update(bar, completed=state["step"])
    loss = held_out_loss(model, held_out)
    model.half().save_pretrained(target)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens_seen": state["step"] * BATCH * CONTEXT,
        "seconds": round(state["seconds"]),
        "held_out_loss": round(loss, 4),
        "loss_curve": state["curve"],
    }


def _save(checkpoint: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, state: dict) -> None:
    part = checkpoint.with_suffix(".part")
    torch.save(
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "state": state,
        },
        part,
    )
    part.replace(checkpoint)


def main(
    family: Annotated[str, typer.Argument(help=f"one of {', '.join(FAMILIES)}")],
    size: Annotated[str, typer.Argument(help=f"one of {', '.join(SIZES)}")],
    tokens: Annotated[str, typer.Option(help="how many tokens to train on")] = "20_000_000",
    work: Annotated[Path, typer.Option(help="folder for corpus and checkpoints")] = Path("pretraining"),
) -> None:
    """Make one built-in model."""
    import shutil

    folder = work / family
    prepare(FAMILIES[family], folder)
    target = MODELS / f"{family}-{size}"
    facts = train(size, FAMILIES[family], int(tokens), folder, target)
    shutil.copytree(folder / "tokenizer", target, dirs_exist_ok=True)
    corpus = json.loads((folder / "corpus.json").read_text())
    (target / "pretraining.json").write_text(json.dumps({"corpus": corpus, **facts}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
