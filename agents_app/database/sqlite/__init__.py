"""Django's SQLite backend, with turns for the threads that write."""
