"""The policy pack: rules that every preview and update of the platform must pass.

Read in this order: `rule` (a rule and its findings), `fields` (what a rule reads of a resource), one file of `rules/`, then `stack`
(a whole stack as a rule reads it) and `pack` (the server that the engine talks to).
"""
