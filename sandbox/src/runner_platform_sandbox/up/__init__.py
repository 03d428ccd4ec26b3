"""`make up`: start the sandbox, deploy the stacks, prove the access."""
