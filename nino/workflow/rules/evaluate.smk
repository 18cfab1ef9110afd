# Every task trained with every method from every seed.

TRAINED_WHERE = SITE.where(lambda wildcards: RUN.tasks[wildcards.task].model.name)
# Each job of several runs has a rule of its own, because no wildcard says which runs belong to it.
TOGETHER = [job for job in RUN.jobs if len(job) > 1]


rule evaluate:
    input:
        spec=PATHS.evaluation_spec("{task}", "{method}"),
        data=PATHS.data("{task}"),
        weights=lambda wildcards: RUN.weights(wildcards.method),
        source=lambda wildcards: RUN.sources(wildcards.task, wildcards.method),  # changed code is another method
    output:
        multiext(PATHS.evaluation("{task}", "{method}", "{seed}") + "/", *RUN_FILES),
    log:
        PATHS.log("evaluate", "{task}", "{method}", "seed={seed}"),
    benchmark:
        PATHS.benchmark("evaluate", "{task}", "{method}", "seed={seed}")
    wildcard_constraints:
        task="".join(f"(?!{job.pattern}/)" for job in TOGETHER) + f"(?:{'|'.join(map(re.escape, RUN.tasks))})",
    group:
        SITE.training_group(RUN)
    conda:
        "../envs/nino.yaml"
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


for number, job in enumerate(TOGETHER):

    # All rules of a loop get the shell command of the last one. It must be the same in all: what differs is in params.
    rule:
        name:
            f"evaluate_{number}"
        input:
            specs=[PATHS.evaluation_spec("{task}", method) for method in job.methods],
            data=PATHS.data("{task}"),
            weights=[path for method in job.methods for path in RUN.weights(method)],
            source=lambda wildcards, methods=job.methods: RUN.sources(wildcards.task, *methods),
        output:
            [f"{PATHS.evaluation('{task}', *run)}/{name}" for run in job.runs for name in RUN_FILES],
        log:
            PATHS.log("evaluate", "{task}", job.name),
        benchmark:
            PATHS.benchmark("evaluate", "{task}", job.name)
        wildcard_constraints:
            task="|".join(map(re.escape, job.tasks)),
        priority: min(len(job), 9)  # long ones first, so that no core waits for the last; below what a fit waits for
        group:
            SITE.training_group(RUN, job.methods)
        conda:
            "../envs/nino.yaml"
        threads: 1
        resources:
            **TRAINED_WHERE,
            mem_mb=SITE.memory(8000 * min(RUN.members_per_job or 1, len(job.seeds))),
            runtime=SITE.minutes(480 * len(job), group=SITE.training_group(RUN, job.methods)),
            attempt=lambda wildcards, attempt: attempt,
            attempts=3,
        params:
            seeds=[f"--seed={seed}" for seed in job.seeds],
            members=[f"--members={RUN.members_per_job}"] if RUN.members_per_job else [],
            out=PATHS.under("evaluate", "{task}", *(job.methods if len(job.methods) == 1 else ())),
            weights=[f"--nowcaster={method}={path}" for method in job.methods for path in RUN.weights(method)],
            data_dir=DATA_DIR,
        message:
            f"evaluation: {{wildcards.task}}, {', '.join(job.methods)}, seeds {', '.join(map(str, job.seeds))}"
        shell:
            "nino evaluate {input.specs:q} {params.seeds:q} {params.members:q} {params.weights:q}"
            " --out {params.out:q} {params.data_dir:q}"
            " --attempt {resources.attempt:q} --attempts {resources.attempts:q} 2> {log:q}"
