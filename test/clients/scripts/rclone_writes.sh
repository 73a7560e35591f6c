set -euo pipefail
export RCLONE_CONFIG=/dev/null
remote=":s3,provider=Other,access_key_id=any,secret_access_key=any-secret,endpoint='$ENDPOINT':$BUCKET/$PREFIX"
rclone sync --s3-upload-cutoff 5M --s3-chunk-size 5M "$SOURCE" "$remote"
rclone check "$SOURCE" "$remote"
