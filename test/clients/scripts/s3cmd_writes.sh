set -euo pipefail
host=${ENDPOINT#http://}
touch "$WORK/s3cmd.conf"
s3cmd() { command s3cmd -c "$WORK/s3cmd.conf" --access_key any --secret_key any-secret --host "$host" --host-bucket "$host" --no-ssl --no-progress "$@"; }
s3cmd sync --delete-removed --multipart-chunk-size-mb=5 "$SOURCE/" "s3://$BUCKET/$PREFIX/"
