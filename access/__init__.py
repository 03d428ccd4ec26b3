"""Who can assume what: reads policy documents and answers with the chain. Plain data in, plain data out; no Pulumi.

- `resources`: `Resource(urn, type, name, account, inputs)`, and `UNKNOWN` for what is not known yet.
- `documents`: `normalise(document)` gives a tuple of `Statement`, or `Undecided` with the reason.
- `conditions`: `holds(condition, request)`; a request is anything with `values(key)`.
- `answers`: `Answer`, `Cell`, and truths in three values: `every`, `some`, `opposite`.
"""
