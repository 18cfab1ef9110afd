"""The cost of a run before anything starts: jobs, hours, disk and memory per stage."""
