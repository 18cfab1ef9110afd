# The benchmark: its rules come with the installed package. Rules and targets of your own may follow.
#   snakemake --cores 2 --configfile workflow/configs/smoke.yaml

from nino.workflow import WORKFLOW


include: WORKFLOW


rule all:
    default_target: True
    input:
        EVERYTHING,
    message:
        "all of it"
