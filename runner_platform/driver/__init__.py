"""The driver: deploys stacks with the Pulumi engine, from a person's terminal or a GitLab job, and heals what a killed run left."""
