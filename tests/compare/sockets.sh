#!/bin/sh
# Writes sockets.json: one value for each metric of 40 runs of sockets.toml on real sockets, made by the program that is named. Takes three minutes.
#   tests/compare/sockets.sh target/debug/closestorm
set -eu
here=$(dirname "$0")
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$1" run "$here/sockets.toml" --repeat 40 --out "$out" --quiet --allow-inconclusive
base=$(seq -f "$out/%g" 1 20)
new=$(seq -f "$out/%g" 21 40)
# Whatever it says of the two halves.
"$1" compare $base --format json -- $new >"$out/all.json" || true
python3 - "$out/all.json" "$here/sockets.json" <<'END'
import json, sys
rows = json.load(open(sys.argv[1]))["metrics"]
lines = [json.dumps({"metric": row["metric"], "values": row["base"] + row["new"]}) for row in rows]
open(sys.argv[2], "w").write("[\n" + ",\n".join(lines) + "\n]\n")
END
