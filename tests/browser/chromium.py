"""The browser of the browser tests: where it is, how it is started, how `make test` gets it.

Playwright's own download is not used; any Chromium or Chrome of the machine will do. `python -m tests.browser.chromium`
installs Debian's where that needs no password.
"""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
PLACES = (
    "/usr/bin/chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
)
MISSING = (
    "No Chromium or Chrome was found, and it cannot be installed without a password here; "
    "install one (on Debian: apt-get install chromium), or name it in CNNVIZ_CHROMIUM."
)
# the browser's own housekeeping would look like requests of ours to the outside
QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)


def find() -> str:
    """The path of a browser; raises `FileNotFoundError` with a sentence when there is none."""
    named = os.environ.get("CNNVIZ_CHROMIUM")
    candidates = (named,) if named else (*map(shutil.which, NAMES), *PLACES)
    for candidate in candidates:
        if candidate and os.path.exists(candidate):
            return candidate
    raise FileNotFoundError(f"CNNVIZ_CHROMIUM names {named}, which does not exist." if named else MISSING)


def flags() -> list[str]:
    """The browser's command line; a browser cannot keep its sandbox as root."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    return [*QUIET, "--no-sandbox"] if root else list(QUIET)


def install() -> None:
    """Install Debian's Chromium; raises `FileNotFoundError` with a sentence when that needs a password or fails."""
    prefix = _becoming_root()
    if prefix is None or not shutil.which("apt-get"):
        raise FileNotFoundError(MISSING)
    print("Installing Debian's Chromium for the browser tests ...", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for step in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", "chromium"]):
        done = subprocess.run([*prefix, "apt-get", *step], env=environment, capture_output=True, text=True)
        if done.returncode:
            raise FileNotFoundError(f"apt-get {step[0]} failed: {done.stderr.strip()[-500:]}\n{MISSING}")


def main() -> int:
    """Find a browser, or install one."""
    try:
        find()
    except FileNotFoundError:
        try:
            install()
        except FileNotFoundError as reason:
            print(f"{reason}\nThe browser tests will fail.", file=sys.stderr)
            return 1
    return 0


def _becoming_root() -> list[str] | None:
    """What goes before a command that root has to run: nothing, sudo, or None when neither works silently."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return []
    if shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0:
        return ["sudo", "-n"]
    return None


if __name__ == "__main__":
    sys.exit(main())
