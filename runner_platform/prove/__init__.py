"""Proof of access: real tokens and real SDKs try what the settings promise (docs: `prove.md`)."""
