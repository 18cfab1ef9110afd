# Every task trained with every method from every seed.


rule evaluate:
    input:
        spec=PATHS.evaluation_spec("{task}", "{method}"),
        data=PATHS.data("{task}"),
        weights=lambda wildcards: RUN.weights(wildcards.method),
        source=lambda wildcards: RUN.sources(wildcards.method),  # changed code is another method
    output:
        multiext(
            PATHS.evaluation("{task}", "{method}", "{seed}") + "/",
            "run.json",
            "log.csv",
            "nowcasts.csv",
        ),
    log:
        PATHS.log("evaluate", "{task}", "{method}", "seed={seed}"),
    benchmark:
        PATHS.benchmark("evaluate", "{task}", "{method}", "seed={seed}")
    group:
        SITE.training_group(RUN)
    conda:
        "../../envs/nino.yaml"
    threads: 1
    resources:
        **SITE.where(lambda wildcards: RUN.tasks[wildcards.task].model.name),
        mem_mb=SITE.memory(8000),
        runtime=SITE.minutes(480, group=SITE.training_group(RUN)),
        # as many as `retries` in the profile: the one after them writes down why they were killed
        attempt=lambda wildcards, attempt: attempt,
        attempts=3,
    params:
        out=subpath(output[0], parent=True),
        weights=lambda wildcards, input: [f"--nowcaster={path}" for path in input.weights],
        data_dir=DATA_DIR,
    message:
        "evaluation: {wildcards.task}, {wildcards.method}, seed {wildcards.seed}"
    shell:
        "nino evaluate {input.spec} --seed {wildcards.seed} {params.weights}"
        " --out {params.out} {params.data_dir}"
        " --attempt {resources.attempt} --attempts {resources.attempts} 2> {log}"
