# Studies that are no training runs, each asked for by its table:
#   snakemake --cores 1 results/<run>/tables/permutation.md


rule permutation:
    input:
        spec=PATHS.study_spec("permutation"),
    output:
        report(
            f"{PATHS.tables}/permutation.html",
            caption="../report/permutation.rst",
            category="Studies",
            labels={"study": "permutation", "shows": "table"},
        ),
        report(
            f"{PATHS.figures}/permutation.svg",
            caption="../report/permutation.rst",
            category="Studies",
            labels={"study": "permutation", "shows": "figure"},
        ),
        multiext(f"{PATHS.tables}/permutation", ".csv", ".md", ".tex", ".rst"),
        f"{PATHS.tables}/captions/permutation.rst",
        f"{PATHS.figures}/permutation.png",
        PATHS.study_manifest("permutation"),
    log:
        PATHS.log("studies", "permutation"),
    conda:
        "../envs/nino.yaml"
    resources:
        **SITE.where(),
        mem_mb=SITE.memory(2000),
        runtime=SITE.minutes(30),
    params:
        results=subpath(output[0], ancestor=2),
    message:
        "study: permutations of attention"
    shell:
        "nino permutation {input.spec:q} --out {params.results:q} > {log:q} 2>&1"


rule overhead:
    input:
        spec=PATHS.study_spec("overhead"),
    output:
        report(
            f"{PATHS.tables}/overhead.html",
            caption="../report/overhead.rst",
            category="Studies",
            labels={"study": "overhead", "shows": "table"},
        ),
        multiext(f"{PATHS.tables}/overhead", ".csv", ".md", ".tex", ".rst"),
        f"{PATHS.tables}/captions/overhead.rst",
        PATHS.study_manifest("overhead"),
    log:
        PATHS.log("studies", "overhead"),
    conda:
        "../envs/nino.yaml"
    resources:
        **SITE.where("llama"),
        mem_mb=SITE.memory(24000),
        runtime=SITE.minutes(120),
    params:
        results=subpath(output[0], ancestor=2),
    message:
        "study: what nowcasts cost"
    shell:
        "nino overhead {input.spec:q} --out {params.results:q} > {log:q} 2>&1"
