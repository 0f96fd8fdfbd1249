"""STAFF Studio's engine: which samples of a fine-tuning set are worth training on.

The names in `__all__` need only NumPy. Import the other modules by their full names.
"""

from staff_engine.selection.coreset import Selection, select_coreset
from staff_engine.selection.pool import Pool
from staff_engine.selection.verification import draw_verification

__all__ = ["Pool", "Selection", "draw_verification", "select_coreset"]

__version__ = "0.1.0"
