# What every stage shares, and the data that it starts from.
#
# Rules with `cache:` share results between workflows: SNAKEMAKE_OUTPUT_CACHE=FOLDER snakemake --cache ...
# Snakemake takes the key of a result from the command as it stands in the rule, from params, and from the content of
# inputs that no job makes: spec (the stage's config) and code (its version; ancient, so that only the key depends on
# it), here and in the jobs before it. So params of such a rule hold what tells its jobs apart and the checksum of its
# data, and nothing that differs between folders: where data lie is among the resources, which are no part of the key.

import re


wildcard_constraints:
    task="|".join(map(re.escape, RUN.tasks)),
    method="|".join(map(re.escape, RUN.methods)),
    nowcaster="|".join(map(re.escape, RUN.nowcasters)) or "none",
    shard=r"\d+",
    seed=r"\d+",


DATA_DIR = f"--data-dir={RUN.data_dir}" if RUN.data_dir else ""  # an empty text stays empty when it is quoted


rule data:
    input:
        spec=PATHS.task_spec("{task}"),
        files=lambda wildcards: RUN.data_files(wildcards.task),
    output:
        PATHS.data("{task}"),
    log:
        PATHS.log("data", "{task}"),
    priority: 10  # everything waits for it
    conda:
        "../envs/nino.yaml"
    resources:
        **SITE.where(),
        mem_mb=SITE.memory(4000),
        runtime=SITE.minutes(60),
        data_dir=DATA_DIR,
    message:
        "data: {wildcards.task}"
    shell:
        "nino data {input.spec:q} --out {output:q} {resources.data_dir:q} 2> {log:q}"
