"""The optimizer wrapper: a base optimizer takes most of the steps, a nowcaster one a period."""

from nino.optim.flat import from_tensors, to_tensors
from nino.optim.history import History
from nino.optim.nowcast_record import NowcastRecord
from nino.optim.wrapper import NiNo
from nino.schedule import Schedule, horizons, horizons_under

__all__ = ["History", "NiNo", "NowcastRecord", "Schedule", "from_tensors", "horizons", "horizons_under", "to_tensors"]
