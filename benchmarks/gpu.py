"""Everything that a GPU must show, in one run of at most ten minutes: ``make gpu``.

Each part's figures are in a file of their own as soon as they are there, most important first; the next run goes on
with what is left. Needs torch, PyG, h5py, transformers and what these bring (`benchmarks.bare`).

    python -m benchmarks.gpu                                          # into results/gpu
    python -m benchmarks.gpu --device cpu --small --out FOLDER        # the rehearsal: a minute, no GPU
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.bare import stand_ins
from benchmarks.gpu_report import table

with stand_ins() as MISSING:
    from benchmarks.gpu_parts import Setting, parts
    from nino.device import device_named
    from nino.files import sha256, write_json, write_text
    from nino.provenance import provenance

RESULTS = Path(__file__).parents[1] / "results" / "gpu"


def is_done(path: Path) -> bool:
    """Whether a part's figures are there; one that failed is tried again."""
    return path.exists() and json.loads(path.read_text(encoding="utf-8"))["error"] is None


def run_group(group: str, setting: Setting) -> None:
    """Run a group's parts that are left, one after the other."""
    for belongs, name, work in parts(setting.small):
        path = setting.out / f"{name}.json"
        if belongs != group or is_done(path):
            continue
        start, result, error = time.perf_counter(), {}, None
        try:
            result = work(setting)
        except Exception:
            error = traceback.format_exc()
        took = round(time.perf_counter() - start, 2)
        about = {"device": setting.device, "small": setting.small, "when": datetime.now(UTC).isoformat()}
        write_json(path, about | {"part": name, "seconds": took, "result": result, "error": error})
        print(f"{name}: {'done' if error is None else 'FAILED'}, {took} s", flush=True)


def summarise(setting: Setting, took: float) -> dict[str, Any]:
    """Write the table and the manifest; what is done, failed and left."""
    states: dict[str, str] = {}
    for _, name, _ in parts(setting.small):
        path = setting.out / f"{name}.json"
        states[name] = ("done" if is_done(path) else "failed") if path.exists() else "left"
    found = [
        json.loads((setting.out / f"{n}.json").read_text(encoding="utf-8")) for n, s in states.items() if s != "left"
    ]
    write_text(setting.out / "README.md", table(found))
    files = {path.name: sha256(path) for path in sorted(setting.out.glob("*.*")) if path.name != "manifest.json"}
    about = provenance(device=setting.device, small=setting.small)
    stand_ins = {"stand_ins": MISSING, "seconds": round(took, 1), "when": datetime.now(UTC).isoformat()}
    manifest = about | stand_ins | {"parts": states, "files": files}
    write_json(setting.out / "manifest.json", manifest)
    return manifest


def main() -> int:
    """Parse, run what is left in the time that there is, summarise; the number of parts that failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, or one of nino.device.device_names()")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--seconds", type=float, default=570.0, help="after which no more is begun")
    parser.add_argument("--small", action="store_true", help="rehearse it in small")
    parser.add_argument("--here", action="store_true", help="in this process: no part is ended when time is up")
    parser.add_argument("--group", help=argparse.SUPPRESS)
    args = parser.parse_args()
    try:
        device = str(device_named(args.device))
    except ValueError as error:
        parser.error(str(error))
    if device == "cpu" and not args.small:
        parser.error("torch finds no GPU here: rehearse with --device cpu --small --out FOLDER")
    setting, start = Setting(device, args.out, args.small), time.perf_counter()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.group:
        run_group(args.group, setting)
        return 0
    for group in dict.fromkeys(group for group, *_ in parts(args.small)):
        names = [name for belongs, name, _ in parts(args.small) if belongs == group]
        left = args.seconds - (time.perf_counter() - start)
        if all(is_done(args.out / f"{name}.json") for name in names) or left <= 0:
            continue
        if args.here:
            run_group(group, setting)
            continue
        command = [sys.executable, "-m", "benchmarks.gpu", "--group", group, "--device", device, "--out", str(args.out)]
        try:
            subprocess.run([*command, *(["--small"] if args.small else [])], timeout=left, check=False)
        except subprocess.TimeoutExpired:
            print(f"{group}: time is up; the next run goes on from here", flush=True)
    manifest = summarise(setting, time.perf_counter() - start)
    counts = {state: list(manifest["parts"].values()).count(state) for state in ("done", "failed", "left")}
    print(f"{args.out}: " + ", ".join(f"{count} parts {state}" for state, count in counts.items()))
    return counts["failed"]


if __name__ == "__main__":
    sys.exit(main())
