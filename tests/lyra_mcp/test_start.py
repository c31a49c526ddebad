"""The server starts light: what it imports decides how fast it answers a host."""

import subprocess
import sys

import pytest

MODEL_LIBRARIES = ("torch", "transformers", "peft", "sentence_transformers", "numpy", "scipy", "sklearn")
#: What only a text with private data in it needs.
DETECTORS = ("phonenumbers", "stdnum", "re2", "lyra_mcp.domain.detectors.built_in")


@pytest.mark.parametrize("libraries", [MODEL_LIBRARIES, DETECTORS], ids=["models", "detectors"])
def test_the_server_holds_no_model_library(libraries):
    """Every tool is loaded too, as a host's first `tools/list` does; nor does it hold the detectors of private data."""
    program = (
        "import sys\n"
        "from lyra_mcp.app import build_server\n"
        "from lyra_mcp.settings import Settings\n"
        "build_server(Settings())\n"
        f"print(*(name for name in {libraries} if name in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []
