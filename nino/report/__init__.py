"""From the runs' logs to statistics, tables, figures and a manifest."""
