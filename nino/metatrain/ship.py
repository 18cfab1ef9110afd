"""Fitted weights into the package, in half precision, with their card.

python -m nino.metatrain.ship results/weights/metatrain/nino/best.safetensors nino-1
"""

from __future__ import annotations

import argparse
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save

from nino.files import replacing, sha256, write_text
from nino.metatrain.card import model_card
from nino.nowcasters import shipped
from nino.nowcasters.checkpoints import metadata_in_order


def ship(path: Path, name: str, folder: Path = Path(shipped.__file__).parent) -> Path:
    """Write ``name.safetensors``, the weights rounded to float16, and ``name.md``, their card.

    Args:
        path: ``best.safetensors`` or ``last.safetensors`` of a fit; ``validation.csv`` is read beside it.
        name: what they are called from now on, with a number that no earlier weights have.
        folder: where to.

    Returns:
        The file, whose SHA-256 belongs into ``nino.nowcasters.shipped.SHIPPED``.

    Raises:
        FileExistsError: for a name that is taken: the same name always means the same bytes.
        FileNotFoundError, ValueError: as `model_card`.
    """
    out = folder / f"{name}.safetensors"
    if out.exists():
        raise FileExistsError(f"{out} is there already: take the next number, nobody's results may change")
    card = model_card(path, name)
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key).half().contiguous() for key in file.keys()}  # noqa: SIM118 (no mapping)
        data = metadata_in_order(save(tensors, metadata=file.metadata()))
    with replacing(out) as temporary:
        temporary.write_bytes(data)
    write_text(out.with_suffix(".md"), f"{card}\nSHA-256 of `{out.name}`: `{sha256(out)}`\n")
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, help="best.safetensors of a fit")
    parser.add_argument("name", help="such as nino-2")
    args = parser.parse_args()
    print(sha256(ship(args.path, args.name)))
