#!/usr/bin/env bash
# Snakemake runs this in the conda environment that it has made of nino.yaml: the rules' command, from this checkout.
set -euo pipefail
python -m pip install --no-deps --no-build-isolation --editable "$PWD"
