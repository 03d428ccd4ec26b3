"""The sandbox's AWS: MiniStack behind a wrapper that answers as AWS does where MiniStack does not.

Runs in MiniStack's own environment and imports nothing from the rest of the project. MiniStack keeps the records and
speaks the protocols; the modules here own the differences that the platform depends on, one topic each. A difference is
closed by replacing a function of MiniStack by name (`patching`), by a handler that runs before or instead of one of
MiniStack's, or in front of the whole (`asgi`). What is still different is listed in sandbox/docs/aws.md.
"""
