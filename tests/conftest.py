"""Shared by all tests: one torch thread as the workers use, and every shape annotation checked at run time."""

from jaxtyping import install_import_hook

install_import_hook(["star.ops", "star.operators", "star.model"], "beartype.beartype")

import hypothesis  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)

# A deadline would make a slow machine fail; derandomised so that a red test is red for everyone.
hypothesis.settings.register_profile("star", deadline=None, derandomize=True, max_examples=60)
hypothesis.settings.load_profile("star")
