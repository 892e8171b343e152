"""The embedded vertical domain: a returns desk whose clerk applies one shop's own rule book to a customer's case."""
