#!/bin/sh
# Writes FILE as a comment on pull request PR, one per stack: its own from before, known by the first line, is replaced.
#   ci/github/comment.sh PR FILE
# Needs: gh, signed in (GH_TOKEN), in a clone of the repository.
set -eu
pr=$1 file=$2
mark=$(head -n 1 "$file")
before=$(gh api --paginate "repos/{owner}/{repo}/issues/$pr/comments" --jq ".[] | select(.body | startswith(\"$mark\")) | .id" | tail -n 1)
if [ -n "$before" ]; then
  gh api --silent --method PATCH "repos/{owner}/{repo}/issues/comments/$before" -F "body=@$file"
else
  gh pr comment "$pr" --body-file "$file"
fi
