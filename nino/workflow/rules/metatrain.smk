# Nowcasters fitted to trajectories, learned optimizers fitted to trainings.


rule metatrain:
    input:
        spec=PATHS.metatrain_spec("{nowcaster}"),
        trajectories=lambda wildcards: [PATHS.dataset(t) for t in RUN.nowcasters[wildcards.nowcaster].tasks],
        # the data sets are virtual: what is read lies in the shards
        shards=lambda wildcards: [
            PATHS.shard(t, i) for t in RUN.nowcasters[wildcards.nowcaster].tasks for i in RUN.shards(t)
        ],
        source=lambda wildcards: [path for t in RUN.nowcasters[wildcards.nowcaster].tasks for path in RUN.sources(t)],
        code=ancient(PATHS.code("metatrain")),
    output:
        multiext(
            PATHS.fit("{nowcaster}") + "/",
            best="best.safetensors",
            last="last.safetensors",
            log="log.csv",
            validation="validation.csv",
        ),
    log:
        PATHS.log("metatrain", "{nowcaster}"),
    cache: True
    priority: 10  # evaluations wait for it; those that do not fill the time beside it
    conda:
        "../envs/nino.yaml"
    threads: 1
    resources:
        **SITE.where("metatrain"),
        mem_mb=SITE.memory(16000),
        runtime=SITE.minutes(1440),
        data_dir=DATA_DIR,
    message:
        "meta-training: {wildcards.nowcaster}"
    shell:
        'trajectories=(); for file in {input.trajectories:q}; do trajectories+=(--trajectories="$file"); done;'
        ' nino metatrain {input.spec:q} "${{trajectories[@]}}"'
        ' --out "$(dirname {output.best:q})" {resources.data_dir:q} 2> {log:q}'


rule card:
    input:
        best=rules.metatrain.output.best,
        validation=rules.metatrain.output.validation,
    output:
        report(
            PATHS.card("{nowcaster}"),
            caption="../report/card.rst",
            category="Nowcasters",
            labels={"nowcaster": "{nowcaster}"},
        ),
    log:
        PATHS.log("card", "{nowcaster}"),
    conda:
        "../envs/nino.yaml"
    resources:
        **SITE.where(),
        mem_mb=SITE.memory(2000),
        runtime=SITE.minutes(60),
    message:
        "meta-training: model card of {wildcards.nowcaster}"
    shell:
        "nino card {input.best:q} --out {output:q} 2> {log:q}"


rule l2o:
    input:
        spec=PATHS.l2o_spec("{optimizer}"),
        data=lambda wildcards: PATHS.data(RUN.optimizers[wildcards.optimizer].task.id),
        source=lambda wildcards: RUN.sources(RUN.optimizers[wildcards.optimizer].task.id),
    output:
        best=PATHS.l2o_checkpoint("{optimizer}"),
        rest=multiext(
            PATHS.l2o("{optimizer}") + "/",
            "last.safetensors",
            "log.csv",
        ),
    log:
        PATHS.log("l2o", "{optimizer}"),
    benchmark:
        PATHS.benchmark("l2o", "{optimizer}")
    priority: 10  # its runs wait for it, the others fill the time beside it
    conda:
        "../envs/nino.yaml"
    threads: 1
    resources:
        **SITE.where("metatrain"),
        mem_mb=SITE.memory(8000),
        runtime=SITE.minutes(1440),
    params:
        out=subpath(output.best, parent=True),
        data_dir=DATA_DIR,
    message:
        "learned optimizer: {wildcards.optimizer}"
    shell:
        "nino l2o {input.spec:q} --out {params.out:q} {params.data_dir:q} 2> {log:q}"
