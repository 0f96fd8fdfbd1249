"""Load a model, adapt it, fine-tune it, run it forward."""
