# Tables, figures and the record of where every number comes from.

RUNS = expand(rules.evaluate.output, task=RUN.evaluated, method=RUN.methods, seed=RUN.seeds)


rule tables:
    message:
        "report: tables"
    input:
        spec=PATHS.report_spec,
        runs=RUNS,
    output:
        [
            report(
                f"{PATHS.tables}/{name}.html",
                caption=f"../report/{name}.rst",
                category="Tables",
                labels={"table": name.replace("_", " ")},
            )
            for name in names.TABLES
        ],
        expand("{folder}/{name}.{kind}", folder=PATHS.tables, name=names.TABLES, kind=("csv", "md", "tex")),
        expand("{folder}/captions/{name}.rst", folder=PATHS.tables, name=names.TABLES),
        f"{PATHS.tables}/summary.json",
    log:
        PATHS.log("report", "tables"),
    params:
        results=PATHS.root,
        out=PATHS.tables,
    resources:
        mem_mb=2000,
        runtime=30,
    conda:
        "../../envs/nino.yaml"
    shell:
        "nino tables {input.spec} --results {params.results} --out {params.out} > {log} 2>&1"


rule figures:
    message:
        "report: figures"
    input:
        spec=PATHS.report_spec,
        runs=RUNS,
    output:
        [
            report(
                f"{PATHS.figures}/{figure.name}.svg",
                caption=f"../report/{figure.kind}.rst",
                category="Figures",
                subcategory=figure.task,
                labels={"figure": figure.kind, "task": figure.task},
            )
            for figure in names.figures(RUN.report)
        ],
        [f"{PATHS.figures}/{figure.name}.png" for figure in names.figures(RUN.report)],
        [f"{PATHS.figures}/captions/{figure.name}.rst" for figure in names.figures(RUN.report)],
    log:
        PATHS.log("report", "figures"),
    params:
        results=PATHS.root,
        out=PATHS.figures,
        data_dir=DATA_DIR,
    resources:
        mem_mb=4000,
        runtime=60,
    conda:
        "../../envs/nino.yaml"
    shell:
        "nino figures {input.spec} --results {params.results} --out {params.out} {params.data_dir} > {log} 2>&1"


rule manifest:
    message:
        "report: manifest"
    input:
        spec=PATHS.report_spec,
        config=PATHS.config,
        runs=RUNS,
        tables=rules.tables.output,
        figures=rules.figures.output,
    output:
        PATHS.manifest,
    log:
        PATHS.log("report", "manifest"),
    params:
        results=PATHS.root,
    resources:
        mem_mb=2000,
        runtime=30,
    conda:
        "../../envs/nino.yaml"
    shell:
        "nino manifest {input.spec} --resolved {input.config} --results {params.results} > {log} 2>&1"
