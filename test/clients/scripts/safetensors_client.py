import numpy
import s3fs
from task import BUCKET, ENDPOINT
from safetensors.numpy import load

fs = s3fs.S3FileSystem(endpoint_url=ENDPOINT)
tensors = load(fs.cat(f"{BUCKET}/data/model.safetensors"))
assert numpy.array_equal(tensors["values"], numpy.arange(128 * 1024, dtype="int32").reshape(128, 1024))
