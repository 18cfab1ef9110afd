# Networks trained for meta-training: shards, joined into one data set a task, described by a datasheet.


rule collect:
    input:
        spec=PATHS.trajectory_spec("{task}"),
        data=PATHS.data("{task}"),
        source=lambda wildcards: RUN.sources(wildcards.task),
        code=ancient(PATHS.code("collect")),
    output:
        PATHS.shard("{task}", "{shard}"),
    log:
        PATHS.log("collect", "{task}", "shard={shard}"),
    cache: True
    priority: 10  # what meta-training waits for first, so that evaluations fill the time beside it
    conda:
        "../../envs/nino.yaml"
    threads: 1
    resources:
        **SITE.where(lambda wildcards: RUN.tasks[wildcards.task].model.name),
        mem_mb=SITE.memory(4000),
        runtime=SITE.minutes(1440),
        data_dir=DATA_DIR,
    params:
        shard="{shard}",
        data=lambda wildcards, input: data_checksum(input.data),
    message:
        "trajectories: {wildcards.task}, shard {wildcards.shard}"
    shell:
        "nino collect {input.spec:q} --shard {params.shard:q} --out {output:q} {resources.data_dir:q} 2> {log:q}"


rule join:
    input:
        lambda wildcards: [PATHS.shard(wildcards.task, i) for i in RUN.shards(wildcards.task)],
    output:
        PATHS.dataset("{task}"),
    log:
        PATHS.log("join", "{task}"),
    priority: 10  # what meta-training waits for first, so that evaluations fill the time beside it
    group:
        "merge"
    conda:
        "../../envs/nino.yaml"
    resources:
        **SITE.where(),
        mem_mb=SITE.memory(2000),
        runtime=SITE.minutes(60),
    message:
        "trajectories: join {wildcards.task}"
    shell:
        "nino join {input:q} --out {output:q} 2> {log:q}"


rule datasheet:
    input:
        PATHS.dataset("{task}"),
    output:
        report(
            PATHS.datasheet("{task}"),
            caption="../report/datasheet.rst",
            category="Trajectories",
            labels={"task": "{task}"},
        ),
    log:
        PATHS.log("datasheet", "{task}"),
    group:
        "merge"
    conda:
        "../../envs/nino.yaml"
    resources:
        **SITE.where(),
        mem_mb=SITE.memory(2000),
        runtime=SITE.minutes(60),
    message:
        "trajectories: datasheet of {wildcards.task}"
    shell:
        "nino datasheet {input:q} --out {output:q} 2> {log:q}"
