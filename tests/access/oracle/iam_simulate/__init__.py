"""What a maintained evaluator says of the same worlds: iam-simulate (github.com/cloud-copilot/iam-simulate).

Its answers are recorded, so that no test needs Node.js. It has the licence AGPL-3.0: it runs as a process of its own, on the
machine of the person who records, and nothing of it is distributed. After a change of the worlds, or to take a new version,
record again with Node.js 20 or newer:

    npm ci --ignore-scripts --prefix tests/access/oracle/iam_simulate
    python -m tests.access.oracle.iam_simulate
"""
