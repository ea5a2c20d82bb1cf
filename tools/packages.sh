# Sourced by demo.sh and test.sh: Debian packages that are missing get installed, by root or sudo.
BUILD_PACKAGES=(build-essential cmake ninja-build pkg-config libhdf5-dev libprotobuf-c-dev
                protobuf-c-compiler libdnnl-dev libjansson-dev)
TEST_PACKAGES=(libcmocka-dev python3-venv valgrind clang libclang-rt-dev clang-format libomp-dev) # libomp: OpenMP of clang

say() { printf '\n==> %s\n' "$*"; }

# as_root COMMAND...: run it as root.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo > /dev/null; then
        sudo "$@"
    else
        echo "packages are missing; run as root: $*" >&2
        return 1
    fi
}

# need_packages NAME...: install those of them that are not installed.
need_packages() {
    local missing=() name
    for name in "$@"; do
        dpkg-query -W -f '${db:Status-Status}' "$name" 2> /dev/null | grep -qx installed ||
            missing+=("$name")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    say "Installing ${missing[*]}"
    local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends)
    if ! as_root "${install[@]}" --simulate "${missing[@]}" > /dev/null 2>&1; then
        as_root apt-get update -q # the lists are missing or too old
    fi
    as_root "${install[@]}" "${missing[@]}" || { # a listed version may be gone from the mirror
        as_root apt-get update -q
        as_root "${install[@]}" "${missing[@]}"
    }
}
