"""The pipeline that `runner-platform sandbox run` runs without a file: one job per class of a stack.

Each job shows who it is, enters the accounts of its class, is refused by the others, and writes and reads state where the
class may. The expectations come from the stack's settings, so a job that gets in too far fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from config.capabilities import Capability, Level
from config.names import state_bucket

if TYPE_CHECKING:
    from collections.abc import Iterable

    from config.settings import Settings

_HEAD: Final = """\
# One job per runner class of stack {stack}. Copy this file into a folder of yours, change it, and run it:
#   runner-platform sandbox run .gitlab-ci.yml --stack {stack}
stages: [meet]

.meet:
  stage: meet
  script:
    - aws sts get-caller-identity --query Arn --output text
    - |
      for account in $ENTERS; do
        arn=$(aws sts get-caller-identity --profile "$account" --query Arn --output text)
        echo "account $account lets this class in as ${{arn##*assumed-role/}}"
      done
    - |
      for account in $REFUSED; do
        if aws sts get-caller-identity --profile "$account" > /dev/null 2>&1; then
          echo "account $account lets this class in, and should not"
          exit 1
        fi
        echo "account $account refuses this class"
      done
    - |
      for place in $STATE; do
        echo "written by job $CI_JOB_ID" | aws s3 cp --quiet --profile "${{place%%=*}}" - "${{place#*=}}"
        echo "state in ${{place%%=*}}: $(aws s3 cp --quiet --profile "${{place%%=*}}" "${{place#*=}}" -)"
      done
"""
_JOB: Final = """
{name}:
  extends: .meet
  tags: [{tags}]
  variables: {{ENTERS: "{enters}", REFUSED: "{refused}", STATE: "{state}"}}
"""


def pipeline_text(settings: Settings, accounts: Iterable[str]) -> str:
    """Return the pipeline file.

    Args:
        settings: The stack.
        accounts: Names of all accounts of the organisation.
    """
    jobs = [
        _JOB.format(
            name=name,
            tags=", ".join(settings.runner_tags(name)),
            enters=" ".join(settings.accounts_of(name)),
            refused=" ".join(account for account in accounts if account not in settings.accounts_of(name)),
            state=" ".join(_state(settings, name)),
        )
        for name in settings.runners
    ]
    return _HEAD.format(stack=settings.stack) + "".join(jobs)


def _state(settings: Settings, runner_class: str) -> list[str]:
    """Return a place for state in each account that a class may keep it in, as `<account>=<address>`."""
    level = settings.runners[runner_class].level
    prefix = settings.names.state_prefix(level)
    places = []
    for name, account in settings.accounts_of(runner_class).items():
        capabilities = account.open if level is Level.OPEN else account.protected
        if Capability.STATE in capabilities:
            bucket = state_bucket(settings.organization, account.id)
            places.append(f"{name}=s3://{bucket}/{prefix}newcomer/{runner_class}.txt")
    return places
