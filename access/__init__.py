"""Who can assume what: reads policy documents and answers with the chain. Plain data in, plain data out; no Pulumi.

- `resources`: `Resource(urn, type, name, account, inputs)`, and `UNKNOWN` for what is not known yet.
- `documents`: `normalise(document)` gives a tuple of `Statement`, or `Undecided` with the reason.
- `conditions`: `holds(condition, request)`; a request is anything with `values(key)`.
- `answers`: `Answer`, `Cell`, and truths in three values: `every`, `some`, `opposite`.
- `facts`: `Facts.of(settings of stacks, settings of the foundation or None)`, or plain values in a test.
- `world`: `World.of(resources, facts)`, built once; `roles`, `providers`, `clusters`; `reach(starts)`.
- `principals`: `principals(world)`, everybody who is asked about, strangers too, and where each starts.
- `matrix`: `derived(world)`, `declared(settings of stacks, settings of the foundation or None)`, `differences(declared, derived)`.
- `integrity`: `flows(world)`, what an open class writes and a protected one takes in.
"""
