# Sourced by the scripts, with the name of a requirements file: makes .venv hold what the lock
# of that file names, each package with the hash it had then, and sets $python. Quick when nothing changed. Whatever was cut off half-way
# (a killed install) is made anew, and two scripts at once take turns.
needs=$1
python=.venv/bin/python
unfinished=.venv/.unfinished
stamp=.venv/.installed-$needs
wanted=$(cat requirements*.lock | cksum)

is_installed() {
    [ -x "$python" ] && [ ! -e "$unfinished" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]
}

is_usable() {
    [ ! -e "$unfinished" ] &&
        "$python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_base() { # sets $base to a Python that can make a virtual environment
    local candidate version found=""
    base=
    for candidate in python3.11 python3.12 python3.13 python3 python; do
        # Not the one of the .venv that is about to be replaced, should that be activated.
        version=$("$candidate" -c 'import os, sys; print("%d.%d" % sys.version_info[:2])
sys.exit(os.path.realpath(sys.prefix) == os.path.realpath(".venv"))' 2>/dev/null) || continue
        found="$found $candidate is $version;"
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            base=$candidate
            if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then return; fi
        fi
    done
    if [ -n "$base" ]; then
        echo "goblin: $base cannot make virtual environments." >&2
        echo "Remedy: on Debian and Ubuntu, apt-get install python3-venv" >&2
    else
        echo "goblin: Python 3.11 or newer is needed; on PATH:${found:- no Python at all}" >&2
        echo "Remedy: install one (apt-get install python3 python3-venv, brew install python," >&2
        echo "  or https://www.python.org/downloads/) and start again" >&2
    fi
    exit 1
}

make_venv() {
    echo "goblin: setting up .venv with $("$base" --version 2>&1)" >&2
    rm -rf .venv
    mkdir .venv
    touch "$unfinished"
    if ! "$base" -m venv .venv >&2; then
        echo "goblin: the virtual environment could not be made; the lines above say why" >&2
        exit 1
    fi
}

install() {
    echo "goblin: installing $needs (once; a minute or so)" >&2
    touch "$unfinished"
    if ! "$python" -m pip install --quiet --disable-pip-version-check \
        --require-hashes -r "${needs%.txt}.lock" >&2; then
        rm -f "$unfinished" # pip ended by itself: what it did install is whole
        echo "goblin: pip could not install $needs; the lines above say why." >&2
        echo "Remedy: mend what they name, most often the way to the package index" >&2
        echo "  (PIP_INDEX_URL, HTTPS_PROXY) or a full disk, and start again" >&2
        exit 1
    fi
    local included
    for included in requirements.txt requirements-research.txt requirements-dev.txt; do
        echo "$wanted" >".venv/.installed-$included"
        if [ "$included" = "$needs" ]; then break; fi # each file includes those before it
    done
    rm -f "$unfinished"
}

if ! is_installed; then
    locker=$python
    if ! is_usable; then
        find_base
        locker=$base
    fi
    # The lock belongs to the open file 9, which this shell keeps when the Python that locked
    # it has ended, and which a pip that outlives a killed shell keeps too.
    exec 9<scripts/environment.sh
    "$locker" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
    if ! is_installed; then
        if ! is_usable; then
            find_base
            make_venv
        fi
        install
    fi
    exec 9<&-
fi
