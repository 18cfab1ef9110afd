"""What a run will take, before anything starts: jobs, hours, disk and memory a stage."""

from nino.plan.disk import Need, needs, require_room, shortage
from nino.plan.estimate import Plan, Row, plan
from nino.plan.table import as_dict, as_text

__all__ = [
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
