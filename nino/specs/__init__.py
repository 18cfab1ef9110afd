"""What each stage is told to do: small frozen dataclasses, one to one with the config's entries.

Each is described once: the types of its fields say what is allowed, its docstring what they mean. The config's JSON
Schema, its errors and ``nino config keys`` are made from these.
"""

from nino.specs.base import Spec
from nino.specs.config import Config
from nino.specs.errors import dotted, problems, suggest
from nino.specs.l2o import L2OSpec, L2OUnit
from nino.specs.metatrain import MetatrainSpec, MetatrainUnit
from nino.specs.methods import EvaluationUnit, MethodSpec
from nino.specs.references import Reference
from nino.specs.report import ReportSpec
from nino.specs.schedule import ScheduleSpec
from nino.specs.site import SiteSpec
from nino.specs.studies import OverheadSpec, PermutationSpec
from nino.specs.targets import TargetSpec
from nino.specs.tasks import DataSpec, EvaluationSpec, ModelSpec, RecipeSpec, TaskSpec
from nino.specs.trajectories import TrajectorySpec, TrajectoryUnit

__all__ = [
    "Config",
    "DataSpec",
    "EvaluationSpec",
    "EvaluationUnit",
    "L2OSpec",
    "L2OUnit",
    "MethodSpec",
    "MetatrainSpec",
    "MetatrainUnit",
    "ModelSpec",
    "OverheadSpec",
    "PermutationSpec",
    "RecipeSpec",
    "Reference",
    "ReportSpec",
    "ScheduleSpec",
    "SiteSpec",
    "Spec",
    "TargetSpec",
    "TaskSpec",
    "TrajectorySpec",
    "TrajectoryUnit",
    "dotted",
    "problems",
    "suggest",
]
