#!/bin/sh
# Deploy a stack; a mandatory policy that objects ends it before anything is touched.
#   ci/deploy.sh STACK LEVEL
set -eu
stack=$1 level=$2
python -m stacks validate -s "$stack"
exec pulumi up --stack "$stack" --yes --non-interactive --color never --suppress-progress \
  --policy-pack policy --policy-pack-config "policy/levels/$level.json"
