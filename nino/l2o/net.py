"""The network of a learned optimizer, and the file it is kept in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from nino.l2o.features import NUM_FEATURES
from nino.nowcasters.weight_file import read_weights, write_weights

FORMAT = 1
KIND = "l2o"
# An update of one is a hundredth: with weights of order one, steps are of the size of Adam's.
STEP_SCALE = 1e-2
EXPONENT_SCALE = 1e-1


class L2ONet(nn.Module):
    r"""A per-parameter MLP, features to direction d and magnitude e (after Metz et al., 2022, ``small_fc_lopt``).

    .. math:: \theta \leftarrow \theta - 0.01 \, d \, \exp(0.1 \, e)

    Two hidden layers of ReLUs. The last layer starts at zero, so an optimizer that has learned nothing does nothing.

    Args:
        hidden: width of the hidden layers (32 in the source).
        seed: of the initialisation.

    Shapes:
        (n, 39) -> (n,)
    """

    def __init__(self, hidden: int = 32, seed: int = 0) -> None:
        """See the class."""
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.inner = nn.Sequential(nn.Linear(NUM_FEATURES, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
            self.out = nn.Linear(hidden, 2)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.config = {"hidden": hidden}

    def forward(self, features: Tensor) -> Tensor:
        """The update of each element, to be subtracted."""
        direction, magnitude = self.out(self.inner(features)).unbind(1)
        update: Tensor = STEP_SCALE * direction * torch.exp(EXPONENT_SCALE * magnitude)
        return update


def save_l2o(net: L2ONet, path: Path, extra: Mapping[str, str] | None = None) -> None:
    """Save as safetensors, kind and sizes in the metadata, with a digest, at once or not at all.

    Args:
        net: what to save.
        path: file to write.
        extra: further metadata, such as how it was fitted.
    """
    write_weights(path, net, {"format": FORMAT, "kind": KIND, "config": net.config}, extra)


def load_l2o(path: Path) -> L2ONet:
    """Read what `save_l2o` wrote.

    Raises:
        FileNotFoundError: for a file that is missing.
        ValueError: for a file that is not a whole learned optimizer; says why.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: fit a learned optimizer with `nino l2o`")
    file = read_weights(path)
    about = file.about
    if about.get("kind") != KIND or about.get("format") != FORMAT:
        raise ValueError(f"{path} holds {about.get('kind')!r}, not a learned optimizer ({KIND!r}, format {FORMAT})")
    net = L2ONet(**about["config"])
    try:
        net.load_state_dict(file.tensors)
    except RuntimeError as error:
        raise ValueError(f"{path} does not hold one whole learned optimizer: {error}") from error
    return net
