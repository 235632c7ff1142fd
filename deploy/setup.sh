# Sourced by deploy/demo and deploy/test: what a build needs, installed on Debian when root, named otherwise.
# The services (Kafka, registry, ClickHouse) and what fetches them are set up by the program itself.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

say() { printf '%s\n' "$*" >&2; }

missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
need cc gcc
need c++ g++
need make make
need python3 python3
if [ "${#missing[@]}" -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        say "installing ${missing[*]}"
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" libc6-dev; } >&2 ||
            { say "apt-get could not install ${missing[*]}"; exit 1; }
    else
        say "missing: ${missing[*]}; install with: sudo apt-get install -y ${missing[*]} libc6-dev"
        exit 1
    fi
fi
if ! command -v cargo >/dev/null 2>&1; then
    [ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
    command -v cargo >/dev/null 2>&1 || { say "missing: Rust ($(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)); install rustup, it takes the version from rust-toolchain.toml"; exit 1; }
fi
# One profile for everything: librdkafka is built once. Incremental files only help a second build.
export CARGO_INCREMENTAL=0
