"""The config: read, checked against `nino.specs.Config`, and turned into what each stage is told to do."""

from nino.config.cache import data_checksum, write_versions
from nino.config.errors import ConfigError
from nino.config.experiment import Experiment
from nino.config.file_checks import require_files
from nino.config.layout import Layout
from nino.config.load import load, merge
from nino.config.resolve import resolve
from nino.config.site import Site, read_site
from nino.config.units import read_unit, write_units

__all__ = [
    "ConfigError",
    "Experiment",
    "Layout",
    "Site",
    "data_checksum",
    "load",
    "merge",
    "read_site",
    "read_unit",
    "require_files",
    "resolve",
    "write_units",
    "write_versions",
]
