#!/usr/bin/env bash
# Installs the Debian packages named on the command line that are missing; does nothing, quickly, when all are there.
set -euo pipefail

missing=()
for package in "$@"; do
  state=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
  [ "$state" = "install ok installed" ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

echo "Installing packages: ${missing[*]}" >&2
run=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo "Please install as root: apt-get install ${missing[*]}" >&2; exit 2; }
  run=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
install=("${run[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}")
"${install[@]}" >/dev/null 2>&1 || { "${run[@]}" apt-get update -qq && "${install[@]}" >/dev/null; }
