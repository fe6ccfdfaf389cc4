# Shared by the benches: a site, servers on loopback, and their CPU time.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=x86_64-unknown-linux-musl
tine=target/$target/release/tine
work=$(mktemp -d)
pids=()
stop_all() {
    for pid in "${pids[@]}"; do kill -INT "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap stop_all EXIT

need() { # COMMAND PACKAGE
    command -v "$1" >/dev/null || { apt-get update -qq && apt-get install -y -qq "$2"; } >&2
}

build() {
    rustup target add "$target" >&2 2>/dev/null || true
    cargo build --quiet --release --target "$target"
}

make_site() { # files of known sizes, readable for whoever serves them
    mkdir -p "$work/site"
    head -c 1024 /dev/zero | tr '\0' x >"$work/site/1k.txt"
    head -c 10485760 /dev/zero | tr '\0' x >"$work/site/10m.txt"
    chmod -R a+rX "$work"
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

await_url() { # URL
    curl -s -o /dev/null --retry 100 --retry-connrefused --retry-delay 0 --retry-max-time 20 "$1"
}

start_tine() { # PORT [ARG...]
    local port=$1
    shift
    "$tine" "$work/site" --listen "127.0.0.1:$port" --log off --admin-listen off "$@" \
        >/dev/null 2>"$work/tine.log" &
    pids+=($!)
    await_url "http://127.0.0.1:$port/1k.txt"
    # The second generation is the one that stays.
    until grep -q 'is complete' "$work/tine.log"; do :; done
}

start_nginx() { # PORT [WORKERS]: as fast as it can be configured
    cat >"$work/nginx.conf" <<CONF
worker_processes ${2:-2}; daemon off; pid $work/nginx.pid; error_log $work/nginx.log crit;
worker_rlimit_nofile 20000; events { worker_connections 15000; }
http {
  include /etc/nginx/mime.types; access_log off; sendfile on; tcp_nopush on;
  keepalive_requests 1000000000; open_file_cache max=1000 inactive=60s; etag on;
  server { listen 127.0.0.1:$1 reuseport; root $work/site; }
}
CONF
    nginx -c "$work/nginx.conf" -p "$work" 2>/dev/null &
    pids+=($!)
    await_url "http://127.0.0.1:$1/1k.txt"
}

tree() { # PID: it and all its descendants
    echo "$1"
    local child
    for child in $(cat "/proc/$1/task/$1/children" 2>/dev/null); do tree "$child"; done
}

named() { # PID NAME: the first of its descendants with that name
    local pid
    for pid in $(tree "$1"); do
        [ "$(cat "/proc/$pid/comm")" != "$2" ] || { echo "$pid"; return; }
    done
}

pss() { # PID: KiB of it and its descendants, what they share counted once
    local pid sum=0
    for pid in $(tree "$1"); do
        sum=$((sum + $(awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup" 2>/dev/null || echo 0)))
    done
    echo "$sum"
}

cpu_ns() { # PID: CPU time that it and its descendants have had so far
    local pid sum=0 ran
    for pid in $(tree "$1"); do
        # One of them may just have ended.
        { read -r ran _ <"/proc/$pid/schedstat"; } 2>/dev/null || continue
        sum=$((sum + ran))
    done
    echo "$sum"
}

median() { sort -n | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }'; }
