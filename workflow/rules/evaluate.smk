# Every task trained with every method from every seed.

# What a job reads and where it runs, whether it is of one seed or of several.
EVALUATED = dict(
    spec=PATHS.evaluation_spec("{task}", "{method}"),
    data=PATHS.data("{task}"),
    weights=lambda wildcards: RUN.weights(wildcards.method),
    source=lambda wildcards: RUN.sources(wildcards.method),  # changed code is another method
)
TRAINED_WHERE = SITE.where(lambda wildcards: RUN.tasks[wildcards.task].model.name)
# Chunks of several seeds have a rule each: their names stand in no wildcard.
TOGETHER = [chunk for chunk in RUN.chunks if len(chunk) > 1]


rule evaluate:
    input:
        **EVALUATED,
    output:
        multiext(PATHS.evaluation("{task}", "{method}", "{seed}") + "/", *RUN_FILES),
    log:
        PATHS.log("evaluate", "{task}", "{method}", "seed={seed}"),
    benchmark:
        PATHS.benchmark("evaluate", "{task}", "{method}", "seed={seed}")
    wildcard_constraints:
        seed="".join(f"(?!{seed}/)" for chunk in TOGETHER for seed in chunk) + r"\d+",
    group:
        SITE.training_group(RUN)
    conda:
        "../../envs/nino.yaml"
    threads: 1
    resources:
        **TRAINED_WHERE,
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
        "nino evaluate {input.spec:q} --seed {wildcards.seed:q} {params.weights:q}"
        " --out {params.out:q} {params.data_dir:q}"
        " --attempt {resources.attempt:q} --attempts {resources.attempts:q} 2> {log:q}"


for number, chunk in enumerate(TOGETHER):

    # A shell command that differs between rules of a loop is the last one's in all of them: what differs is in params.
    rule:
        name:
            f"evaluate_{number}"
        input:
            **EVALUATED,
        output:
            [f"{PATHS.evaluation('{task}', '{method}', seed)}/{name}" for seed in chunk for name in RUN_FILES],
        log:
            PATHS.log("evaluate", "{task}", "{method}", f"seeds={chunk[0]}-{chunk[-1]}"),
        benchmark:
            PATHS.benchmark("evaluate", "{task}", "{method}", f"seeds={chunk[0]}-{chunk[-1]}")
        group:
            SITE.training_group(RUN)
        conda:
            "../../envs/nino.yaml"
        threads: 1
        resources:
            **TRAINED_WHERE,
            mem_mb=SITE.memory(8000 * min(RUN.members_per_job or 1, len(chunk))),
            runtime=SITE.minutes(480 * len(chunk), group=SITE.training_group(RUN)),
            attempt=lambda wildcards, attempt: attempt,
            attempts=3,
        params:
            seeds=[f"--seed={seed}" for seed in chunk],
            members=[f"--members={RUN.members_per_job}"] if RUN.members_per_job else [],
            out=subpath(output[0], ancestor=2),
            weights=lambda wildcards, input: [f"--nowcaster={path}" for path in input.weights],
            data_dir=DATA_DIR,
        message:
            "evaluation: {wildcards.task}, {wildcards.method}, seeds " + ", ".join(map(str, chunk))
        shell:
            "nino evaluate {input.spec:q} {params.seeds:q} {params.members:q} {params.weights:q}"
            " --out {params.out:q} {params.data_dir:q}"
            " --attempt {resources.attempt:q} --attempts {resources.attempts:q} 2> {log:q}"
