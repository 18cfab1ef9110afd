"""From the runs' logs to statistics, tables and figures."""
