"""What is trained: data set x architecture x recipe x target."""

from nino.tasks.data import Batch, Blocks, Data, Images
from nino.tasks.order import BatchOrder
from nino.tasks.recipe import build_optimizer
from nino.tasks.registry import DATASETS, MODELS
from nino.tasks.task import Task, default_data_dir, load_task

__all__ = [
    "DATASETS",
    "MODELS",
    "Batch",
    "BatchOrder",
    "Blocks",
    "Data",
    "Images",
    "Task",
    "build_optimizer",
    "default_data_dir",
    "load_task",
]
