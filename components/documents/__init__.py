"""Documents: pure functions over plain values. No Pulumi, no network, no files; every function is tested by a table."""
