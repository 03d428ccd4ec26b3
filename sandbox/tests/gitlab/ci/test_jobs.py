"""Keywords of jobs and what becomes of them: docs.gitlab.com/ci/yaml/."""

from __future__ import annotations

import hashlib
import re
from functools import partial

import pytest

from runner_platform_sandbox.gitlab.ci import environments
from runner_platform_sandbox.gitlab.ci.errors import PipelineError
from runner_platform_sandbox.gitlab.ci.pipeline import (
    Artifacts,
    Cache,
    Environment,
    IdToken,
    Image,
    Job,
    Retry,
    Service,
)
from runner_platform_sandbox.gitlab.ci.variables import Variable, values_of
from sandbox.tests.support.pipeline_files import files, job, jobs, pipeline

EVERYTHING = """
stages: [build, ship]
one:
  stage: ship
  script: [a, [b, c]]
  before_script: before
  after_script: [after]
  hooks: {pre_get_sources_script: [hook]}
  image: {name: 'img:$V', entrypoint: [""], pull_policy: always, docker: {user: me}, kubernetes: {user: 1000}}
  services:
    - redis
    - {name: db, alias: data, command: [run, fast], entrypoint: [e], pull_policy: [always, never], variables: {A: 1}}
  variables: {V: 1, FLAG: true, RAW: {value: $V, expand: false}}
  tags: [small, 'zone-$V']
  when: delayed
  start_in: 1h 30 minutes
  allow_failure: {exit_codes: [3, 4]}
  environment: {name: review/$V, url: 'https://$CI_ENVIRONMENT_SLUG', on_stop: two, auto_stop_in: $V day}
  resource_group: group-$V
  cache:
    - {key: $V, paths: [a/], policy: pull, when: always, fallback_keys: [b], untracked: true}
    - {paths: [b/], unprotect: true}
  artifacts:
    {name: n, paths: [x], exclude: [y], untracked: true, when: always, expire_in: 1 week, access: maintainer,
     expose_as: X, reports: {junit: [j.xml], terraform: t.json, coverage_report: {coverage_format: cobertura, path: c}}}
  id_tokens: {ONE: {aud: https://a}, TWO: {aud: [b, c]}}
  timeout: 2 hours
  retry: {max: 2, when: [runner_system_failure], exit_codes: 7}
  interruptible: true
  coverage: '/\\d+/'
  manual_confirmation: Sure?
two:
  stage: ship
  script: [stop]
"""


def test_every_keyword_reaches_the_job() -> None:
    one = jobs(EVERYTHING, protected=True)["one"]
    expected = Job(
        name="one",
        group="one",
        stage="ship",
        script=("a", "b", "c"),
        before_script=("before",),
        after_script=("after",),
        pre_get_sources_script=("hook",),
        image=Image(
            name="img:$V",
            entrypoint=("",),
            pull_policy=("always",),
            executor_options={"docker": {"user": "me"}, "kubernetes": {"user": "1000"}},
        ),
        services=(
            Service(name="redis"),
            Service(
                name="db",
                alias="data",
                command=("run", "fast"),
                entrypoint=("e",),
                pull_policy=("always", "never"),
                variables=(Variable(name="A", value="1"),),
            ),
        ),
        variables=one.variables,
        tags=("small", "zone-1"),
        when="delayed",
        start_in=5400,
        allow_failure=False,
        allow_failure_exit_codes=(3, 4),
        environment=Environment(
            name="review/1",
            url="https://$CI_ENVIRONMENT_SLUG",
            deployment_tier="development",
            on_stop="two",
            auto_stop_in="1 day",
        ),
        resource_group="group-1",
        cache=(
            Cache(
                key="$V-protected",
                paths=("a/",),
                policy="pull",
                when="always",
                fallback_keys=("b-protected",),
                untracked=True,
            ),
            Cache(key="default-non_protected", paths=("b/",)),
        ),
        artifacts=Artifacts(
            name="n",
            paths=("x",),
            exclude=("y",),
            untracked=True,
            when="always",
            expire_in="1 week",
            access="maintainer",
            expose_as="X",
            reports={"junit": ("j.xml",), "terraform": ("t.json",), "coverage_report": ("c",)},
        ),
        id_tokens=(IdToken(name="ONE", audiences=("https://a",)), IdToken(name="TWO", audiences=("b", "c"))),
        timeout=7200,
        retry=Retry(max=2, when=("runner_system_failure",), exit_codes=(7,)),
        interruptible=True,
        coverage="/\\d+/",
        manual_confirmation="Sure?",
    )
    assert one == expected


def test_a_job_has_gitlabs_variables_about_itself_below_its_own() -> None:
    one = jobs(EVERYTHING)["one"]
    values = values_of(one.variables)
    assert {name: values[name] for name in values if name.startswith(("CI_JOB", "CI_NODE", "CI_ENV", "CI_COMMIT"))} == {
        "CI_JOB_NAME": "one",
        "CI_JOB_NAME_SLUG": "one",
        "CI_JOB_MANUAL": "true",
        "CI_JOB_GROUP_NAME": "one",
        "CI_JOB_STAGE": "ship",
        "CI_NODE_TOTAL": "1",
        "CI_ENVIRONMENT_NAME": "review/1",
        "CI_ENVIRONMENT_SLUG": environments.slug("review/1"),
        "CI_ENVIRONMENT_ACTION": "start",
        "CI_ENVIRONMENT_TIER": "development",
        "CI_ENVIRONMENT_URL": "https://$CI_ENVIRONMENT_SLUG",
        "CI_COMMIT_REF_NAME": "main",
        "CI_COMMIT_REF_SLUG": "main",
        "CI_COMMIT_REF_PROTECTED": "false",
        "CI_COMMIT_BRANCH": "main",
    }
    assert (values["V"], values["FLAG"], values["RAW"]) == ("1", "true", "$V")
    assert [variable.name for variable in one.variables if variable.raw] == ["RAW"]


def test_a_plain_job_has_gitlabs_defaults() -> None:
    one = job("one: {script: make}")
    assert (one.stage, one.when, one.needs, one.dependencies) == ("test", "on_success", None, None)
    assert (one.tags, one.cache, one.artifacts, one.image, one.environment) == ((), (), None, None, None)
    assert (one.retry.max, one.timeout, one.interruptible, one.allow_failure) == (0, None, False, False)


@pytest.mark.parametrize(
    ("parallel", "names", "variables"),
    [
        ("3", ["one 1/3", "one 2/3", "one 3/3"], [{}, {}, {}]),
        (
            "{matrix: [{A: [x, y], B: 1}, {A: z}]}",
            ["one: [x, 1]", "one: [y, 1]", "one: [z]"],
            [{"A": "x", "B": "1"}, {"A": "y", "B": "1"}, {"A": "z"}],
        ),
        (
            "{matrix: [{A: [x, y], B: [1, 2]}]}",
            ["one: [x, 1]", "one: [x, 2]", "one: [y, 1]", "one: [y, 2]"],
            [{"A": a, "B": b} for a in "xy" for b in "12"],
        ),
    ],
)
def test_parallel_makes_copies_with_their_own_variables(
    parallel: str, names: list[str], variables: list[dict[str, str]]
) -> None:
    copies = pipeline(f"one: {{script: [make], tags: ['t-$A'], variables: {{A: job}}, parallel: {parallel}}}").jobs
    assert [copy.name for copy in copies] == names
    assert [copy.matrix for copy in copies] == variables
    assert [copy.parallel for copy in copies] == [(number, len(names)) for number in range(1, len(names) + 1)]
    assert {copy.group for copy in copies} == {"one"}
    for copy, own in zip(copies, variables, strict=True):
        values = values_of(copy.variables)
        assert own.items() <= values.items()
        assert copy.parallel == (int(values["CI_NODE_INDEX"]), int(values["CI_NODE_TOTAL"]))
        assert copy.tags == (f"t-{own.get('A', 'job')}",)


def test_default_values_are_inherited_whole_or_as_the_job_says() -> None:
    text = """
    default: {image: base, tags: [small], timeout: 1h, retry: 1, before_script: [prepare], cache: {paths: [x]}}
    variables: {A: 1, B: 2}
    all: {script: [make]}
    own: {script: [make], image: {name: other}, before_script: []}
    none: {script: [make], inherit: {default: false, variables: false}}
    some: {script: [make], inherit: {default: [image], variables: [A]}}
    """
    by_name = jobs(text)
    assert (by_name["all"].tags, by_name["all"].timeout, by_name["all"].retry.max) == (("small",), 3600, 1)
    assert by_name["all"].cache[0].paths == ("x",)
    assert (by_name["own"].image, by_name["own"].before_script) == (Image(name="other"), ())
    assert (by_name["none"].image, by_name["none"].tags, by_name["none"].before_script) == (None, (), ())
    assert (by_name["some"].image, by_name["some"].tags) == (Image(name="base"), ())
    inherited = {name: {"A", "B"} & values_of(job.variables).keys() for name, job in by_name.items()}
    assert inherited == {"all": {"A", "B"}, "own": {"A", "B"}, "none": set(), "some": {"A"}}


def test_keywords_of_the_top_level_are_old_default_values() -> None:
    one = job("image: base\nbefore_script: [prepare]\none: {script: [make]}")
    assert (one.image, one.before_script) == (Image(name="base"), ("prepare",))


def test_extends_merges_mappings_over_many_levels_and_replaces_lists() -> None:
    text = """
    .base: {script: [base], variables: {A: base, B: base}, tags: [small]}
    .middle: {extends: .base, variables: {B: middle}, artifacts: {paths: [x], expire_in: 1 day}}
    .other: {variables: {C: other}, tags: [big, fast]}
    one: {extends: [.middle, .other], variables: {A: one}, artifacts: {paths: [y]}, image: null}
    """
    one = job(text)
    values = values_of(one.variables)
    assert (values["A"], values["B"], values["C"]) == ("one", "middle", "other")
    assert one.tags == ("big", "fast")
    assert one.artifacts == Artifacts(paths=("y",), expire_in="1 day")
    assert one.script == ("base",)


def test_anchors_and_references_put_values_into_their_place() -> None:
    text = """
    .anchor: &anchor {tags: [small], retry: 1}
    .list: &list [first, second]
    .setup: {script: [!reference [.more, script], setup], rules: [{if: $CI_COMMIT_TAG}], variables: {A: setup}}
    .more: {script: [deep]}
    one:
      <<: *anchor
      script: [!reference [.setup, script], *list, last]
      variables: !reference [.setup, variables]
      rules: [!reference [.setup, rules], {when: manual}]
    """
    one = job(text)
    assert one.script == ("deep", "setup", "first", "second", "last")
    assert (one.tags, one.retry.max, one.when) == (("small",), 1, "manual")
    assert values_of(one.variables)["A"] == "setup"


def test_stages_are_in_order_with_pre_and_post_around_them() -> None:
    text = """
    stages: [build, .post, test]
    last: {stage: .post, script: [make]}
    test: {script: [make]}
    first: {stage: .pre, script: [make]}
    build: {stage: build, script: [make]}
    """
    made = pipeline(text)
    assert made.stages == (".pre", "build", "test", ".post")
    assert [job.name for job in made.jobs] == ["first", "build", "test", "last"]


def test_a_cache_key_of_files_follows_their_content_or_their_commits() -> None:
    # lib/gitlab/ci/build/cache.rb and lib/gitlab/ci/pipeline/seed/build/cache.rb of GitLab
    project = files({"uv.lock": "locked\n", "b": ""})
    sha1 = partial(hashlib.sha1, usedforsecurity=False)
    blob = sha1(b"blob 7\0locked\n").hexdigest()
    text = """
    one:
      script: [make]
      cache:
        - {key: {files: [uv.lock, absent]}, paths: [a]}
        - {key: {files: [absent], prefix: $CI_JOB_NAME}, paths: [a]}
        - {key: {files_commits: [uv.lock]}, paths: [a]}
    """
    first, second, third = (cache.key for cache in job(text, project).cache)
    assert first == f"0_uv_absent-{sha1(blob.encode()).hexdigest()}-non_protected"
    assert second == "$CI_JOB_NAME-default-non_protected"
    assert third == f"2-{sha1(b'commit of uv.lock').hexdigest()}-non_protected"


@pytest.mark.parametrize(
    ("name", "tier"),
    [
        # docs.gitlab.com/ci/environments/#deployment-tier-of-environments
        ("Production", "production"),
        ("live", "production"),
        ("staging", "staging"),
        ("model", "staging"),
        ("demo", "staging"),
        ("test", "testing"),
        ("qa", "testing"),
        ("dev", "development"),
        ("review/feature-1", "development"),
        ("trunk", "development"),
        ("platform/note", "other"),
    ],
)
def test_the_tier_follows_from_the_environments_name(name: str, tier: str) -> None:
    assert environments.tier(name) == tier


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        # spec/lib/gitlab/slug/environment_spec.rb of GitLab
        ("staging-12345678901234567", r"staging-123456789-[a-z0-9]{6}"),
        ("9-staging-123456789012345", r"env-9-staging-123-[a-z0-9]{6}"),
        ("staging", "staging"),
        ("staging-1234567890123456", "staging-1234567890123456"),
        ("production", "production"),
        ("PRODUCTION", r"production-[a-z0-9]{6}"),
        ("review/1-foo", r"review-1-foo-[a-z0-9]{6}"),
        ("staging**past", r"staging-past-[a-z0-9]{6}"),
    ],
)
def test_a_slug_is_short_lower_case_and_unique(name: str, slug: str) -> None:
    assert re.fullmatch(slug, environments.slug(name))
    assert len(environments.slug(name)) <= 24


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("4h", 14400), ("1h 30m 12s", 5412), ("1 minute", 60), ("2 weeks and 1 day", 1296000), ("90", 90)],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: int) -> None:
    assert job(f"one: {{script: [make], timeout: '{text}'}}").timeout == seconds


def test_what_is_no_duration_is_refused() -> None:
    with pytest.raises(PipelineError, match="job one: timeout: `soon` is no duration"):
        job("one: {script: [make], timeout: soon}")
