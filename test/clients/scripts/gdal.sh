set -euo pipefail
export AWS_S3_ENDPOINT=${ENDPOINT#http://} AWS_HTTPS=NO AWS_VIRTUAL_HOSTING=FALSE
image=/vsis3/$BUCKET/data/image.tif
gdalinfo "$image" | grep "Size is 512, 512" >/dev/null
gdal_translate -q -of ENVI "$image" "$WORK/pixels"
node -e 'const pixels = require("node:fs").readFileSync(process.argv[1]); if (pixels.length !== 512 * 512 || pixels.some((value, at) => value !== at % 251)) throw new Error("other pixels");' "$WORK/pixels"
