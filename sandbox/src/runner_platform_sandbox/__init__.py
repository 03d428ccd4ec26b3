"""The cloud on one machine: where it can be real it is."""
