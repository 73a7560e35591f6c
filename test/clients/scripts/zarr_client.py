import numpy
import zarr
from task import BUCKET, ENDPOINT
from obstore.store import S3Store
from zarr.storage import FsspecStore, ObjectStore

expected = numpy.arange(128 * 1024, dtype="int32").reshape(128, 1024)

store = FsspecStore.from_url(f"s3://{BUCKET}/data/array.zarr", storage_options={"endpoint_url": ENDPOINT}, read_only=True)
assert numpy.array_equal(zarr.open_array(store, mode="r")[:], expected)

store = ObjectStore(S3Store(BUCKET, prefix="data/array.zarr", endpoint=ENDPOINT, region="us-east-1", client_options={"allow_http": True}), read_only=True)
assert numpy.array_equal(zarr.open_array(store, mode="r")[30:70, 1000:], expected[30:70, 1000:])
