#!/usr/bin/env bash
# Makes build/clients with the clients that requirements.txt and package.json name: a Python virtual environment (venv) and node_modules.
# Does nothing, quickly, when it is there and nothing changed.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"

folder=../../build/clients
state=$(cat setup.sh requirements.txt lock.txt package.json package-lock.json | sha256sum)
[ "$(cat $folder/state 2>/dev/null)" != "$state" ] || exit 0

give_up() {
  echo "tests/clients: $1 could not be installed; can its package registry be reached?" >&2
  echo "SAMPAN_CLIENTS=OFF ./test leaves the tests with official clients out." >&2
  exit 2
}
echo "Installing the official clients into build/clients" >&2
rm -rf $folder
mkdir -p $folder
python3 -m venv $folder/venv
pip=($folder/venv/bin/pip --quiet --quiet --disable-pip-version-check)
"${pip[@]}" install --no-deps -r requirements.txt -r lock.txt && "${pip[@]}" check || give_up "the clients for Python"
cp package.json package-lock.json .npmrc $folder/
npm ci --prefix $folder --silent --ignore-scripts --no-audit --no-fund || give_up "the client for Node"
echo "$state" >$folder/state
