"""The cost of a run before anything starts: jobs, hours, disk and memory per stage."""

from nino.plan.disk import Need, needs, require_room, shortage
from nino.plan.estimate import plan
from nino.plan.measured import Measured
from nino.plan.printing import as_dict, as_text
from nino.plan.rows import Plan, Row

__all__ = [
    "Measured",
    "Need",
    "Plan",
    "Row",
    "as_dict",
    "as_text",
    "needs",
    "plan",
    "require_room",
    "shortage",
]
