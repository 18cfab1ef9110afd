"""L2O: a learned optimizer, a small network that computes each parameter's update; a baseline of the paper."""

from nino.l2o.fit import fit_l2o
from nino.l2o.net import L2ONet, load_l2o, save_l2o
from nino.l2o.optimizer import L2O

__all__ = ["L2O", "L2ONet", "fit_l2o", "load_l2o", "save_l2o"]
