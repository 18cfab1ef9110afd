import numpy as np

from nino.trajectories.store import is_finite


def test_every_float16_is_told_apart_as_numpy_does() -> None:
    values = np.arange(2**16, dtype=np.uint16).view(np.float16)
    assert [is_finite(values[i : i + 1]) for i in range(len(values))] == np.isfinite(values).tolist()
    finite = values[np.isfinite(values)]
    assert is_finite(finite) and not is_finite(values)
