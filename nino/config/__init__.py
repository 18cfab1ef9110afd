"""The config: read, checked against one closed schema, and turned into what each stage is told to do."""

from nino.config.cache import data_checksum, write_versions
from nino.config.errors import ConfigError
from nino.config.experiment import Experiment
from nino.config.layout import Layout
from nino.config.load import load, merge
from nino.config.resolve import resolve
from nino.config.site import Site, read_site
from nino.config.units import EvaluationUnit, MetatrainUnit, TrajectoryUnit, read_unit, write_units

__all__ = [
    "ConfigError",
    "EvaluationUnit",
    "Experiment",
    "Layout",
    "MetatrainUnit",
    "Site",
    "TrajectoryUnit",
    "data_checksum",
    "load",
    "merge",
    "read_site",
    "read_unit",
    "resolve",
    "write_units",
    "write_versions",
]
