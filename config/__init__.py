"""Settings, names, tags and pinned versions: everything that is decided before the first resource."""
