set -euo pipefail
aws() { "$CLIENT_FOLDER/bin/aws" --endpoint-url "$ENDPOINT" "$@"; }
aws s3 sync --only-show-errors --delete "$SOURCE" "s3://$BUCKET/$PREFIX/"
aws s3 cp --only-show-errors "$SOURCE/dir/large.bin" "s3://$BUCKET/$PREFIX/dir/large.bin"
