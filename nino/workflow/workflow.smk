# The whole workflow: data -> trajectories -> meta-training -> evaluation -> report. A workspace's Snakefile includes it.
# The config is checked here, before any job; every rule calls one `nino` command.

import os
import subprocess
from pathlib import Path

from snakemake.utils import min_version

from nino.config.cache import data_checksum, write_versions
from nino.config.errors import ConfigError
from nino.config.file_checks import require_files
from nino.config.layout import Layout
from nino.config.resolve import resolve
from nino.config.site import read_site
from nino.config.units import write_units
from nino.evaluate.run_folder import FILES as RUN_FILES
from nino.specs import report as names
from nino.specs import studies
from nino.workflow import FOLDER, workspace_file

min_version("9.0")

# A job's threads are those of its rule, of which Snakemake tells it: all jobs together take no more than the cores.
os.environ.pop("NINO_THREADS", None)


# The workspace: where its Snakefile lies, else where Snakemake works. What it has not of its own is the package's.
WORKSPACE = (Path(workflow.basedir), Path())


configfile: workspace_file("config.yaml", *WORKSPACE) or FOLDER / "config.yaml"


try:
    RUN = resolve(config, workflow.overwrite_configfiles)
    require_files(RUN)
    SITE = read_site((workspace_file("slurm/site.yaml", *WORKSPACE) or FOLDER / "slurm" / "site.yaml").parent)
except ConfigError as error:
    raise WorkflowError("The config cannot be run:", *error.problems) from None

PATHS = Layout(RUN.run)
write_units(RUN)
write_versions(PATHS, packages=RUN.packages)


# The first page shows the summary of all tasks; a report of a study's table alone (--report FILE -- TARGET) has none.
if Path(PATHS.tables, "captions", "summary.rst").is_file():

    report: "report/workflow.rst"


onstart:
    # Before any job, where jobs are about to run: trajectories take nearly all of the disk that a run needs.
    shards = [job.output[0] for job in workflow.dag.needrun_jobs() if job.rule.name == "collect"]
    if shards:
        # In a process of its own: it imports torch, which the one that starts the jobs has no use for.
        asked = subprocess.run(["nino", "room", PATHS.config, *shards], stderr=subprocess.PIPE)
        if asked.returncode:
            raise WorkflowError(asked.stderr.decode().strip())


include: "rules/data.smk"
include: "rules/trajectories.smk"
include: "rules/metatrain.smk"
include: "rules/evaluate.smk"
include: "rules/report.smk"
include: "rules/studies.smk"


# What a Snakefile asks for where nothing is named: an included workflow has no target of its own.
EVERYTHING = [
    rules.tables.output,
    rules.figures.output,
    rules.manifest.output,
    [PATHS.datasheet(task) for task in RUN.collected],
    [PATHS.card(nowcaster) for nowcaster in RUN.fitted],
    [PATHS.under("tables", f"{study}.html") for study in RUN.studies],
    # Tables are kept in git and what they were made from is not: asked for by name, it is made where it is missing.
    RUNS,
]
