"""Mock runs of the programs, and the policy pack in a process of its own."""
