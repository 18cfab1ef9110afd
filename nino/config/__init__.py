"""The config: read, checked against `nino.specs.Config`, and turned into what each stage is told to do."""
