"""The command line and what stands behind it: drives stacks by name, and rehearses the programs without an engine."""
