"""Deployments that survive cancelled jobs, dead machines and expired credentials: the driver of the platform's stacks."""
