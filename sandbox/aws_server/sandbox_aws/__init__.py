"""The sandbox's AWS server: MiniStack behind a wrapper that answers as AWS does where MiniStack does not.

Runs in MiniStack's own environment and imports no other part of the project. MiniStack keeps the records and speaks the
protocols; each module here owns one topic in which AWS differs and the platform depends on it. A module replaces
functions of MiniStack by name (`patching`) or puts a handler before one of MiniStack's; `listeners` stands in front of the
whole. sandbox/docs/aws.md lists the remaining differences.
"""
