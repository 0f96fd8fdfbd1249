"""Measurements that no model was timed for."""

import numpy as np

from staff_engine.pipelines.forecast.extrapolation import Measured, Side, Speed, Training


def make_measured(rows=1000, read=100, **changes):
    """Measurements with round numbers: a millisecond a token on the small model, ten on the target."""
    lengths = tuple(np.resize([10, 20, 30, 40], read).tolist())
    side = {
        "load": 2.0,
        "tokenize_row": 0.001,
        "lengths": lengths,
    }
    efforts = np.random.default_rng(0).lognormal(sigma=0.3, size=read)
    return Measured(
        **{
            "rows": rows,
            "small": Side(**side, scoring=Speed(batch=0, token=1e-3, pair=0)),
            "target": Side(**{**side, "load": 5.0}, scoring=Speed(batch=0, token=1e-2, pair=0)),
            "start": {"libraries": 4.0, "import": 0.5, "tokenize": 3.0},
            "import_row": 0.002,
            "finetuning": Training(start=4.0, step=Speed(batch=0.1, token=0, pair=0), checkpoint=0.5),
            "scored": tuple(range(read)),
            "efforts": tuple(efforts.tolist()),
            "memory_bytes": 10**9,
            **changes,
        }
    )
