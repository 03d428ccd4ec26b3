"""The pack as the engine talks to it: ordinary policies of the SDK, asked in one pass.

The SDK decodes a resource anew for each policy, and a whole stack anew for each policy of stacks; with forty rules that is forty times the
work (docs/adr/0008-one-pass-over-the-policies.md, benchmarks/policy_pack.py). `OnePass` decodes once, remembers inputs for the rules of
whole stacks, and builds one index for all of them. It also holds what no configuration may change: no mandatory rule can be switched off
or lowered, what a rule could not decide is a finding of its own, and what only a first preview cannot know is said as DEFERRED.
"""

from __future__ import annotations

import sys
import threading
from concurrent import futures
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
from pulumi.runtime import proto
from pulumi.runtime.proto import analyzer_pb2_grpc
from pulumi_policy import (
    EnforcementLevel,
    PolicyConfigSchema,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationPolicy,
)
from pulumi_policy.policy import _GRPC_CHANNEL_OPTIONS, _PolicyAnalyzerServicer

from policies import engine_messages
from policies.engine_messages import seen
from policies.exceptions import Exceptions
from policies.rule import Finding, FindingKind, Rule, evaluate_resource
from policies.stack import PackState, ResourceIndex, evaluate_stack
from policies.stack_run import current_run
from policies.type_tokens import CLUSTER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from pulumi_policy import StackValidationArgs

    from policies.stack_run import StackRun

NAME = "runner-platform"
WORKERS = 4
WITH_OUTPUTS = frozenset({CLUSTER})
"""Types whose outputs a rule of stacks compares with."""


def said(rule: Rule, verdict: Finding) -> str:
    """A verdict as a person reads it."""
    if verdict.kind is FindingKind.VIOLATION:
        return f"{verdict.text}\n{rule.remedy}"
    if verdict.kind is FindingKind.DEFERRED:
        return f"DEFERRED: {verdict.text} holds the issuer of a cluster that does not exist yet; it is judged on the deployed state, right after the update"
    return f"UNDECIDED: {verdict.text} is not known, so nobody can say; compose it from settings, or preview again when what it comes from exists"


def options_of(rule: Rule, configured: dict[str, Any] | None) -> dict[str, Any]:
    """Thresholds of a rule: configured ones over defaults."""
    return {name: (configured or {}).get(name, option.default) for name, option in rule.options.items()}


def _described(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "description": f"{rule.id}: {rule.demands}",
        "enforcement_level": rule.level,
        "severity": rule.severity,
        "display_name": f"{rule.id} {rule.name}",
        "tags": [rule.id, *(f"setting:{each}" for each in rule.settings)],
        "remediation_steps": f"{rule.remedy} It stops: {rule.stops}",
        "url": rule.source if rule.source.startswith("https://") else None,
        "config_schema": PolicyConfigSchema(
            {name: {**option.schema, "default": option.default} for name, option in rule.options.items()}
        ),
    }


class ResourcePolicy(ResourceValidationPolicy):
    """A rule of resources, as the SDK knows policies."""

    def __init__(self, rule: Rule) -> None:
        super().__init__(**_described(rule))
        self.rule = rule

    def validate(self, args: ResourceValidationArgs, report_violation: Callable[..., None]) -> None:
        """Judge one resource by this rule alone."""
        shown, surroundings = seen(args), current_run()
        surroundings.memory.remember(shown)
        for verdict in evaluate_resource(
            self.rule, shown, surroundings, options_of(self.rule, dict(args.get_config()))
        ):
            report_violation(said(self.rule, verdict))


class StackPolicy(StackValidationPolicy):
    """A rule of whole stacks, as the SDK knows policies."""

    def __init__(self, rule: Rule) -> None:
        super().__init__(**_described(rule))
        self.rule = rule

    def validate(self, args: StackValidationArgs, report_violation: Callable[..., None]) -> None:
        """Judge a stack by this rule alone, from what was shown of its resources before."""
        surroundings = current_run()
        shown = surroundings.memory.known(each.urn for each in args.resources)
        for verdict in evaluate_stack(
            self.rule, ResourceIndex(shown, surroundings), options_of(self.rule, dict(args.get_config()))
        ):
            report_violation(said(self.rule, verdict), verdict.urn)


def policies_of(rules: Iterable[Rule]) -> list[ResourcePolicy | StackPolicy]:
    """Policies of the SDK, one for each rule."""
    return [ResourcePolicy(each) if each.of_resource is not None else StackPolicy(each) for each in rules]


class OnePass(_PolicyAnalyzerServicer):
    """Answers the engine: one decoding of each resource, one index of each stack, for all rules.

    Leans on the SDK's own servicer for everything but the two calls that judge; its tests hold both to the same answers.
    """

    def __init__(self, rules: Sequence[Rule], exceptions: Exceptions) -> None:
        self._by_rule = {each.rule.id: each for each in policies_of(rules)}
        super().__init__(NAME, "0.0.1", list(self._by_rule.values()), EnforcementLevel.MANDATORY)
        self._exceptions = exceptions
        self._deferred: set[tuple[str, str]] = set()

    def Analyze(self, request: Any, _context: Any) -> Any:  # noqa: N802  # the protocol's name
        """Judge one resource by all rules that look at its type, and remember it."""
        surroundings, response = self._surroundings(), proto.AnalyzeResponse()
        resource = engine_messages.shown(request, surroundings.memory)
        surroundings.memory.remember(resource)
        for policy in self._by_rule.values():
            rule = policy.rule
            if rule.of_resource is not None and (not rule.types or resource.type in rule.types):
                options = options_of(rule, self._get_policy_config(rule.name))
                self._report(response, policy, evaluate_resource(rule, resource, surroundings, options))
        return response

    def AnalyzeStack(self, request: Any, _context: Any) -> Any:  # noqa: N802  # the protocol's name
        """Judge the whole stack by all rules of stacks; ends a run."""
        surroundings, response = self._surroundings(), proto.AnalyzeResponse()
        urns = [each.urn for each in request.resources if each.type != "pulumi:pulumi:Stack"]
        shown, never_shown = surroundings.memory.known(urns), surroundings.memory.never_shown(urns)
        answers = {
            each.urn: engine_messages.read(each.properties.fields)
            for each in request.resources
            if each.type in WITH_OUTPUTS
        }
        shown = [replace(each, outputs=answers[each.urn]) if each.urn in answers else each for each in shown]
        run = PackState(never_shown=never_shown, lowered=self._lowered(), exceptions=self._exceptions)
        index = ResourceIndex(shown, surroundings, run)
        for policy in self._by_rule.values():
            rule = policy.rule
            if rule.of_stack is not None:
                options = options_of(rule, self._get_policy_config(rule.name))
                self._report(response, policy, evaluate_stack(rule, index, options))
        self._deferred.clear()
        surroundings.memory.forget()
        return response

    def _surroundings(self) -> StackRun:
        self._configure_runtime_settings()  # type: ignore[no-untyped-call]  # the SDK is untyped
        return current_run()

    def _report(self, response: Any, policy: Any, verdicts: Iterable[Finding]) -> None:
        rule = policy.rule
        for verdict in verdicts:
            if self._passed_over(rule, verdict):
                continue
            level = EnforcementLevel.ADVISORY if verdict.kind is FindingKind.DEFERRED else rule.level
            report = self._create_report_violation(response, policy.name, policy.description, level, rule.severity)
            report(said(rule, verdict), verdict.urn)

    def _passed_over(self, rule: Rule, verdict: Finding) -> bool:
        """Whether an exception covers it, or it is a deferred document that was listed before: each is listed once."""
        if verdict.kind is FindingKind.DEFERRED:
            listed = (verdict.urn, verdict.text) in self._deferred
            self._deferred.add((verdict.urn, verdict.text))
            return listed
        return verdict.kind is FindingKind.VIOLATION and self._exceptions.cover(rule.id, verdict.urn)

    def _lowered(self) -> list[str]:
        """Ids of mandatory rules that the configuration tries to switch off or to lower."""
        mandatory = EnforcementLevel.MANDATORY
        return [
            rule_id
            for rule_id, policy in self._by_rule.items()
            if policy.rule.level is mandatory and self._get_enforcement_level(policy) is not mandatory
        ]


class Pack:
    """The pack; constructing it serves the engine until the process ends, as the SDK's `PolicyPack` does."""

    def __init__(self, rules: Sequence[Rule], exceptions: Path) -> None:
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=WORKERS), options=_GRPC_CHANNEL_OPTIONS)
        analyzer_pb2_grpc.add_AnalyzerServicer_to_server(OnePass(rules, Exceptions.read(exceptions)), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            server.stop(0)
