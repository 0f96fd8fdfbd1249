"""STAFF Studio's engine: which samples of a fine-tuning set are worth training on.

The names here need numpy only; the other modules are imported by name.
"""

from staff_engine.selection.coreset import Selection, select_coreset
from staff_engine.selection.pool import Pool
from staff_engine.selection.verification import draw_verification

__all__ = ["Pool", "Selection", "draw_verification", "select_coreset"]

__version__ = "0.1.0"
