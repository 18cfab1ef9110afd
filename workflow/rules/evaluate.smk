# Every task trained with every method from every seed.


rule evaluate:
    input:
        spec=PATHS.evaluation_spec("{task}", "{method}"),
        data=PATHS.data("{task}"),
        weights=lambda wildcards: RUN.weights(wildcards.method),
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
    conda:
        "../../envs/nino.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=480,
    params:
        out=subpath(output[0], parent=True),
        weights=lambda wildcards, input: [f"--nowcaster={path}" for path in input.weights],
        data_dir=DATA_DIR,
    message:
        "evaluation: {wildcards.task}, {wildcards.method}, seed {wildcards.seed}"
    shell:
        "nino evaluate {input.spec} --seed {wildcards.seed} {params.weights}"
        " --out {params.out} {params.data_dir} 2> {log}"
