"""One turn of an agent: conversation → model → tools → … → answer. Knows no Django and no database."""
