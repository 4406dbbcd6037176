"""Question answering in the embedded world, from English and from Russian originals, by an encoder and by a text-to-text model."""

from xfer_ray import Sweep, grid
from xfer_ray.models import MAJORITY
from xfer_ray.models.miniature import MINIATURE_READER, MINIATURE_TEXT_TO_TEXT
from xfer_ray.tasks import MINIATURE_QA

SWEEP = Sweep(
    "demo_qa",
    grid(tasks=[MINIATURE_QA], models=[MINIATURE_READER], sources=["en-O", "de-HT-en", "ru-HT-en", "ru-O", "en-MT-ru"])
    + grid(tasks=[MINIATURE_QA], models=[MINIATURE_TEXT_TO_TEXT], sources=["en-O", "de-HT-en"])
    + grid(tasks=[MINIATURE_QA], models=[MAJORITY], sources=["en-O"]),
)
