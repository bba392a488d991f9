"""A verifier of edits: a small network that sees both pictures at once, patch by patch, and answers with one number."""
