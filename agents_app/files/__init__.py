"""Files of users, tools and agents: where their bytes are, what they are, and how messages refer to them."""
