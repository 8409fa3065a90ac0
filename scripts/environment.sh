# Sourced by the scripts: makes .venv hold what the given requirements file asks for, and
# sets $python. Quick when nothing changed.
needs=$1
python=.venv/bin/python
if [ ! -x "$python" ]; then
    for candidate in python3.13 python3.12 python3.11 python3 python; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            base=$candidate
            break
        fi
    done
    if [ -z "${base:-}" ]; then
        echo "goblin needs Python 3.11 or newer (see .python-version); none was found on PATH" >&2
        exit 1
    fi
    echo "setting up .venv with $("$base" --version)" >&2
    "$base" -m venv .venv || {
        echo "could not make a virtual environment; on Debian: apt-get install python3-venv" >&2
        exit 1
    }
fi
wanted=$(cat requirements*.txt | cksum)
stamp=.venv/.installed-$needs
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    echo "installing $needs (once)" >&2
    "$python" -m pip install --quiet --disable-pip-version-check -r "$needs"
    echo "$wanted" >"$stamp"
fi
