"""Who can become which role: reads policy documents and returns decisions with the chain of roles that leads there.

Plain data in, plain data out; nothing here imports Pulumi. Read the modules in this order, each one uses only those above it:

1. `resource`: one resource of a program or a deployed state, and the mark of an unknown value.
2. `inventory`: accounts, runner classes and GitLab projects from the settings.
3. `decision`: ALLOWED, DENIED, UNDECIDED, and how undecided values combine.
4. `globs`: patterns with `*` and `?`.
5. `policy_documents`, `conditions`: statements of a document, and its condition operators.
6. `callers`: what a caller brings to a request, and every request that it can make.
7. `evaluation`: whether a caller may take an action or assume a role.
8. `roles`, `escalation`: IAM roles and OIDC providers; what lets a caller take over a role without its trust.
9. `clusters`: service accounts, and what can run pods as each of them.
10. `chains`, `trust_index`: the search for the best chain, and what keeps it fast.
11. `graph`: all of it put together: every node that a caller can be, and the steps between nodes.
12. `matrix`: the access matrix, as the documents say and as the settings declare.
13. `flows`: what an open class can write and a protected class consumes.
"""
