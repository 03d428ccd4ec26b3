"""The gate without an engine: the real policy pack, in its own process, judges what a program registers or what is deployed."""

from automation.gate.findings import Finding
from automation.gate.judge import judge, judge_deployed

__all__ = ["Finding", "judge", "judge_deployed"]
