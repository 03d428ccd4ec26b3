"""A second opinion on who may do what in AWS, made from AWS's documentation alone.

`world.py` says what a world is: accounts, roles, sessions, resources, OIDC providers, with policy documents as plain JSON
objects, and what can be asked about it. `worlds.py` makes a random world and questions about it from a seed. `evaluator.py`
answers a question:

    from tests.access.oracle.evaluator import answer
    from tests.access.oracle.worlds import random_world

    world, questions = random_world(seed)
    answer(world, questions[0])     # Answer(verdict="ALLOWED", reason="...")

A verdict is ALLOWED, DENIED, or OUTSIDE: the documentation does not decide. Where a page can be read in two ways, the
evaluator tries both readings (`readings.py`), and says OUTSIDE if the verdicts differ.

None of these files imports `access/` or was written after reading it, so that a mistake there is not repeated here. The pages
that decide stand beside the code, and in `test_documented_examples.py`.
"""
