"""Load a causal language model and its tokenizer."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staff_engine.errors import ModelError
from staff_engine.models.devices import choose_device, torch_dtype
from staff_engine.models.sources import Source, find_model, pickled, short_name
from staff_engine.system.sharing import check_place

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DEFAULT_LEARNING_RATE = 1e-4


def default_learning_rate(name: str) -> float:
    """Peak learning rate of fine-tuning: the value on the card of a built-in model, else 1e-4."""
    source = find_model(name)
    if not source.name.startswith("builtin:") or source.adapter:
        return DEFAULT_LEARNING_RATE
    card = Path(source.location) / "pretraining.json"
    return float(json.loads(card.read_text(encoding="utf-8"))["finetune_learning_rate"])


def load_tokenizer(name: str, chat_template: str | None = None) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model. Without a padding token, it pads with its end token.

    Parameters
    ----------
    chat_template
        A file with a chat template to use in place of the tokenizer's own.

    Raises
    ------
    ModelError
        If it cannot be loaded, or has no end-of-sequence token, or the file cannot be read.
    """
    from transformers import AutoTokenizer

    source = find_model(name)
    if source.folder is not None and not any(source.folder.glob("*token*")) and not source.adapter:
        raise ModelError(
            f"model folder {name!r} has no tokenizer; copy tokenizer.json and tokenizer_config.json there"
        )
    with named_failure(name, "the tokenizer of"):
        tokenizer = AutoTokenizer.from_pretrained(source.location, **source.arguments)
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"the tokenizer of {name!r} has no end-of-sequence token, which is needed to end a response"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if chat_template is not None:
        check_place(chat_template)
        try:
            tokenizer.chat_template = Path(chat_template).expanduser().read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ModelError(f"chat template {chat_template!r} cannot be read: {error}") from None
    return tokenizer


def load_model(
    name: str,
    *,
    device: str = "auto",
    dtype: str = "float32",
    quantize: str = "none",
    device_map: str = "none",
    attention: str | None = None,
) -> PreTrainedModel:
    """Load a causal language model for scoring or fine-tuning, with all weights frozen.

    Parameters
    ----------
    name
        As for `sources.find_model`. Only safetensors and .gguf weights are read. Code that comes with the
        model is never run. An adapter is merged into the weights.
    device
        As in the plan; see `devices.choose_device`.
    dtype
        As in the plan, after `precision.settle` has resolved auto.
    quantize
        none, 8bit or 4bit: convert the weights with bitsandbytes while they are loaded. LoRA and the
        gradients keep `dtype`.
    device_map
        none, or how transformers spreads the layers over the GPUs: auto, balanced or sequential.
    attention
        An `attn_implementation` of transformers; None for its own choice.

    Raises
    ------
    ModelError
        If the model is unknown, its weights are damaged or missing, it does not fit
        into memory, or it is not a decoder.
    """
    import torch
    from transformers import AutoModelForCausalLM

    source = find_model(name)
    chosen = choose_device(device)
    config = read_config(name)
    weights: dict[str, Any] = _unpacked_gguf() if source.gguf_file else {"use_safetensors": True}
    weights |= _quantized(quantize, chosen, dtype)
    placed = device_map != "none" or quantize != "none" or bool(_quantization(config))
    if placed:
        weights["device_map"] = device_map if device_map != "none" else {"": chosen}
    if attention is not None:
        weights["attn_implementation"] = attention
    if source.adapter and (quantize != "none" or _quantization(config)):
        raise ModelError(f"the adapter of {name!r} cannot be merged into quantized weights; merge it first")
    if dtype == "float64":
        config._experts_implementation = "eager"  # the grouped one has no float64
    with named_failure(name, "model"):
        model, report = AutoModelForCausalLM.from_pretrained(
            source.location,
            config=config,
            dtype=torch_dtype(dtype),
            output_loading_info=True,
            **weights,
            **source.arguments,
        )
        if report["missing_keys"] or report["mismatched_keys"]:
            wrong = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
            raise ModelError(
                f"the weights of {name!r} are incomplete: {len(wrong)} tensors are missing or have the"
                f" wrong shape, the first is {wrong[0]}"
            )
        model = _merged(model, source)
        if not placed:
            model.to(torch.device(chosen))
        model.eval()
        model.requires_grad_(False)
        model.config.use_cache = False
        _refuse_encoders(model, name)
    return model


def _merged(model: PreTrainedModel, source: Source) -> PreTrainedModel:
    """The model with the adapter of its source merged into its weights."""
    if hasattr(model, "peft_config"):
        raise ModelError(f"{source.name!r} is an adapter; give its base model too: BASE+{source.name}")
    if source.adapter is None:
        return model
    from peft import PeftModel

    merged = PeftModel.from_pretrained(
        model, source.adapter, revision=source.adapter_revision
    ).merge_and_unload()
    if hasattr(merged, "peft_config"):  # older versions of PEFT leave it, and then warn of a second adapter
        del merged.peft_config
    return merged


def read_config(name: str) -> Any:
    """Read the configuration of a model, without its weights.

    Raises
    ------
    ModelError
        If there is none, the model is not a decoder, or a package that its weights need is not installed.
    """
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    source = find_model(name)
    with named_failure(name, "the configuration of"):
        config = AutoConfig.from_pretrained(source.location, **source.arguments)
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(
            f"model {name!r} is an encoder-decoder ({config.model_type}); a causal decoder is needed"
        )
    if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ModelError(
            f"model {name!r} is of type {config.model_type!r}, which is not a causal decoder in transformers"
        )
    method = _quantization(config)
    package = QUANTIZERS.get(method)
    if package is not None and find_spec(package) is None:
        raise ModelError(
            f"the weights of {name!r} are quantized by {method}, which needs the package {package};"
            f" install it, or use the model without quantization"
        )
    return config


QUANTIZERS = {
    "bitsandbytes": "bitsandbytes", "gptq": "gptqmodel", "awq": "gptqmodel", "hqq": "hqq",
    "compressed-tensors": "compressed_tensors", "torchao": "torchao", "quanto": "optimum", "aqlm": "aqlm",
    "eetq": "eetq", "higgs": "flute", "vptq": "vptq", "spqr": "spqr_quant", "quark": "quark",
}  # fmt: skip
"""Name of a quantization method in a configuration → the package that reads its weights."""


def _quantization(config: Any) -> str:
    """The method that quantized the weights; empty if none did."""
    given = getattr(config, "quantization_config", None) or {}
    method = given.get("quant_method", "") if isinstance(given, dict) else given.quant_method
    return str(getattr(method, "value", method))


def _quantized(quantize: str, device: str, dtype: str) -> dict[str, Any]:
    """Arguments that convert weights to fewer bits while they are loaded. Raises ModelError."""
    if quantize not in QUANTIZE:
        raise ModelError(f"quantize is {quantize!r}; allowed: {', '.join(QUANTIZE)}")
    if quantize == "none":
        return {}
    if not device.startswith("cuda") or find_spec("bitsandbytes") is None:
        raise ModelError(
            f"quantize is {quantize!r}, which needs a CUDA GPU and the package bitsandbytes; the device is"
            f" {device}. Use quantize none, or a smaller target"
        )
    from transformers import BitsAndBytesConfig

    if quantize == "8bit":
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    four_bits = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch_dtype(dtype)
    )
    return {"quantization_config": four_bits}


QUANTIZE = ("none", "8bit", "4bit")
"""How weights can be converted while they are loaded."""


def _unpacked_gguf() -> dict[str, Any]:
    """Arguments that unpack weights when loading, because gradients do not pass through packed weights."""
    import transformers

    if not hasattr(transformers, "GgufConfig"):  # versions before 5.17 always unpack them
        return {}
    return {"quantization_config": transformers.GgufConfig(dequantize=True)}


POSITIONS = ("max_position_embeddings", "max_seq_len", "n_positions", "max_sequence_length", "n_ctx")
"""Names of the maximum number of positions in configurations."""


def longest_input(model_config: Any) -> int | None:
    """Maximum number of positions of a model; None if its configuration has no limit."""
    text = model_config.get_text_config()
    found = (getattr(text, name, None) for name in POSITIONS)
    return next((int(value) for value in found if isinstance(value, int) and value > 0), None)


def empty_model(name: str) -> PreTrainedModel:
    """A model without weights, to look at its layers. Raises ModelError."""
    import torch
    from transformers import AutoModelForCausalLM

    config = read_config(name)
    with torch.device("meta"), named_failure(name, "the layers of"):
        return AutoModelForCausalLM.from_config(config)


def context_length(name: str) -> int | None:
    """Maximum tokens per sample for a model, without loading its weights. Raises ModelError."""
    return longest_input(read_config(name))


def vocabulary_size(name: str) -> int | None:
    """Number of token ids of a model, without loading its weights; None if unknown. Raises ModelError."""
    return getattr(read_config(name).get_text_config(), "vocab_size", None)


def _refuse_encoders(model: PreTrainedModel, name: str) -> None:
    """Raise ModelError for an encoder: its first position depends on the second token."""
    import torch

    ids = torch.tensor([[3, 4], [3, 5]], device=model.device)
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits.float()
    first, second = (logits[0] - logits[1]).abs().amax(dim=-1)
    if first > 1e-3 * second:
        raise ModelError(f"model {name!r} is an encoder ({type(model).__name__}); a causal decoder is needed")


@contextmanager
def named_failure(name: str, what: str, failed: str = "cannot be loaded") -> Iterator[None]:
    """Convert any exception of the libraries into a one-line ModelError that names the model.

    Parameters
    ----------
    name
        The name of the model.
    what
        The part that is used. The message starts with it.
    failed
        What the message says about it.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*fan_in_fan_out.*")
            yield
    except ModelError:
        raise
    except Exception as error:
        if "out of memory" in str(error) or isinstance(error, MemoryError):
            raise ModelError(
                f"{what} {name!r} does not fit into memory; use a smaller one or dtype bfloat16"
            ) from error
        if isinstance(error, OSError) and "safetensors" in str(error) and ".bin" in str(error):
            raise ModelError(pickled(name, f"{short_name(name)}-safetensors")) from error
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(f"{what} {name!r} {failed}: {reason[:300]}") from error
