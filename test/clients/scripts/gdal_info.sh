set -euo pipefail
export AWS_S3_ENDPOINT=${ENDPOINT#http://} AWS_HTTPS=NO AWS_VIRTUAL_HOSTING=FALSE
gdalinfo "/vsis3/$BUCKET/data/image.tif"
