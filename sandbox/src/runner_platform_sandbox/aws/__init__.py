"""The sandbox's AWS, seen from the project: `process` runs the server, `client` speaks to its control routes.

The server itself (`server/sandbox_aws`) runs in MiniStack's environment and is not importable from here.
"""
