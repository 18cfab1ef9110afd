import json
import os
import subprocess
import sys

import pytest
import torch

from nino.kernels import SHARED, VARIABLE, choose_kernels, kernels


def recorded(imported: str, **variables: str) -> dict:
    code = f"import json, {imported}; from nino.kernels import kernels; print(json.dumps(kernels()))"
    environment = {**os.environ, **variables, "OMP_NUM_THREADS": "1"}
    printed = subprocess.check_output([sys.executable, "-c", code], text=True, env=environment)
    return json.loads(printed)  # and nothing else: what the libraries say of themselves goes nowhere


def test_the_kernels_of_linear_algebra_are_recorded() -> None:
    """They decide the basis of equal eigenvalues, and so a nowcast's last digits."""
    plain = recorded("numpy", OPENBLAS_CORETYPE="Haswell")["blas"]
    if not any(name.startswith("openblas") for name in plain):
        pytest.skip("numpy is not built with OpenBLAS here")
    whatever = recorded("scipy.linalg", OPENBLAS_CORETYPE="Haswell")
    assert plain == whatever["blas"] == ["openblas Haswell"]
    assert whatever["aten"] is whatever["onednn"] is whatever["mkl"] is None, "torch was not imported"
    assert recorded("numpy", OPENBLAS_CORETYPE="Nehalem")["blas"] != plain


def test_torchs_kernels_are_those_that_it_was_told_to_take() -> None:
    if torch.backends.cpu.get_cpu_capability() == "DEFAULT" or not torch.backends.mkl.is_available():
        pytest.skip("no processor with AVX2, or torch is built without MKL")
    shared = recorded("torch", **SHARED)
    assert shared["aten"] == "AVX2"
    assert shared["onednn"].startswith("oneDNN v") and shared["onednn"].endswith(", Intel AVX2")
    assert shared["mkl"].startswith("oneMKL ") and shared["mkl"].endswith("CNR:COMPATIBLE")


def test_asking_again_says_the_same_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    assert kernels() == kernels()
    assert capfd.readouterr().out == ""


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`NINO_KERNELS` \(='avx512'\) must be native .* or shared"):
        choose_kernels({VARIABLE: "avx512"})
    untouched = {VARIABLE: "native"}
    choose_kernels(untouched)
    assert untouched == {VARIABLE: "native"}
