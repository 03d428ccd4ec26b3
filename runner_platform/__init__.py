"""The command `runner-platform`: drives stacks, runs programs under mocks, checks, compares and proves them."""
