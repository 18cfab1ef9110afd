# Tables, figures and the record of where every number comes from.

RUNS = [
    path
    for task, method, seed in RUN.evaluations
    for path in expand(rules.evaluate.output, task=task, method=method, seed=seed)
]


rule tables:
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
        expand(
            "{folder}/{name}.{kind}",
            folder=PATHS.tables,
            name=names.TABLES,
            kind=("csv", "md", "tex", "rst"),
        ),
        expand("{folder}/captions/{name}.rst", folder=PATHS.tables, name=names.TABLES),
        f"{PATHS.tables}/summary.json",
    log:
        PATHS.log("report", "tables"),
    conda:
        "../envs/nino.yaml"
    resources:
        **SITE.where(),
        mem_mb=SITE.memory(2000),
        runtime=SITE.minutes(30),
    params:
        results=subpath(output[0], ancestor=2),
        out=subpath(output[0], parent=True),
    message:
        "report: tables"
    shell:
        "nino tables {input.spec:q} --results {params.results:q} --out {params.out:q} > {log:q} 2>&1"


rule figures:
    input:
        spec=PATHS.report_spec,
        runs=RUNS,
    output:
        [
            report(
                f"{PATHS.figures}/{figure.name}.svg",
                caption=f"../report/{figure.kind}.rst",
                category="Figures",
                subcategory=figure.task or "all tasks",
                labels={"figure": figure.kind, "task": figure.task},
            )
            for figure in names.figures(RUN.report)
        ],
        [f"{PATHS.figures}/{figure.name}.png" for figure in names.figures(RUN.report)],
        [f"{PATHS.figures}/captions/{figure.name}.rst" for figure in names.figures(RUN.report)],
    log:
        PATHS.log("report", "figures"),
    conda:
        "../envs/nino.yaml"
    resources:
        **SITE.where(),
        mem_mb=SITE.memory(4000),
        runtime=SITE.minutes(60),
    params:
        results=subpath(output[0], ancestor=2),
        out=subpath(output[0], parent=True),
        data_dir=DATA_DIR,
    message:
        "report: figures"
    shell:
        "nino figures {input.spec:q} --results {params.results:q} --out {params.out:q} {params.data_dir:q} > {log:q} 2>&1"


rule manifest:
    input:
        spec=PATHS.report_spec,
        config=PATHS.config,
        runs=RUNS,
        tables=rules.tables.output,
        figures=rules.figures.output,
        studies=[PATHS.under("tables", f"{study}.html") for study in RUN.studies],
    output:
        PATHS.manifest,
    log:
        PATHS.log("report", "manifest"),
    conda:
        "../envs/nino.yaml"
    resources:
        **SITE.where(),
        mem_mb=SITE.memory(2000),
        runtime=SITE.minutes(30),
    params:
        results=subpath(output[0], parent=True),
    message:
        "report: manifest"
    shell:
        "nino manifest {input.spec:q} --resolved {input.config:q} --results {params.results:q} > {log:q} 2>&1"


# Tables of studies are made where report.studies names them, and when asked for by name:
#   snakemake --cores 1 --configfile FILE -- results/<run>/tables/<study>.md
for study in studies.STUDY_TABLES:

    rule:
        name:
            f"study_{study}"
        input:
            spec=PATHS.report_spec,
            runs=RUNS,
        output:
            [
                (
                    report(
                        PATHS.under(file),
                        caption="../report/study.rst",
                        category="Studies",
                        labels={"study": study, "shows": shows},
                    )
                    if shows
                    else PATHS.under(file)
                )
                for file, shows in studies.study_artifacts(study)
            ],
        log:
            PATHS.log("report", study),
        conda:
            "../envs/nino.yaml"
        resources:
            **SITE.where(),
            mem_mb=SITE.memory(2000),
            runtime=SITE.minutes(30),
        params:
            study=study,
            results=subpath(output[0], ancestor=2),
        message:
            "report: study {params.study}"
        shell:
            "nino study {params.study:q} {input.spec:q} --results {params.results:q} > {log:q} 2>&1"
