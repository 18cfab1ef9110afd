# Every task trained with every method from every seed.


rule evaluate:
    message:
        "evaluation: {wildcards.task}, {wildcards.method}, seed {wildcards.seed}"
    input:
        spec=PATHS.evaluation_spec("{task}", "{method}"),
        data=PATHS.data("{task}"),
        weights=lambda wildcards: RUN.weights(wildcards.method),
    output:
        multiext(PATHS.evaluation("{task}", "{method}", "{seed}") + "/", "run.json", "log.csv", "nowcasts.csv"),
    log:
        PATHS.log("evaluate", "{task}", "{method}", "seed={seed}"),
    benchmark:
        PATHS.benchmark("evaluate", "{task}", "{method}", "seed={seed}")
    params:
        out=PATHS.evaluation("{task}", "{method}", "{seed}"),
        weights=lambda wildcards, input: [f"--nowcaster={path}" for path in input.weights],
        data_dir=DATA_DIR,
    threads: 1
    resources:
        mem_mb=4000,
        runtime=480,
    conda:
        "../../envs/nino.yaml"
    shell:
        "nino evaluate {input.spec} --seed {wildcards.seed} {params.weights}"
        " --out {params.out} {params.data_dir} 2> {log}"
