import pathlib
import sys

# What a node makes of a pod (`rendering.py`).
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "chart"))
