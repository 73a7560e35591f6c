set -euo pipefail
. "$(dirname "$0")/report.sh"
aws() { "$CLIENT_FOLDER/bin/aws" --endpoint-url "$ENDPOINT" "$@"; }
aws s3 ls | grep " $BUCKET\$" >/dev/null
[ "$(aws s3 ls --recursive "s3://$BUCKET/dir/" | wc -l)" = 2 ]
[ "$(aws s3api list-objects --bucket "$BUCKET" --query 'length(Contents)')" = "$COUNT" ]
aws s3api get-bucket-location --bucket "$BUCKET" >/dev/null
aws s3 sync --only-show-errors "s3://$BUCKET/" "$WORK/copy"
report_files "$WORK/copy"
