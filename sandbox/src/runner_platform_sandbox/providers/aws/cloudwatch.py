"""CloudWatch: metric alarms, log groups, metrics from log lines.

Source: https://www.pulumi.com/registry/packages/aws/api-docs/cloudwatch/.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from typing_extensions import override

from runner_platform_sandbox.providers.aws.conversion import from_api, own_tags, tag_changes, tag_list, tag_map, to_api
from runner_platform_sandbox.providers.aws.handler import AutoName, Call, Handler, at_most_one_of, update_tags
from runner_platform_sandbox.providers.aws.session import AwsError, Client
from runner_platform_sandbox.providers.stand_in import Properties, ProviderError
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


_GONE = {"ResourceNotFoundException"}
_TRANSFORMATION = {
    "name": "metricName",
    "namespace": "metricNamespace",
    "value": "metricValue",
    "unit": "unit",
    "dimensions": "dimensions",
}
"""Properties of a metric from log lines: name in the SDK to name in the API. `defaultValue` is text in the SDK and a number in the API."""


class MetricAlarm(Handler):
    """An alarm on one metric or on an expression. Its id is its name; every change replaces all of its settings."""

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
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        watch = call.client("cloudwatch")
        alarms = watch.call("describe_alarms", AlarmNames=[identifier]).get("MetricAlarms", [])
        if not alarms:
            return None
        alarm = alarms[0]
        plain = {name: alarm.get(key) for name, key in _PLAIN.items()}
        return {
            **plain,
            "arn": alarm["AlarmArn"],
            "dimensions": {item["Name"]: item["Value"] for item in alarm.get("Dimensions", [])},
            "metricQueries": [_query_from_api(query) for query in alarm.get("Metrics", [])],
            "name": identifier,
            "tags": tag_map(watch.call("list_tags_for_resource", ResourceARN=alarm["AlarmArn"]).get("Tags")),
            "treatMissingData": alarm.get("TreatMissingData") or "missing",
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        watch = call.client("cloudwatch")
        if changed - {"tags"}:
            self._put(call, identifier, {**news, "tags": None})  # AWS accepts tags only when the alarm is created
        if "tags" in changed:
            arn = call.arn("cloudwatch", f"alarm:{identifier}")
            put, remove = tag_changes(
                tag_map(watch.call("list_tags_for_resource", ResourceARN=arn).get("Tags")), news.get("tags")
            )
            if remove:
                watch.call("untag_resource", ResourceARN=arn, TagKeys=remove)
            if put:
                watch.call("tag_resource", ResourceARN=arn, Tags=tag_list(put))

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        call.client("cloudwatch").find("delete_alarms", {"ResourceNotFound"}, AlarmNames=[identifier])

    @staticmethod
    def _put(call: Call, name: str, inputs: Properties) -> None:
        plain = {key: inputs[prop] for prop, key in _PLAIN.items() if inputs.get(prop) is not None}
        call.client("cloudwatch").call(
            "put_metric_alarm",
            AlarmName=name,
            Dimensions=tag_list(inputs.get("dimensions"), "Name"),
            Metrics=[_query_to_api(query) for query in inputs.get("metricQueries") or []] or None,
            Tags=tag_list(inputs.get("tags")),
            **plain,
        )


def _query_to_api(query: Properties) -> Properties:
    plain: Properties = to_api({key: value for key, value in query.items() if key != "metric"})
    metric = query.get("metric")
    if metric:
        parts = {key: value for key, value in metric.items() if key in {"period", "stat", "unit"}}
        names = {"MetricName": metric["metricName"], "Namespace": metric.get("namespace")}
        dimensions = tag_list(metric.get("dimensions"), "Name") or []
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


class LogGroup(Handler):
    """A log group. Its id is its name."""

    token = "aws:cloudwatch/logGroup:LogGroup"  # noqa: S105 - a type token
    naming = AutoName(longest=512)
    immutable = frozenset({"name", "namePrefix", "logGroupClass"})
    defaults: ClassVar[Mapping[str, Any]] = {"retentionInDays": 0, "skipDestroy": False}
    computed = frozenset({"logGroupClass", "deletionProtectionEnabled"})
    kept = frozenset({"namePrefix", "skipDestroy"})

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        name = self.name_of(inputs)
        try:
            call.client("logs").call(
                "create_log_group",
                logGroupName=name,
                kmsKeyId=inputs.get("kmsKeyId"),
                logGroupClass=inputs.get("logGroupClass"),
                tags=inputs.get("tags") or None,
            )
        except AwsError as error:
            if error.code != "ResourceAlreadyExistsException":
                raise
            remedy = "a service may have created it; delete or import it"
            raise ProviderError(f"{error}. Log group {name} exists; {remedy}") from error
        return name

    @override
    def settle(self, call: Call, identifier: str, inputs: Properties) -> None:
        logs = call.client("logs")
        group = _group(logs, identifier) or {}
        days = inputs["retentionInDays"]
        if days and days != group.get("retentionInDays"):
            logs.call("put_retention_policy", logGroupName=identifier, retentionInDays=days)
        elif not days and group.get("retentionInDays"):
            logs.call("delete_retention_policy", logGroupName=identifier)
        protected = inputs.get("deletionProtectionEnabled")
        if protected is not None and protected != group.get("deletionProtectionEnabled", False):
            logs.call(
                "put_log_group_deletion_protection", logGroupIdentifier=identifier, deletionProtectionEnabled=protected
            )

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        logs = call.client("logs")
        group = _group(logs, identifier)
        if group is None:
            return None
        arn = group.get("logGroupArn") or group["arn"].removesuffix(":*")
        return {
            "arn": arn,
            "deletionProtectionEnabled": group.get("deletionProtectionEnabled", False),
            "kmsKeyId": group.get("kmsKeyId"),
            "logGroupClass": group.get("logGroupClass", "STANDARD"),
            "name": identifier,
            "retentionInDays": group.get("retentionInDays", 0),
            "tags": own_tags(logs.call("list_tags_for_resource", resourceArn=arn).get("tags")),
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        logs = call.client("logs")
        if "kmsKeyId" in changed and news.get("kmsKeyId"):
            logs.call("associate_kms_key", logGroupName=identifier, kmsKeyId=news["kmsKeyId"])
        elif "kmsKeyId" in changed:
            logs.call("disassociate_kms_key", logGroupName=identifier)
        if "tags" in changed:
            arn = call.arn("logs", f"log-group:{identifier}")
            update_tags(logs, arn, news.get("tags"))

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        if not outputs.get("skipDestroy"):
            call.client("logs").find("delete_log_group", _GONE, logGroupName=identifier)


class LogMetricFilter(Handler):
    """A metric that counts lines of a log group. Its id is its name; an import takes `<log group>:<name>`."""

    token = "aws:cloudwatch/logMetricFilter:LogMetricFilter"  # noqa: S105 - a type token
    naming = AutoName(longest=512)
    immutable = frozenset({"name", "logGroupName"})
    nested_defaults: ClassVar[Mapping[str, Any]] = {"metricTransformation.unit": "None"}
    modelled = frozenset({"name", "logGroupName", "pattern", "metricTransformation"})

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        name = self.name_of(inputs)
        self._put(call, name, inputs)
        return name

    @override
    def import_id(self, call: Call, identifier: str) -> tuple[str, Properties]:
        group, separator, name = identifier.rpartition(":")
        if not separator:
            raise ProviderError(f"{identifier} is not the id of a metric filter; an import takes <log group>:<name>")
        return name, {"logGroupName": group}

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        group = previous["logGroupName"]
        try:
            filters = call.client("logs").pages(
                "describe_metric_filters", "metricFilters", logGroupName=group, filterNamePrefix=identifier
            )
        except AwsError as error:
            if error.code in _GONE:  # the group was deleted with its filters
                return None
            raise
        match = next((item for item in filters if item["filterName"] == identifier), None)
        if match is None:
            return None
        transformation = match["metricTransformations"][0]
        default = transformation.get("defaultValue")
        return {
            "logGroupName": group,
            "metricTransformation": {
                **{name: transformation[key] for name, key in _TRANSFORMATION.items() if transformation.get(key)},
                **({"defaultValue": f"{default:g}"} if default is not None else {}),
            },
            "name": identifier,
            "pattern": match["filterPattern"],
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        self._put(call, identifier, news)

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        logs = call.client("logs")
        logs.find("delete_metric_filter", _GONE, logGroupName=outputs["logGroupName"], filterName=identifier)

    @staticmethod
    def _put(call: Call, name: str, inputs: Properties) -> None:
        requested = inputs["metricTransformation"]
        transformation = {
            key: requested[prop] for prop, key in _TRANSFORMATION.items() if requested.get(prop) is not None
        }
        if requested.get("defaultValue") is not None:
            transformation["defaultValue"] = float(requested["defaultValue"])
        call.client("logs").call(
            "put_metric_filter",
            logGroupName=inputs["logGroupName"],
            filterName=name,
            filterPattern=inputs["pattern"],
            metricTransformations=[transformation],
        )


def _group(logs: Client, name: str) -> Properties | None:
    groups = logs.pages("describe_log_groups", "logGroups", logGroupNamePrefix=name)
    return next((group for group in groups if group["logGroupName"] == name), None)
