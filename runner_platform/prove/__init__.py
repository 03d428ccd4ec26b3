"""Access, tried: real tokens and real SDKs against what the settings promise (docs/operate/prove.md)."""
