# ruff: noqa: INP001 - a Pulumi project, not a package
"""A role whose path changes, a bucket that exists already, and a provider whose profile is an output."""

import json

import pulumi
import pulumi_aws as aws

config = pulumi.Config()
cicd = aws.Provider("cicd", profile="cicd", region="eu-central-1")
trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
role = aws.iam.Role(
    "fixed",
    name="engine-fixed",
    path=config.get("path") or "/a/",
    assume_role_policy=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    opts=pulumi.ResourceOptions(provider=cicd),
)
aws.s3.Bucket(
    "adopted",
    bucket="engine-adopted",
    tags={"team": "platform"},
    opts=pulumi.ResourceOptions(provider=cicd, import_="engine-adopted"),
)
later = aws.Provider("later", profile=role.unique_id.apply(lambda _: "dev"), region="eu-central-1")
aws.s3.Bucket("later", bucket="engine-later", opts=pulumi.ResourceOptions(provider=later))
