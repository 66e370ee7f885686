"""The flag of binaries that open finished runs and exports: code that a folder names.

A binary adopts it: `flags.adopt_module_key_flags(opened_folders)`.
"""

# Tested in tests/across_rooms/test_files_run_nothing.py.

from absl import flags

from fedrec_tff.run.finished import named_code

MODEL = flags.DEFINE_multi_string("model", [], named_code.HELP)
