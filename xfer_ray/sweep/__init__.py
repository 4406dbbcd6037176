"""The only door to Ray. Tune places trials and keeps workers warm, Ray Data translates, Ray Train pre-trains together.

Tune's folder is scratch. Nothing here reads it back, and nothing here decides what a score is: what is done, our own files say.
"""

import os

os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # five files a trial that nobody reads
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C is ours: see run.py
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")  # its state is never read back
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # relative paths of a sweep file keep their meaning
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")  # we say it in one line
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
