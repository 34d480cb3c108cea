"""The endpoints of `/v1`, a file for each noun."""
