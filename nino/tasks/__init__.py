"""What is trained: data set x architecture x recipe x target."""

from nino.tasks.averaging import Average, build_average
from nino.tasks.data import Batch, Blocks, Data, Images
from nino.tasks.order import BatchOrder
from nino.tasks.recipe import build_optimizer
from nino.tasks.registry import DATASETS, MODELS
from nino.tasks.sizes import DataSizes, UnknownSizesError, data_sizes
from nino.tasks.task import Task, default_data_dir, load_task

__all__ = [
    "DATASETS",
    "MODELS",
    "Average",
    "Batch",
    "BatchOrder",
    "Blocks",
    "Data",
    "DataSizes",
    "Images",
    "Task",
    "UnknownSizesError",
    "build_average",
    "build_optimizer",
    "data_sizes",
    "default_data_dir",
    "load_task",
]
