"""Mends for what today's torch, numpy, setuptools and Python break in OpenMMLab.

Every mend is a function that names the upstream problem it answers, looks for the defect before it
touches anything, and may be called any number of times. It returns whether the installed version
has the defect, which is then mended.
"""

from __future__ import annotations

from . import cpu, environment, messages, mmcv_ops, packages, resuming, writing


def apply() -> dict[str, bool]:
    """Applies every mend that the installed packages need.

    Returns:
        Whether each mend was needed, by its name.
    """
    mends = (
        # First: what is imported later then gets the mended function.
        environment.mend_environment_info,
        messages.mend_debug_messages,
        packages.mend_find_loader,
        packages.mend_package_lookup,
        packages.mend_package_names,
        mmcv_ops.mend_missing_ops,
        resuming.mend_loading,
        resuming.mend_unsafe_loading,
        resuming.mend_replay,
        writing.mend_writing,
        cpu.mend_amp,
        cpu.mend_distributed_start,
        cpu.mend_distributed_model,
    )
    return {mend.__name__.removeprefix('mend_'): mend() for mend in mends}
