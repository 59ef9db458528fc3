#!/usr/bin/env bash
# beam-on-rails on this machine; `./run_local.sh help` says what it can do.
#
# Sets up whatever is missing (a virtual environment in .venv, from the hash-locked files in requirements/), then
# runs one command. Paths in flags are relative to the folder that you are in.
set -euo pipefail

self="${BASH_SOURCE[0]}"
while [ -L "$self" ]; do # not readlink -f: macOS has it only since 12.3
    target="$(readlink "$self")"
    case "$target" in /*) self="$target" ;; *) self="$(dirname "$self")/$target" ;; esac
done
root="$(cd -P "$(dirname "$self")" && pwd)"
venv="$root/.venv"
python="$venv/bin/python"

say() { printf 'run_local.sh: %s\n' "$*" >&2; }
die() { say "$1"; exit "${2:-1}"; }

apt_install() { # packages...: true when they are installed; only as root, on Debian and its kin
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    say "installing $* (apt-get)"
    { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@"; } \
        >/dev/null </dev/null
}

find_python() { # prints the first Python >= 3.11
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3.12 python3.13 python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

install() { # run|dev: .venv holds what requirements/$1.txt locks, .native what is compiled of the engine
    install_packages "$1"
    command -v "${CC:-cc}" >/dev/null || apt_install gcc libc6-dev || true # without a compiler it runs in Python
    "$python" -P "$root/transforms/native.py" || say "the engine is not compiled, and runs in Python"
}

install_packages() { # run|dev
    local lock="$root/requirements/$1.txt" base
    # The stamp is a copy of the lock, written last: a stopped or failed installation has none and is taken up again.
    if cmp -s "$lock" "$venv/.installed-$1" && "$python" -c '' 2>/dev/null; then return; fi
    if command -v flock >/dev/null; then # two first runs at once
        exec 9>"$root/.venv.lock"
        flock 9
        if cmp -s "$lock" "$venv/.installed-$1" && "$python" -c '' 2>/dev/null; then exec 9>&-; return; fi
    fi
    if ! "$python" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        base="$(find_python)" || { apt_install python3 python3-venv && base="$(find_python)"; } ||
            die "needs Python 3.11 or newer, and there is none on PATH (or name one: PYTHON=/path/to/python3.11)"
        "$base" -c 'import ensurepip' 2>/dev/null || apt_install python3-venv ||
            die "$base cannot make a virtual environment: install its venv package (Debian: apt-get install python3-venv)"
        "$base" -m venv --clear "$venv" || die "cannot make the virtual environment $venv"
    fi
    rm -f "$venv"/.installed-*
    say "installing requirements/$1.txt into .venv (once, about a minute)"
    # The lock is the whole closure, so pip must not resolve: it would look at releases newer than the lock.
    "$python" -m pip install --quiet --no-input --disable-pip-version-check --require-hashes --only-binary=:all: \
        --no-deps -r "$lock" </dev/null >&2 || die "could not install $lock: see the lines above; the next run takes it up again"
    cp "$root/requirements/run.txt" "$venv/.installed-run" # dev.txt holds all of run.txt, at the same versions
    cp "$lock" "$venv/.installed-$1"
    exec 9>&-
}

launch() { # python arguments...: the project's modules from any folder, and none from the folder we are in
    export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" PYTHONSAFEPATH=1
    exec "$python" "$@"
}

lint() {
    local status=0
    cd "$root"
    "$python" -m ruff check . || status=1
    "$python" -m mypy || status=1
    return "$status"
}

run_tests() {
    local status=0
    if [ $# -gt 0 ]; then # a part of the tests, without the gates
        cd "$root"
        exec "$python" -m pytest "$@"
    fi
    if ! command -v chromium >/dev/null && ! command -v google-chrome >/dev/null; then
        apt_install chromium || say "no Chromium: the report's picture test will fail (Debian: apt-get install chromium)"
    fi
    lint || status=1
    cd "$root"
    rm -f .coverage .coverage.*
    if "$python" -c 'import transforms.avro as avro; raise SystemExit(avro.Coder is None)'; then
        say "the engine as it is compiled"
        BEAM_ON_RAILS_NATIVE=1 "$python" -m pytest -q -n "${BEAM_ON_RAILS_TEST_WORKERS:-2}" \
            tests/transforms/test_{native,avro,hostile,contract,fold,fold_run,loop,snapshots,replay}.py \
            tests/transforms/test_{event_runs,output_batches,fold_bounded,lane_values,lane_desk}.py tests/pipelines/test_payments.py \
            --cov --cov-report= || status=1
    fi
    export BEAM_ON_RAILS_NATIVE=0 # the rest of coverage: it sees Python only
    log="$(mktemp)" # not local: the trap runs after the function
    trap 'rm -f "$log"' EXIT
    "$python" -m pytest -n "${BEAM_ON_RAILS_TEST_WORKERS:-2}" --dist loadgroup --ignore=tests/stack \
        --cov --cov-append --cov-report=term --cov-report=json:.coverage.json 2>&1 | tee "$log" || status=1
    "$python" -m tests.coverage_gate .coverage.json || status=1
    unset BEAM_ON_RAILS_NATIVE
    test_stack || status=1
    grep -E '^=+ .*(passed|failed|error).* =+$' "$log" | tail -n 2 # pytest's closing lines, last
    return "$status"
}

test_stack() { # brokers, clusters, faults: one after another, for two clusters at once are too much for two cores
    if ! "$python" -m stack build; then
        say "the stack cannot be built here (see the line above): tests/stack did NOT run"
        return
    fi
    "$python" -m pytest tests/stack 2>&1 | tee -a "$log" && return
    say "what failed of tests/stack once more: a fault that is real fails again, a machine that was busy does not"
    "$python" -m pytest tests/stack --last-failed 2>&1 | tee -a "$log"
}

lock() {
    cd "$root"
    local uv=("$python" -m uv pip compile setup.py --universal --python-version 3.11 --generate-hashes --no-annotate
        --no-emit-index-url --no-emit-find-links --custom-compile-command "./run_local.sh lock" --quiet)
    "${uv[@]}" --all-extras -o requirements/dev.txt
    "${uv[@]}" --extra native --extra views --extra postgres --extra registry --extra report --extra progress --extra sketches --extra geo \
        -c requirements/dev.txt -o requirements/run.txt
    rm -rf "$root/beam_on_rails.egg-info"
}

command="${1-}"
case "$command" in
    help | --help | -h)
        base="$(find_python)" || die "needs Python 3.11 or newer, and there is none on PATH"
        PYTHONPATH="$root" PYTHONDONTWRITEBYTECODE=1 exec "$base" -m pipelines.catalog
        ;;
    "" | --*)
        install run
        launch -m pipelines.main_job "$@"
        ;;
    test)
        shift
        install dev
        run_tests "$@"
        ;;
    lint)
        install dev
        lint
        ;;
    bench)
        shift
        install run
        launch -m bench.run "$@"
        ;;
    stack)
        shift
        install run
        launch -m stack "$@"
        ;;
    mutation)
        shift
        install dev
        cd "$root" # without the project on PYTHONPATH: the tests must see the mutants, not the originals
        exec "$python" -m mutmut run "$@"
        ;;
    lock)
        install dev
        lock
        ;;
    *)
        if [[ ! "$command" =~ ^[a-z][a-z0-9_]*$ ]] || ! grep -qs '^def run(' "$root/pipelines/$command.py"; then
            die "unknown command '$command': ./run_local.sh help lists them" 2
        fi
        shift
        install run
        launch -m "pipelines.$command" "$@"
        ;;
esac
