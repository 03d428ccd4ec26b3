"""`make up`: start the sandbox, deploy the three stacks, prove the access, print a summary."""
