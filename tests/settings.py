"""The product's settings, with passwords whose hashes cost nothing: the usual one takes a quarter of a second."""

import os

from scheduler_project.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
PROVIDER_PAUSE = 1  # tests wait for its end
DUMPABLE = os.geteuid() != 0  # `tests.harness.guard` reads the environments of servers, and only root still can
