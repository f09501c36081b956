#!/bin/sh
# The life of pull requests, as docs/ci.md recommends it: the main branch of a chat server keeps a baseline, and each pull request is compared
# with it, as on GitHub.
#
#   tests/ci/pull-request.sh FOLDER      FOLDER is made; closestorm, git and node are on the PATH, and `ws` is where Node finds it (NODE_PATH)
#
# Branches: `slower` has handshakes that take 15 % longer, `silent` forgets the Close frame at a deploy, `same` changes a comment. FOLDER/repo is the
# repository; FOLDER/BRANCH has what the branch was told: `code` (exit code of the run), `log` (with annotations), `summary.md`, `report/`, and
# `compared/` of a comparison of the same runs afterwards. Exit: 0 all branches were run, whatever was found in them.
set -eu
ours=$(cd "$(dirname "$0")" && pwd)
mkdir "$1"
cd "$1"
top=$PWD
mkdir repo main slower silent same
cp "$ours/chat/server.js" "$ours/chat/storm.toml" repo
cd repo

git init --quiet --initial-branch=main
git config user.name closestorm
git config user.email closestorm@localhost
echo results >.gitignore
git add .
git commit --quiet --message "A chat server"

# commit BRANCH MESSAGE EXPRESSION: a branch of main on which sed has changed the server.
commit() {
    git checkout --quiet -b "$1" main
    sed -i "$3" server.js
    git commit --quiet --message "$2" server.js
}
commit slower "Look up rooms, too" 's/LOOKUP_MS = 100/LOOKUP_MS = 115/'
commit silent "Deploy faster" "s/client.close(1001, 'deploy')/client.terminate()/"
commit same "Say more" 's/^[/][/] A deploy:/&  no news is bad news:/'

# step NAME COMMAND…: a step of a job on GitHub; its exit code is in the file `code`. A machine that is too busy for the clients gives no answer,
# and then people start the job again.
step() {
    told=$top/$1
    shift
    for _ in 1 2 3 4; do
        rm -rf "$told/summary.md" runs
        code=0
        GITHUB_ACTIONS=true GITHUB_WORKSPACE=$PWD GITHUB_STEP_SUMMARY=$told/summary.md "$@" --report-dir "$told/report" >"$told/log" 2>&1 || code=$?
        [ "$code" = 3 ] || break
    done
    echo "$code" >"$told/code"
}

git checkout --quiet main
step main closestorm run storm.toml --repeat 5 --save-baseline main
for branch in slower silent same; do
    git checkout --quiet "$branch"
    step "$branch" closestorm run storm.toml --repeat 5 --seed 11 --against results/baselines/main --out runs
    closestorm compare --baseline main --out "$top/$branch/compared" --report-dir "$top/$branch/compared" -- runs >"$top/$branch/compared.log" 2>&1 ||
        echo "$branch: compare exits with $?"
    echo "$branch: the run exits with $(cat "$top/$branch/code")"
done
