#!/bin/sh
# What a pull request would change, cost and break: writes OUT/comment.md; ends with the status of the preview.
#   ci/pull_request.sh STACK LEVEL BASE [OUT]
#     STACK  Pulumi.STACK.yaml          LEVEL  of the policies: dev, prod
#     BASE   commit or branch to compare with          OUT  folder for the results, default ci-output
# Needs: python with this project's packages, pulumi, git, `make policy-venv`; PULUMI_BACKEND_URL or a login.
set -eu
stack=$1 level=$2 base=$3 out=${4:-ci-output}
mkdir -p "$out/base"

python -m stacks validate -s "$stack" > "$out/validate.txt"
python -m stacks plan -s "$stack" --json > "$out/plan.json"

# The plan of before, by the code of now: what differs is the configuration. ./ is this folder, not the repository's root.
rm -f "$out/plan-before.json"
if git show "$base:./Pulumi.$stack.yaml" > "$out/base/Pulumi.$stack.yaml" 2> /dev/null; then
  python -m stacks plan -s "$stack" -C "$out/base" --json > "$out/plan-before.json" || rm -f "$out/plan-before.json"
fi

status=0
pulumi preview --stack "$stack" --non-interactive --color never --suppress-outputs --suppress-progress \
  --policy-pack policy --policy-pack-config "policy/levels/$level.json" > "$out/preview.txt" 2>&1 || status=$?

python -m ci.comment "$stack" "$out" > "$out/comment.md"
exit "$status"
