set -euo pipefail
. "$(dirname "$0")/report.sh"
host=${ENDPOINT#http://}
touch "$WORK/s3cmd.conf"
s3cmd() { command s3cmd -c "$WORK/s3cmd.conf" --access_key any --secret_key any-secret --host "$host" --host-bucket "$host" --no-ssl --no-progress "$@"; }
s3cmd ls | grep "s3://$BUCKET\$" >/dev/null
mkdir "$WORK/copy"
s3cmd sync "s3://$BUCKET/" "$WORK/copy/"
report_files "$WORK/copy"
