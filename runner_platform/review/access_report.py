"""An access matrix for people and machines: table rows, sentences, Markdown with a picture, and the files `access.json` and `access.md`.

Principals with the same reach share a row, and classes with the same reach share a box of the picture, so that both stay small.
The reasoning is in `access`, the mock runs are in `access_matrix`.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from gitlab.exceptions import GitlabError
from requests import RequestException

from access.decision import Decision
from config.capabilities import Level
from runner_platform import live_runners
from runner_platform.reports import files
from runner_platform.reports.markdown import cell as table_cell
from runner_platform.reports.markdown import code, details

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from access.inventory import Inventory
    from access.matrix import Cell
    from config.settings import Settings
    from runner_platform.review.access_matrix import AccessChange, Matrix

JSON, MARKDOWN = "access.json", "access.md"
EMPTY = "-"
REFUSED = "refused"
MOST_NAMES = 2
"""Roles of one account that a table cell names; more are counted."""
MOST_CHANGES = 100
"""Changes that a report lists one by one."""
MOST_UNEXPECTED = 10
"""Unexpected chains in the picture; the list above the table has them all."""
UNDECIDED_MARK = "?"
"""Follows a role that could not be decided."""
STRANGERS = ("sa:", "root:", "gitlab:stranger", "issuer:", "machine:")
"""Prefixes of principals that should reach nothing."""
PRINCIPAL_ORDER = ("job:", "gitlab:", "manager:", "worker:", "node:", "pipeline", "deployer", "reader", "arn:")


# Rows -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Row:
    """Principals with the same reach."""

    principals: tuple[str, ...]
    users: str
    """Projects that may use the class, as far as GitLab decides it."""
    level: str
    """Trust level of the class; empty for other principals."""
    reach: Mapping[str, Sequence[Cell]]
    """Cells that are not denied, by account."""

    def roles_in(self, account: str) -> str:
        """Names of the roles that the principals become in an account."""
        cells = self.reach.get(account, ())
        if len(cells) > MOST_NAMES:
            undecided = any(cell.decision is Decision.UNDECIDED for cell in cells)
            return f"{len(cells)} roles{UNDECIDED_MARK if undecided else ''}"
        return ", ".join(
            role_name(cell.role) + (UNDECIDED_MARK if cell.decision is Decision.UNDECIDED else "") for cell in cells
        )


def role_name(arn: str) -> str:
    """Name of a role, from its ARN."""
    return arn.rpartition("/")[2]


def rows(matrix: Matrix, users: Mapping[str, str]) -> list[Row]:
    """Rows of the principals that reach something; this stack's classes come first, and are always listed."""
    cells_of: dict[str, list[Cell]] = defaultdict(list)
    for cell in matrix.cells:
        if cell.decision is not Decision.DENIED:
            cells_of[cell.principal].append(cell)
    own = [f"job:{matrix.stack}/{name}" for name in users]
    foreign = sorted((principal for principal in cells_of if principal not in own), key=_rank)
    groups: dict[tuple[str, tuple[Cell, ...] | frozenset[tuple[str, Decision]]], list[str]] = defaultdict(list)
    for principal in [*own, *foreign]:
        cells = cells_of[principal]
        reach = frozenset((cell.role, cell.decision) for cell in cells)
        groups[_group(principal, matrix.stack), tuple(cells) if principal in own else reach].append(principal)
    return [
        Row(
            principals=tuple(principals),
            users=_users_of(principals, matrix.stack, users),
            level=_level(principals[0], matrix),
            reach=_by_account(cells_of[principals[0]]),
        )
        for principals in groups.values()
    ]


def refused(matrix: Matrix) -> dict[str, int]:
    """Number of principals without any role, by description."""
    reaching = {cell.principal for cell in matrix.cells if cell.decision is not Decision.DENIED}
    counts: dict[str, int] = defaultdict(int)
    for principal in sorted({cell.principal for cell in matrix.cells} - reaching):
        counts[_description(principal)] += 1
    return dict(counts)


def is_stranger(principal: str) -> bool:
    """Whether a principal should reach nothing."""
    return principal.startswith(STRANGERS)


def _description(principal: str) -> str:
    prefix, _, name = principal.partition(":")
    if prefix in ("job", "manager", "worker"):
        return f"{prefix}s of {name.partition('/')[0]}"
    words = {
        "sa": "other service accounts",
        "root": "accounts",
        "node": "nodes",
        "machine": "machines of no class",
        "issuer": "other issuers",
        "arn": "roles of people",
    }
    return words.get(prefix, "projects of GitLab" if prefix == "gitlab" else principal)


def _rank(principal: str) -> tuple[int, str]:
    ranks = (rank for rank, prefix in enumerate(PRINCIPAL_ORDER) if principal.startswith(prefix))
    return next(ranks, len(PRINCIPAL_ORDER)), principal


def _group(principal: str, stack: str) -> str:
    return principal if principal.startswith((f"job:{stack}/", "gitlab:")) else "others"


def _level(principal: str, matrix: Matrix) -> str:
    stack, _, runner_class = principal.removeprefix("job:").partition("/")
    settings = matrix.side.stacks.get(stack)
    return str(settings.runners[runner_class].level) if settings and runner_class in settings.runners else ""


def _users_of(principals: Iterable[str], stack: str, users: Mapping[str, str]) -> str:
    jobs = [principal for principal in principals if principal.startswith("job:")]
    texts = [users.get(principal.removeprefix(f"job:{stack}/"), "") for principal in jobs]
    return "; ".join(dict.fromkeys(text for text in texts if text))


def _by_account(cells: Iterable[Cell]) -> dict[str, list[Cell]]:
    groups: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.account].append(cell)
    return dict(groups)


# Sentences ------------------------------------------------------------------------------------------------------------


def verdict(matrix: Matrix) -> str:
    """One sentence on the whole matrix."""
    if matrix.fine:
        allowed = sum(cell.decision is Decision.ALLOWED for cell in matrix.cells)
        return f"{matrix.stack}: as the settings declare it: {allowed} of {len(matrix.cells)} cells are allowed, nothing is undecided"
    return (
        f"{matrix.stack}: {len(matrix.differences)} cells are not as declared, "
        f"{len(matrix.flows)} flows lead from open to protected, {len(matrix.profiles)} AWS profiles lead elsewhere"
    )


def problems(matrix: Matrix) -> list[str]:
    """A sentence for every cell and profile that is not as declared, and for every flow from open to protected."""
    sentences = [*map(str, matrix.differences), *matrix.profiles]
    for flow in matrix.flows:
        chain = f" by {' -> '.join(flow.chain)}" if flow.chain else ""
        reason = f" ({flow.reason})" if flow.reason else ""
        sentences.append(
            f"{flow.writer} can write {flow.kind} that {flow.consumer} uses, {flow.pattern}: {flow.decision}{chain}{reason}"
        )
    return sentences


def changed(changes: Sequence[AccessChange]) -> list[str]:
    """A sentence for every gain and loss."""
    return [
        f"{change.principal} {'gains' if change.gains else 'loses'} {change.role} ({change.before} to {change.after})"
        + (f" by {' -> '.join(change.chain)}" if change.chain else "")
        for change in changes
    ]


# The table of a terminal ----------------------------------------------------------------------------------------------


def terminal_rows(matrix: Matrix, users: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Rows for a narrow table: principals with their users, trust level, and a line of roles for every account."""
    table = [
        (_principals(row, matrix), row.level or EMPTY, _reach(row, matrix.side.facts.accounts))
        for row in rows(matrix, users)
    ]
    return [*table, ("\n".join(_refused_counts(matrix)), REFUSED, EMPTY)]


def _principals(row: Row, matrix: Matrix) -> str:
    names = "\n".join(_short_name(principal, matrix.side.facts) for principal in row.principals)
    return f"{_mark(row, matrix)}{names}" + (f"\n  used by {row.users}" if row.users else "")


def _short_name(principal: str, facts: Inventory) -> str:
    """The principal; for a role of another program its name and account, since an ARN is too wide for a terminal."""
    if not principal.startswith("arn:"):
        return principal
    return f"role {role_name(principal)} in {facts.account_name(principal.split(':')[4])}"


def _reach(row: Row, accounts: Iterable[str]) -> str:
    lines = [f"{account}: {roles}" for account in accounts if (roles := row.roles_in(account))]
    return "\n".join(lines) or REFUSED


def _mark(row: Row, matrix: Matrix) -> str:
    unexpected = {difference.cell.principal for difference in matrix.differences}
    strangers = any(map(is_stranger, row.principals))
    return "! " if strangers and unexpected & set(row.principals) else ""


def _refused_counts(matrix: Matrix) -> list[str]:
    return [f"{description}: {count}" for description, count in refused(matrix).items()]


# Markdown -------------------------------------------------------------------------------------------------------------


def header(matrix: Matrix) -> list[str]:
    """Column titles of the Markdown table."""
    return ["principal", "used by", *matrix.side.facts.accounts]


def lines(matrix: Matrix, users: Mapping[str, str]) -> list[list[str]]:
    """Rows of the Markdown table."""
    accounts = matrix.side.facts.accounts
    table = [
        [
            f"{_mark(row, matrix)}{', '.join(row.principals)}",
            row.users or EMPTY,
            *(row.roles_in(account) or EMPTY for account in accounts),
        ]
        for row in rows(matrix, users)
    ]
    return [*table, [f"{REFUSED}: {', '.join(_refused_counts(matrix))}", "", *(EMPTY for _ in accounts)]]


def markdown(
    matrix: Matrix, users: Mapping[str, str], changes: Sequence[AccessChange] | None = None, against: str = ""
) -> str:
    """The report of a merge request.

    Args:
        matrix: the branch's matrix.
        users: sentence on the projects that may use a class, by class.
        changes: gains and losses; None without a comparison.
        against: the other side of the comparison.
    """
    parts = [f"### Access: {verdict(matrix)}\n"]
    if changes is not None:
        gains = sum(change.gains for change in changes)
        parts.append(f"**{gains} gained, {len(changes) - gains} lost against {code(against)}**\n")
        parts += [f"- {code(sentence)}" for sentence in changed(changes)[:MOST_CHANGES]]
        parts += [f"- and {len(changes) - MOST_CHANGES} more"] if len(changes) > MOST_CHANGES else []
        parts.append("")
    sentences = problems(matrix)
    if sentences:
        parts += ["**Not as declared**\n", *(f"- {code(sentence)}" for sentence in sentences[:MOST_CHANGES]), ""]
        parts += [f"- and {len(sentences) - MOST_CHANGES} more\n"] if len(sentences) > MOST_CHANGES else []
    titles = header(matrix)
    table = [titles, ["---"] * len(titles), *([_escaped(text) for text in line] for line in lines(matrix, users))]
    parts += [*(f"| {' | '.join(line)} |" for line in table), ""]
    parts.append(details("The chains", f"```mermaid\n{picture(matrix)}\n```"))
    return "\n".join(parts)


def _escaped(text: str) -> str:
    return table_cell(text) if text not in ("", EMPTY) else text


def picture(matrix: Matrix) -> str:
    """A Mermaid flow chart: classes by trust level, the roles that their jobs become, and unexpected chains in red.

    Source: https://docs.gitlab.com/user/markdown/#mermaid
    """
    runners = matrix.side.stacks[matrix.stack].runners if matrix.stack in matrix.side.stacks else {}
    unexpected = [
        difference.cell for difference in matrix.differences if difference.cell.decision is not Decision.DENIED
    ]
    unexpected_pairs = {(cell.principal, cell.role) for cell in unexpected}
    expected = [cell for cell in matrix.cells if (cell.principal, cell.role) not in unexpected_pairs]
    chart, boxes = ["flowchart LR"], _Boxes()
    for level in sorted({runner.level for runner in runners.values()}):
        classes: dict[frozenset[tuple[str, str]], list[str]] = defaultdict(list)
        for name in (name for name, runner in runners.items() if runner.level is level):
            classes[frozenset(_chain_ends(expected, f"job:{matrix.stack}/{name}"))].append(name)
        chart.append(f'  subgraph {boxes.id(f"level {level}")}["{level} jobs"]')
        chart += [f'    {boxes.id(" ".join(names))}["{_plain(", ".join(names))}"]' for names in classes.values()]
        chart.append("  end")
        for ends, names in classes.items():
            chart += [
                f"  {boxes.id(' '.join(names))} --> {boxes.role(role, account)}" for account, role in sorted(ends)
            ]
    chart += [line for cell in unexpected[:MOST_UNEXPECTED] for line in _unexpected(cell, boxes, matrix.side.facts)]
    chart += [f"  style {box} stroke:#c00,stroke-width:2px" for box in sorted(boxes.red)]
    return "\n".join(chart)


def _chain_ends(cells: Iterable[Cell], principal: str) -> list[tuple[str, str]]:
    """Account and name of the roles at the end of a principal's chains; the class's own role is on the way, so it is left out."""
    return [
        (cell.account, role_name(cell.role))
        for cell in cells
        if cell.principal == principal and cell.decision is Decision.ALLOWED and len(cell.chain) > 1
    ]


def _unexpected(cell: Cell, boxes: _Boxes, facts: Inventory) -> list[str]:
    start = boxes.id(cell.principal)
    boxes.red.add(start)
    roles = [(role_name(arn), facts.account_name(arn.split(":")[4])) for arn in cell.chain]
    chain = [f'{start}["{_plain(cell.principal)}"]', *(boxes.role(name, account) for name, account in roles)]
    return [f"  {source} -.-> {target}" for source, target in pairwise(chain)]


class _Boxes:
    """Identifiers of the picture's boxes: short, and the same in every run."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}
        self.red: set[str] = set()

    def id(self, text: str) -> str:
        return self._ids.setdefault(text, f"n{len(self._ids)}")

    def role(self, name: str, account: str) -> str:
        return f'{self.id(f"{name} {account}")}["{_plain(name)}<br/>{_plain(account)}"]'


def _plain(text: str) -> str:
    # A branch that nobody has reviewed may choose names: a label must neither end early nor hold markup.
    return re.sub(r"[^\w .,:/()*-]", "_", text)


# Files ----------------------------------------------------------------------------------------------------------------


def document(cells: Iterable[Cell]) -> list[dict[str, Any]]:
    """Cells as JSON: `{principal, account, role, answer, chain}`, with `reason` for an UNDECIDED answer."""
    return [
        {
            "principal": cell.principal,
            "account": cell.account,
            "role": cell.role,
            "answer": cell.decision.value,
            "chain": list(cell.chain),
            **({"reason": cell.reason} if cell.decision is Decision.UNDECIDED else {}),
        }
        for cell in cells
    ]


def write(
    matrix: Matrix,
    folder: Path | None,
    changes: Sequence[AccessChange] | None = None,
    against: str = "",
    users: Mapping[str, str] | None = None,
) -> Path:
    """Write `access.json` and `access.md`; return the stack's folder of reports.

    Args:
        matrix: the stack's matrix.
        folder: None for the project's `reports/`.
        changes: gains and losses; None without a comparison.
        against: the other side of the comparison.
        users: sentence on the projects that may use a class, by class; None for those of the settings.

    Raises:
        FailedError: the folder cannot be written.
    """
    if users is None:
        settings = matrix.side.stacks.get(matrix.stack)
        users = users_of(settings) if settings else {}
    contents = {
        JSON: json.dumps(document(matrix.cells), indent=2) + "\n",
        MARKDOWN: markdown(matrix, users, changes, against),
    }
    return files.write(folder, matrix.stack, contents)


# Users: the first hop, which GitLab decides -----------------------------------------------------------------------------


def users_of(settings: Settings, say: Callable[[str], None] | None = None) -> dict[str, str]:
    """Sentence on the projects that may use a class, by class.

    Args:
        settings: settings of the stack.
        say: gets the address of the GitLab that is asked for names, and its refusals; None to ask no GitLab.
    """
    owners = {
        name: ("project", runner.project) if runner.project else ("group", runner.group or settings.gitlab.group)
        for name, runner in settings.runners.items()
    }
    names: dict[tuple[str, str | None], str] = {}
    if say is not None and os.environ.get("GITLAB_TOKEN"):
        names = _names_in_gitlab({owner for owner in owners.values() if owner[1]}, settings, say)
    sentences = {}
    for name, runner in settings.runners.items():
        kind, number = owners[name]
        owner = names.get((kind, number), f"{kind} {number}") if number else "everybody with its token"
        projects = f"every project of {owner}" if kind == "group" and number else owner
        sentences[name] = f"{projects}, protected branches and tags" if runner.level is Level.PROTECTED else projects
    return sentences


def _names_in_gitlab(
    owners: set[tuple[str, str | None]], settings: Settings, say: Callable[[str], None]
) -> dict[tuple[str, str | None], str]:
    api = live_runners.connection(settings.gitlab.url)
    say(f"target: GitLab at {api.url}")
    names = {}
    for kind, number in sorted(owners, key=str):
        try:
            if kind == "project":
                names[kind, number] = str(api.projects.get(str(number)).path_with_namespace)
            else:
                names[kind, number] = str(api.groups.get(str(number), with_projects=False).full_path)
        except (GitlabError, RequestException) as error:
            say(f"{kind} {number} is shown by its number: GitLab says {getattr(error, 'error_message', error)}")
    return names
