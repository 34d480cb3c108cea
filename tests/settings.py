"""The product's settings, with passwords whose hashes cost nothing: the usual one takes a quarter of a second."""

from scheduler_project.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
