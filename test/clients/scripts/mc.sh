set -euo pipefail
. "$(dirname "$0")/report.sh"
mc() { command mc --config-dir "$WORK/mc" --quiet "$@"; }
mc alias set member "$ENDPOINT" any-access any-secret >/dev/null
mc ls member | grep " $BUCKET/\$" >/dev/null
mc mirror "member/$BUCKET" "$WORK/copy" >/dev/null
report_files "$WORK/copy"
