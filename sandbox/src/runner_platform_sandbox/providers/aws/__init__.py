"""The stand-in for Pulumi's `aws` plugin: the types that the programs use, by real API calls."""
