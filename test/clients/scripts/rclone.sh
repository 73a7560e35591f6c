set -euo pipefail
. "$(dirname "$0")/report.sh"
export RCLONE_CONFIG=/dev/null
remote=":s3,provider=Other,access_key_id=any,secret_access_key=any-secret,endpoint='$ENDPOINT':$BUCKET"
[ "$(rclone lsf -R --files-only "$remote" | wc -l)" = "$COUNT" ]
rclone copy "$remote" "$WORK/copy"
rclone check --one-way "$remote" "$WORK/copy"
report_files "$WORK/copy"
