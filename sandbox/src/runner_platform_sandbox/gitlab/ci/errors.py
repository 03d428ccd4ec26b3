"""Errors of a pipeline file."""

from __future__ import annotations


class PipelineError(Exception):
    """GitLab, or its stand-in, refuses the pipeline file.

    The message names the job, the keyword and what to do.
    """


class EmptyPipelineError(PipelineError):
    """The file is correct, and no pipeline runs: `workflow: rules` or the rules of every job leave nothing to do."""
