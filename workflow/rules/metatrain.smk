# Nowcasters fitted to trajectories.


rule metatrain:
    input:
        spec=PATHS.metatrain_spec("{nowcaster}"),
        trajectories=lambda wildcards: [PATHS.dataset(t) for t in RUN.nowcasters[wildcards.nowcaster].tasks],
        # the data sets are virtual: what is read lies in the shards
        shards=lambda wildcards: [
            PATHS.shard(t, i) for t in RUN.nowcasters[wildcards.nowcaster].tasks for i in RUN.shards(t)
        ],
    output:
        best=PATHS.checkpoint("{nowcaster}"),
        rest=multiext(
            PATHS.fit("{nowcaster}") + "/",
            "last.safetensors",
            "log.csv",
            "validation.csv",
        ),
    log:
        PATHS.log("metatrain", "{nowcaster}"),
    benchmark:
        PATHS.benchmark("metatrain", "{nowcaster}")
    priority: 10  # what meta-training waits for first, so that evaluations fill the time beside it
    conda:
        "../../envs/nino.yaml"
    threads: 1
    resources:
        **SITE.where("metatrain"),
        mem_mb=SITE.memory(16000),
        runtime=SITE.minutes(1440),
    params:
        out=subpath(output.best, parent=True),
        trajectories=lambda wildcards, input: [f"--trajectories={path}" for path in input.trajectories],
        data_dir=DATA_DIR,
    message:
        "meta-training: {wildcards.nowcaster}"
    shell:
        "nino metatrain {input.spec} {params.trajectories} --out {params.out} {params.data_dir} 2> {log}"
