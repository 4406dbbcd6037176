#!/usr/bin/env bash
# Makes a machine ready for the cluster: an environment of its own in ~/xfer-ray/.venv with exactly the versions of
# constraints.txt. The cluster files mount the package at ~/xfer-ray and run this on each node; running it again is quick.
#
#   XFER_RAY_PYTHON      the Python to build on (default: the first of python3.13, 3.12, 3.11 and python3 that will do)
#   XFER_RAY_EXTRAS      optional parts to install, such as aws (default: none)
#   XFER_RAY_ALSO        more packages, with their versions (default: none)
#   XFER_RAY_PIP_FLAGS   given to pip, such as --index-url of a mirror or --no-index --find-links of a folder of wheels
set -euo pipefail
cd "${XFER_RAY_HOME:-$HOME/xfer-ray}"

# Whoever reads the token can run programs on the cluster, so it is this user's alone.
if [ -e "$HOME/.ray/auth_token" ]; then
    chmod 700 "$HOME/.ray"
    chmod 600 "$HOME/.ray/auth_token"
fi

fits() { "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; }

find_python() {
    for candidate in "${XFER_RAY_PYTHON:-}" python3.13 python3.12 python3.11 python3; do
        if [ -n "$candidate" ] && fits "$candidate"; then echo "$candidate"; return; fi
    done
    return 1
}

# What is installed stands in a file, so that a node that is started again does not install again. The folders are
# hashed by content: file times differ between machines.
wanted=$(find pyproject.toml constraints.txt README.md install.sh xfer_ray analysis sweeps -type f -not -path '*/__pycache__/*' -print0 |
    sort -z | xargs -0 sha256sum | sha256sum | cut -c1-64)" ${XFER_RAY_EXTRAS:-} ${XFER_RAY_ALSO:-}"
if [ "$(cat .venv/installed 2>/dev/null)" != "$wanted" ]; then
    if [ ! -x .venv/bin/python ]; then
        if ! python=$(find_python); then
            if command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then
                sudo apt-get -o DPkg::Lock::Timeout=300 -qq update
                sudo apt-get -o DPkg::Lock::Timeout=300 -qq install -y python3-venv
            fi
            if ! python=$(find_python); then
                echo "no Python 3.11 to 3.13 with venv on $(hostname); install one (apt install python3-venv) or name it in XFER_RAY_PYTHON" >&2
                exit 4
            fi
        fi
        "$python" -m venv .venv
    fi
    extras=${XFER_RAY_EXTRAS:+[$XFER_RAY_EXTRAS]}
    # shellcheck disable=SC2086 # several flags are several words
    .venv/bin/python -m pip install --quiet --disable-pip-version-check ${XFER_RAY_PIP_FLAGS:-} --constraint constraints.txt ".$extras" ${XFER_RAY_ALSO:-}
    # The package itself is always taken anew: its version number stays while its files change.
    # shellcheck disable=SC2086
    .venv/bin/python -m pip install --quiet --disable-pip-version-check ${XFER_RAY_PIP_FLAGS:-} --constraint constraints.txt --no-deps --force-reinstall .
    echo "$wanted" >.venv/installed
fi

# `ray exec`, `ray attach` and `ray down` start a login shell and call `ray` by its name.
line="export PATH=\"$PWD/.venv/bin:\$PATH\" RAY_AUTH_MODE=token # xfer-ray"
grep -qxF "$line" "$HOME/.bashrc" 2>/dev/null || echo "$line" >>"$HOME/.bashrc"
