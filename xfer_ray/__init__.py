"""From which language should one fine-tune a multilingual model?  See `trial.py` for the whole of one trial."""

from xfer_ray.core import Model, Score, Sweep, Task, Trial, grid
from xfer_ray.recipe import Pretraining, Recipe
from xfer_ray.sources import Corpus, Example, Examples

__version__ = "0.1.0"
__all__ = [
    "Corpus",
    "Example",
    "Examples",
    "Model",
    "Pretraining",
    "Recipe",
    "Score",
    "Sweep",
    "Task",
    "Trial",
    "grid",
]
