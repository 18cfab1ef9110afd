#!/usr/bin/env bash
# Snakemake runs this in the conda environment that it has made of nino.yaml: the rules' command, from this checkout, or of
# the version that Snakemake itself runs with.
set -euo pipefail
if [ -f pyproject.toml ] && [ -d nino ]; then
    python -m pip install --no-deps --no-build-isolation --editable "$PWD"
else
    version=$(nino --version)
    python -m pip install --no-deps "nino-nowcast==${version##* }"
fi
