set -euo pipefail
mc() { command mc --config-dir "$WORK/mc" --quiet "$@"; }
mc alias set member "$ENDPOINT" any-access any-secret >/dev/null
export MC_UPLOAD_MULTIPART_SIZE=5MiB MC_UPLOAD_MULTIPART_THREADS=4
mc cp "$SOURCE/dir/large.bin" "member/$BUCKET/$PREFIX/dir/large.bin" >/dev/null
mc stat --json "member/$BUCKET/$PREFIX/dir/large.bin" | grep '"etag":"[^"]*-3"' >/dev/null
mc mirror --overwrite --remove "$SOURCE" "member/$BUCKET/$PREFIX" >/dev/null
mc mirror "member/$BUCKET/$PREFIX" "$WORK/copy" >/dev/null
diff -r "$SOURCE" "$WORK/copy"
