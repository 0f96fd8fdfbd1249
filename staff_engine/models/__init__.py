"""Load a model, add LoRA, fine-tune it, and run forward passes."""
