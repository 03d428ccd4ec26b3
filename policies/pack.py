"""The pack as the engine talks to it: a server that evaluates all rules in one pass.

The SDK decodes a resource again for each policy, and a whole stack again for each policy of stacks; with fifty rules that is fifty times
the work (docs/adr/0008-one-pass-over-the-policies.md, benchmarks/policy_pack.py). `PackServer` decodes once, remembers inputs for the rules
of whole stacks, and builds one index for all of them; the SDK still describes and configures the policies. The server also guarantees what
no configuration may change: a mandatory rule can be neither switched off nor lowered, what a rule cannot decide is a finding of its own,
and what only a first preview cannot know is reported as DEFERRED.
"""

from __future__ import annotations

import sys
import threading
from concurrent import futures
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from pulumi.runtime import proto
from pulumi.runtime.proto import analyzer_pb2_grpc
from pulumi_policy import (
    EnforcementLevel,
    PolicyConfigSchema,
    ResourceValidationPolicy,
    StackValidationPolicy,
)
from pulumi_policy.policy import _GRPC_CHANNEL_OPTIONS, _PolicyAnalyzerServicer

from policies.engine_messages import resource_of, stack_resources, stack_urns
from policies.exceptions import Exceptions
from policies.rule import Finding, FindingKind, Rule, evaluate_resource
from policies.stack import PackState, ResourceIndex, evaluate_stack
from policies.stack_run import current_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from policies.stack_run import StackRun

NAME = "runner-platform"
WORKERS = 4


def message_of(rule: Rule, finding: Finding) -> str:
    """Return a finding as a person reads it."""
    if finding.kind is FindingKind.VIOLATION:
        return f"{finding.text}\n{rule.remedy}"
    if finding.kind is FindingKind.DEFERRED:
        return (
            f"DEFERRED: {finding.text} contains the issuer of a cluster that does not exist yet; "
            "the rule is evaluated on the deployed state, right after the update"
        )
    return (
        f"UNDECIDED: {finding.text} is unknown, so this rule cannot be evaluated; "
        "build the value from settings, or preview again after the resource that it comes from exists"
    )


def options_of(rule: Rule, configured: dict[str, Any] | None) -> dict[str, Any]:
    """Return the thresholds of a rule: configured values, else defaults."""
    return {name: (configured or {}).get(name, option.default) for name, option in rule.options.items()}


def sdk_policy(rule: Rule) -> ResourceValidationPolicy | StackValidationPolicy:
    """Return the SDK's policy for a rule. It describes the rule and holds its configuration; `PackServer` evaluates it."""
    policy = ResourceValidationPolicy if rule.of_resource is not None else StackValidationPolicy
    return policy(
        name=rule.name,
        description=f"{rule.id}: {rule.demands}",
        validate=_never_called,
        enforcement_level=rule.level,
        severity=rule.severity,
        display_name=f"{rule.id} {rule.name}",
        tags=[rule.id, *(f"setting:{path}" for path in rule.settings)],
        remediation_steps=f"{rule.remedy} It stops: {rule.stops}",
        url=rule.source if rule.source.startswith("https://") else None,
        config_schema=PolicyConfigSchema(
            {name: {**option.schema, "default": option.default} for name, option in rule.options.items()}
        ),
    )


def _never_called(*_: object) -> NoReturn:
    raise NotImplementedError("PackServer evaluates the rules")


class PackServer(_PolicyAnalyzerServicer):
    """Answers the engine: decodes each resource once and indexes each stack once, for all rules.

    Everything but the two calls that evaluate is the SDK's own servicer.
    """

    def __init__(self, rules: Sequence[Rule], exceptions: Exceptions) -> None:
        self._policies = [(rule, sdk_policy(rule)) for rule in rules]
        super().__init__(NAME, "0.0.1", [policy for _, policy in self._policies], EnforcementLevel.MANDATORY)
        self._exceptions = exceptions
        self._reported_deferred: set[tuple[str, str]] = set()

    def Analyze(self, request: Any, _context: Any) -> Any:  # noqa: N802  # the protocol's name
        """Evaluate all rules of one resource's type, and remember the resource."""
        run, response = self._run(), proto.AnalyzeResponse()
        resource = resource_of(request, run.resources)
        run.resources.remember(resource)
        for rule, policy in self._policies:
            if rule.of_resource is not None and (not rule.types or resource.type in rule.types):
                self._report(response, rule, policy, evaluate_resource(rule, resource, run, self._options(rule)))
        return response

    def AnalyzeStack(self, request: Any, _context: Any) -> Any:  # noqa: N802  # the protocol's name
        """Evaluate all rules of whole stacks, then forget the run."""
        run, response = self._run(), proto.AnalyzeResponse()
        never_shown = run.resources.missing(stack_urns(request))
        pack_state = PackState(never_shown=never_shown, lowered=self._lowered(), exceptions=self._exceptions)
        index = ResourceIndex(stack_resources(request, run.resources), run, pack_state)
        for rule, policy in self._policies:
            if rule.of_stack is not None:
                self._report(response, rule, policy, evaluate_stack(rule, index, self._options(rule)))
        self._reported_deferred.clear()
        run.resources.clear()
        return response

    def _run(self) -> StackRun:
        self._configure_runtime_settings()  # type: ignore[no-untyped-call]  # the SDK is untyped
        return current_run()

    def _options(self, rule: Rule) -> dict[str, Any]:
        return options_of(rule, self._get_policy_config(rule.name))

    def _report(self, response: Any, rule: Rule, policy: Any, findings: Iterable[Finding]) -> None:
        for finding in findings:
            if self._suppressed(rule, finding):
                continue
            level = EnforcementLevel.ADVISORY if finding.kind is FindingKind.DEFERRED else rule.level
            report = self._create_report_violation(response, policy.name, policy.description, level, rule.severity)
            report(message_of(rule, finding), finding.urn)

    def _suppressed(self, rule: Rule, finding: Finding) -> bool:
        """Whether an exception covers a finding, or another rule has reported the same document as deferred."""
        if finding.kind is FindingKind.DEFERRED:
            reported = (finding.urn, finding.text) in self._reported_deferred
            self._reported_deferred.add((finding.urn, finding.text))
            return reported
        return finding.kind is FindingKind.VIOLATION and self._exceptions.cover(rule.id, finding.urn)

    def _lowered(self) -> list[str]:
        """Ids of mandatory rules that the configuration tries to switch off or to lower."""
        mandatory = EnforcementLevel.MANDATORY
        return [
            rule.id
            for rule, policy in self._policies
            if rule.level is mandatory and self._get_enforcement_level(policy) is not mandatory
        ]


class Pack:
    """The pack; constructing it serves the engine until the process ends, as the SDK's `PolicyPack` does."""

    def __init__(self, rules: Sequence[Rule], exceptions: Path) -> None:
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=WORKERS), options=_GRPC_CHANNEL_OPTIONS)
        analyzer_pb2_grpc.add_AnalyzerServicer_to_server(PackServer(rules, Exceptions.read(exceptions)), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            server.stop(0)
