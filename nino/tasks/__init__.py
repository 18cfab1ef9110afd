"""What is trained: data set x architecture x recipe x target."""
