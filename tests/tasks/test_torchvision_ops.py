import subprocess
import sys


def test_torchvision_imports_in_a_fresh_process():
    code = (
        "from nino.tasks.torchvision_ops import declare_missing_operators as declare; declare(); declare();"
        "import torch, torchvision; from torchvision import datasets, models, transforms; declare();"
        "assert torch.ops.torchvision.nms and torch.ops.torchvision.qnms"
    )
    done = subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
