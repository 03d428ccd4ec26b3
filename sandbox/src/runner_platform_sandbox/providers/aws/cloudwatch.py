"""CloudWatch metric alarms.

Source: https://www.pulumi.com/registry/packages/aws/api-docs/cloudwatch/metricalarm/.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from typing_extensions import override

from runner_platform_sandbox.providers.aws.naming import AutoName
from runner_platform_sandbox.providers.aws.resource import Call, Handler, at_most_one_of
from runner_platform_sandbox.providers.aws.shapes import from_api, to_api
from runner_platform_sandbox.providers.aws.tags import as_list, as_map, changes
from runner_platform_sandbox.providers.base import Properties
from runner_platform_sandbox.providers.validation import Failure

_PLAIN: Final = {
    "actionsEnabled": "ActionsEnabled",
    "alarmActions": "AlarmActions",
    "alarmDescription": "AlarmDescription",
    "comparisonOperator": "ComparisonOperator",
    "datapointsToAlarm": "DatapointsToAlarm",
    "evaluateLowSampleCountPercentiles": "EvaluateLowSampleCountPercentile",
    "evaluationPeriods": "EvaluationPeriods",
    "extendedStatistic": "ExtendedStatistic",
    "insufficientDataActions": "InsufficientDataActions",
    "metricName": "MetricName",
    "namespace": "Namespace",
    "okActions": "OKActions",
    "period": "Period",
    "statistic": "Statistic",
    "threshold": "Threshold",
    "thresholdMetricId": "ThresholdMetricId",
    "treatMissingData": "TreatMissingData",
    "unit": "Unit",
}


class MetricAlarm(Handler):
    """An alarm on one metric or on an expression. Its id is its name; it is put as a whole."""

    token = "aws:cloudwatch/metricAlarm:MetricAlarm"  # noqa: S105 - a type token
    naming = AutoName(longest=255)
    immutable = frozenset({"name"})
    defaults: ClassVar[Mapping[str, Any]] = {"actionsEnabled": True, "treatMissingData": "missing"}
    computed = frozenset({"evaluateLowSampleCountPercentiles"})
    nested_defaults: ClassVar[Mapping[str, Any]] = {"metricQueries.returnData": False}
    sets = frozenset({"alarmActions", "insufficientDataActions", "metricQueries", "okActions"})
    modelled = frozenset({*_PLAIN, "dimensions", "metricQueries", "name"})

    @override
    def check(self, inputs: Properties) -> list[Failure]:
        return [
            *at_most_one_of(inputs, "metricName", "metricQueries"),
            *at_most_one_of(inputs, "statistic", "extendedStatistic"),
        ]

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        name = self.name_of(inputs)
        self._put(call, name, inputs)
        return name

    @override
    def read(self, call: Call, identifier: str, known: Properties) -> Properties | None:
        watch = call.client("cloudwatch")
        alarms = watch.call("describe_alarms", AlarmNames=[identifier]).get("MetricAlarms", [])
        if not alarms:
            return None
        alarm = alarms[0]
        found = {name: alarm.get(key) for name, key in _PLAIN.items()}
        return {
            **found,
            "arn": alarm["AlarmArn"],
            "dimensions": {item["Name"]: item["Value"] for item in alarm.get("Dimensions", [])},
            "metricQueries": [_query_from_api(query) for query in alarm.get("Metrics", [])],
            "name": identifier,
            "tags": as_map(watch.call("list_tags_for_resource", ResourceARN=alarm["AlarmArn"]).get("Tags")),
            "treatMissingData": alarm.get("TreatMissingData") or "missing",
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        watch = call.client("cloudwatch")
        if changed - {"tags"}:
            self._put(call, identifier, {**news, "tags": None})  # AWS takes tags only when the alarm is made
        if "tags" in changed:
            arn = call.arn("cloudwatch", f"alarm:{identifier}")
            put, remove = changes(
                as_map(watch.call("list_tags_for_resource", ResourceARN=arn).get("Tags")), news.get("tags")
            )
            if remove:
                watch.call("untag_resource", ResourceARN=arn, TagKeys=remove)
            if put:
                watch.call("tag_resource", ResourceARN=arn, Tags=as_list(put))

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        call.client("cloudwatch").find("delete_alarms", {"ResourceNotFound"}, AlarmNames=[identifier])

    @staticmethod
    def _put(call: Call, name: str, inputs: Properties) -> None:
        plain = {key: inputs[prop] for prop, key in _PLAIN.items() if inputs.get(prop) is not None}
        call.client("cloudwatch").call(
            "put_metric_alarm",
            AlarmName=name,
            Dimensions=as_list(inputs.get("dimensions"), "Name"),
            Metrics=[_query_to_api(query) for query in inputs.get("metricQueries") or []] or None,
            Tags=as_list(inputs.get("tags")),
            **plain,
        )


def _query_to_api(query: Properties) -> Properties:
    plain: Properties = to_api({key: value for key, value in query.items() if key != "metric"})
    metric = query.get("metric")
    if metric:
        parts = {key: value for key, value in metric.items() if key in {"period", "stat", "unit"}}
        names = {"MetricName": metric["metricName"], "Namespace": metric.get("namespace")}
        dimensions = as_list(metric.get("dimensions"), "Name") or []
        plain["MetricStat"] = {**to_api(parts), "Metric": {**names, "Dimensions": dimensions}}
    return plain


def _query_from_api(query: Properties) -> Properties:
    plain: Properties = from_api({key: value for key, value in query.items() if key != "MetricStat"})
    statistic = query.get("MetricStat")
    if statistic:
        metric = statistic["Metric"]
        dimensions = {item["Name"]: item["Value"] for item in metric.get("Dimensions", [])}
        parts = from_api({key: value for key, value in statistic.items() if key != "Metric"})
        names = {"metricName": metric.get("MetricName"), "namespace": metric.get("Namespace")}
        plain["metric"] = {**parts, **names, "dimensions": dimensions}
    return plain
