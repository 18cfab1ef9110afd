"""What a run will take, before anything starts: jobs, hours, disk and memory a stage."""

from nino.plan.disk import Need, needs, parameter_shapes, require_room, shortage
from nino.plan.estimate import Plan, Row, plan
from nino.plan.facts import Facts, UnknownSizesError, data_facts
from nino.plan.table import as_dict, as_text

__all__ = [
    "Facts",
    "Need",
    "Plan",
    "Row",
    "UnknownSizesError",
    "as_dict",
    "as_text",
    "data_facts",
    "needs",
    "parameter_shapes",
    "plan",
    "require_room",
    "shortage",
]
