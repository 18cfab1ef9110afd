# Networks trained for meta-training: shards, joined into one data set a task, described by a datasheet.


rule collect:
    message:
        "trajectories: {wildcards.task}, shard {wildcards.shard}"
    input:
        spec=PATHS.trajectory_spec("{task}"),
        data=PATHS.data("{task}"),
    output:
        PATHS.shard("{task}", "{shard}"),
    log:
        PATHS.log("collect", "{task}", "shard={shard}"),
    benchmark:
        PATHS.benchmark("collect", "{task}", "shard={shard}")
    params:
        data_dir=DATA_DIR,
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
    conda:
        "../../envs/nino.yaml"
    shell:
        "nino collect {input.spec} --shard {wildcards.shard} --out {output} {params.data_dir} 2> {log}"


rule join:
    message:
        "trajectories: join {wildcards.task}"
    input:
        lambda wildcards: [PATHS.shard(wildcards.task, i) for i in RUN.shards(wildcards.task)],
    output:
        PATHS.dataset("{task}"),
    log:
        PATHS.log("join", "{task}"),
    resources:
        mem_mb=2000,
        runtime=60,
    conda:
        "../../envs/nino.yaml"
    shell:
        "nino join {input} --out {output} 2> {log}"


rule datasheet:
    message:
        "trajectories: datasheet of {wildcards.task}"
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
    resources:
        mem_mb=2000,
        runtime=60,
    conda:
        "../../envs/nino.yaml"
    shell:
        "nino datasheet {input} --out {output} 2> {log}"
