"""Machines of the sandbox: processes that play instances of an Auto Scaling group."""
