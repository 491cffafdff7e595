#!/bin/sh
# Has somebody changed what the stack describes? Status 0 if not, 1 if so; OUT/drift.txt shows what.
#   ci/drift.sh STACK [OUT]
set -eu
stack=$1 out=${2:-ci-output}
mkdir -p "$out"
status=0
pulumi preview --stack "$stack" --refresh --expect-no-changes --diff --non-interactive --color never \
  --suppress-outputs > "$out/drift.txt" 2>&1 || status=1
cat "$out/drift.txt"
exit "$status"
