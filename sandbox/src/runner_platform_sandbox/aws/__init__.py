"""The sandbox's AWS server, seen from the project: `process` runs it, `client` calls its control routes.

The server itself (`sandbox/aws_server`) runs in MiniStack's environment and cannot be imported here.
"""
