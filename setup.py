"""Build script: the metadata is in setup.cfg, the installed data files are listed here."""

from pathlib import Path

from setuptools import setup

NAME = "op3_fall"
HERE = Path(__file__).parent


def files(pattern: str) -> list[str]:
    """Return the files that match, relative to this folder (none if the folder is missing)."""
    return sorted(str(p.relative_to(HERE)) for p in HERE.glob(pattern) if p.is_file())


data_files = [
    (f"share/{NAME}/models", files("models/*.xml")),
    (f"share/{NAME}/config", files("config/*")),
    (f"share/{NAME}/config/curriculum", files("config/curriculum/*")),
    (f"share/{NAME}/config/train", files("config/train/*")),
    (f"share/{NAME}/models/policies", files("models/policies/*")),
]

setup(data_files=[(target, sources) for target, sources in data_files if sources])
