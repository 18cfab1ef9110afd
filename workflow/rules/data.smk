# What every stage shares, and the data that it starts from.

import re


wildcard_constraints:
    task="|".join(map(re.escape, RUN.tasks)),
    method="|".join(map(re.escape, RUN.methods)),
    nowcaster="|".join(map(re.escape, RUN.nowcasters)) or "none",
    shard=r"\d+",
    seed=r"\d+",


DATA_DIR = f"--data-dir={RUN.data_dir}" if RUN.data_dir else ""


rule data:
    input:
        spec=PATHS.task_spec("{task}"),
    output:
        PATHS.data("{task}"),
    log:
        PATHS.log("data", "{task}"),
    conda:
        "../../envs/nino.yaml"
    resources:
        **SITE.where(),
        mem_mb=SITE.memory(4000),
        runtime=SITE.minutes(60),
    params:
        data_dir=DATA_DIR,
    message:
        "data: {wildcards.task}"
    shell:
        "nino data {input.spec} --out {output} {params.data_dir} 2> {log}"
