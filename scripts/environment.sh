# Sourced by the scripts beside it: a virtual environment with this repository installed in it.
#   PYTHON=python3.12   the interpreter that makes the environment (default: python3)
#   VENV=folder         where the environment lies (default: .venv in the repository)
#   WHEELHOUSE=folder   install from the wheels in this folder alone, without a package registry

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${VENV:-$ROOT/.venv}
PYTHON=${PYTHON:-python3}

fail() {
  printf 'error: %s\n' "$@" >&2
  exit 1
}

check_interpreter() {
  command -v "$PYTHON" >/dev/null 2>&1 ||
    fail "$PYTHON was not found: install Python 3.11 or newer, or name yours with PYTHON=/path/to/python3"
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "Python 3.11 or newer is needed, $PYTHON is $("$PYTHON" --version 2>&1): name a newer one with PYTHON=..."
}

make_environment() {
  check_interpreter
  echo "Making a virtual environment in $VENV"
  "$PYTHON" -m venv "$VENV" ||
    fail "no virtual environment could be made in $VENV (on Debian and Ubuntu: apt-get install python3-venv)"
}

# What an installation depends on: where the repository lies and what these three files say.
installation_key() {
  (cd "$ROOT" && { echo "$ROOT"; cat setup.cfg pyproject.toml constraints.txt; } | cksum | tr ' ' '-')
}

# pip_install EXTRA: installs the repository, "" for no extra; code stays where it is (editable).
pip_install() {
  local options=(--constraint "$ROOT/constraints.txt")
  if [ -n "${WHEELHOUSE:-}" ]; then
    [ -d "$WHEELHOUSE" ] || fail "WHEELHOUSE=$WHEELHOUSE is not a folder"
    options+=(--no-index --find-links "$WHEELHOUSE")
  fi
  [ -t 1 ] || options+=(--quiet)
  echo "Installing hf_adner${1:+ with its $1 extra} and what it needs (several minutes the first time)"
  "$VENV/bin/python" -m pip install "${options[@]}" --editable "$ROOT${1:+[$1]}" ||
    fail "the installation failed, pip says above what is missing" \
      "without a network, gather the wheels elsewhere and set WHEELHOUSE=folder (docs/offline.md)"
}

# ensure_environment [EXTRA]: makes and fills the environment unless that has been done for these very files.
ensure_environment() {
  local extra=${1:-} key done_file
  key=$(installation_key)
  done_file=$VENV/hf_adner-installed
  [ -x "$VENV/bin/python" ] || make_environment
  if ! grep -qsx "$key $extra" "$done_file"; then
    pip_install "$extra"
    grep -qs "^$key " "$done_file" || : >"$done_file"
    echo "$key $extra" >>"$done_file"
    [ -z "$extra" ] || echo "$key " >>"$done_file"
  fi
}
