"""Version and distribution name of the program, and how one of its extras is installed. Imports nothing at all.

The only place that states the version and the name. `edge-agent` is the command and `edge_agent` the import package;
the distribution has a name of its own, because another program is distributed as `edge-agent`.
"""

__version__ = "0.1.0"

DISTRIBUTION = "edge-agent-gateway"


def install_command(extra: str) -> str:
    """The shell command that installs an extra into the environment of the running Python.

    It names the distribution and not the files that it was installed from: pip then keeps the version that is
    installed and adds what the extra needs. pip itself is always there, because sqlite-utils depends on it.

    Args:
        extra: a name in `[project.optional-dependencies]` of pyproject.toml, e.g. `plot`.
    """
    # Imported here, because whoever imports the package loads this module.
    import sys  # noqa: PLC0415
    import sysconfig  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    wanted = f"'{DISTRIBUTION}[{extra}]'"
    if (Path(sys.prefix) / "pipx_metadata.json").is_file():
        # Not `pipx inject`: version 1.7 refuses the package that the environment was made for.
        return f"pipx runpip {DISTRIBUTION} install {wanted}"
    in_venv = sys.prefix != sys.base_prefix
    managed = not in_venv and (Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED").is_file()
    return f"{sys.executable} -m pip install {'--break-system-packages ' if managed else ''}{wanted}"
