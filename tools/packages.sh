# Debian packages, sourced by ./run and ./test. docs/dependencies.md gives the reason for each.
build_packages=(build-essential cmake ninja-build pkg-config ccache nlohmann-json3-dev libsimdjson-dev libpcre2-dev libutf8proc-dev
  libcurl4-openssl-dev libssl-dev libcli11-dev libfmt-dev libedit-dev libboost1.81-dev libtomlplusplus-dev)
test_packages=(libgtest-dev python3 git openssl)
neon_packages=(g++-aarch64-linux-gnu qemu-user-static googletest)  # ./test neon
client_packages=(python3-venv)                               # official clients against the server (tests/clients)
command -v npm >/dev/null || client_packages+=(nodejs npm)  # Node from elsewhere does as well
